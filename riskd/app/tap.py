"""``twistd riskd``: its options, and the daemon assembled from its parts."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.app.descriptors import DescriptorService, descriptors_for
from riskd.app.launch import (
    INTERFACE_OPTION,
    LOG_FORMAT_OPTION,
    Daemon,
    Signals,
    is_detached,
    json_log,
    port_option,
    practice_gateway,
    read_port,
    read_settings,
    refuse,
    seed_option,
    spare_the_program,
    utc_now,
)
from riskd.app.launch import Options as BaseOptions
from riskd.broadcast.server import BroadcastServerFactory
from riskd.broadcast.service import BroadcastService
from riskd.config.loader import load_settings
from riskd.config.settings import Settings
from riskd.config.toml import ConfigError
from riskd.control.protocol import SOCKET_NAME
from riskd.control.server import ControlFactory, ControlService
from riskd.engine.service import EngineService
from riskd.gateway.interface import IGateway
from riskd.gateway.projectx.credentials import find_credentials
from riskd.gateway.projectx.gateway import ProjectXGateway, make_agent
from riskd.gateway.projectx.websocket import HubConnector
from riskd.host.disk_thread import DiskThread
from riskd.host.errors import UserError
from riskd.host.loopback import ListenError, listen
from riskd.host.timing import use_steady_clock
from riskd.journal.paths import default_directory
from riskd.journal.service import JournalService
from riskd.journal.state_directory import StateDirectory
from riskd.journal.store import Store
from riskd.practice.gateway import PracticeGateway
from riskd.practice.server.service import PracticeServer
from riskd.practice.server.site import practice_site
from riskd.recording.recording_engine import RecordingEngine
from riskd.recording.writer import RecordingWriter
from riskd.rules.interface import IRule

_log = Logger()
_AnyPipeline = TypeVar("_AnyPipeline", bound=EngineService | RecordingEngine)

DEFAULT_PORT = 8765
_PROGRAM = "riskd"


class Options(BaseOptions):
    """The command line of ``twistd riskd``."""

    program = _PROGRAM
    longdesc = (
        "Follow futures accounts and broadcast what happens to every console on this machine. "
        "Without --config riskd trades paper on its embedded practice gateway, "
        "with the accounts 123 and 456 and a set of rules to watch at work."
    )
    optParameters: Sequence[Sequence[Any]] = [
        port_option(DEFAULT_PORT),
        INTERFACE_OPTION,
        [
            "config",
            "c",
            None,
            "File of the accounts and their rules (TOML); SIGHUP reads it again.",
            Path,
        ],
        [
            "state",
            None,
            None,
            "Directory of the journal and state file [default: riskd in the XDG state directory].",
            Path,
        ],
        [
            "record",
            None,
            None,
            "New file to which all that comes in is recorded, for riskctl replay.",
            Path,
        ],
        LOG_FORMAT_OPTION,
        seed_option("the practice gateway"),
        [
            "practice-port",
            None,
            None,
            "TCP port at which the practice gateway is a ProjectX gateway, too [default: none].",
            read_port,
        ],
        [
            "metrics-port",
            None,
            None,
            "TCP port at which Prometheus may ask for /metrics [default: none].",
            read_port,
        ],
    ]


class Taken(NamedTuple):
    """What a daemon holds before it starts: listening sockets, its directory, its recording."""

    sockets: list[socket.socket]
    server_sockets: list[socket.socket]
    metrics: list[socket.socket]
    state: StateDirectory
    writer: RecordingWriter | None


def makeService(options: Options) -> Daemon:
    """Assemble the daemon that ``options`` ask for.

    The port is taken here and now, before twistd detaches or writes its log, so that a port in use is
    one line on the user's terminal.
    """
    from twisted.internet import reactor  # noqa: PLC0415  # the one that twistd installed

    use_steady_clock(reactor)
    catalogue, settings = read_settings(_PROGRAM, options["config"])
    try:
        taken = _take(reactor, options, settings.gateway.kind)
    except UserError as error:
        refuse(_PROGRAM, str(error))
    practice = None
    gateway: IGateway
    if settings.gateway.kind == "projectx":
        gateway = projectx_gateway(reactor, settings)
    else:
        seed = options["practice-seed"]
        gateway = practice = practice_gateway(reactor, settings, seed, taken.state.path)
    daemon, engine = _assemble_with_options(reactor, gateway, taken, settings, catalogue)
    if taken.server_sockets and practice is not None:
        site = practice_site(reactor, practice, utc_now)
        PracticeServer(reactor, site, taken.server_sockets).setServiceParent(daemon)
    reload = None
    if options["config"] is not None:
        reload = Reloader(options["config"].absolute(), catalogue, settings, engine)
    Signals(reactor, reload, is_detached=is_detached(options)).setServiceParent(daemon)
    # Not before signals are taken over.
    reactor.callWhenRunning(reactor.callLater, 0, spare_the_program)
    if options["log-format"] == "json" and options.parent is not None:
        daemon.log_observer = json_log(options.parent)
    return daemon


def _take(reactor: Any, options: Options, gateway_kind: str) -> Taken:
    """Take all that may be refused, or nothing.

    :raises ListenError: a port is not to be had.
    :raises StateDirectoryError: the state directory cannot be used.
    :raises RecordingError: nothing can be recorded as it is wanted.
    """
    with ExitStack() as taken:

        def hold(sockets: list[socket.socket]) -> list[socket.socket]:
            for listening in sockets:
                taken.enter_context(listening)
            return sockets

        sockets = hold(listen(options["port"], options["interface"]))
        server_sockets = hold(practice_sockets(options, gateway_kind))
        metrics = hold(metrics_sockets(options))
        state = StateDirectory(options["state"] or default_directory())
        taken.callback(state.release)
        record = options["record"]
        writer = None if record is None else RecordingWriter(record, reactor, DiskThread(reactor))
        # Nothing is refused any more.
        taken.pop_all()
    return Taken(sockets, server_sockets, metrics, state, writer)


def _assemble_with_options(
    reactor: Any,
    gateway: IGateway,
    taken: Taken,
    settings: Settings,
    catalogue: Mapping[str, IRule],
) -> tuple[Daemon, EngineService | RecordingEngine]:
    """Return a daemon that is recorded and measured as far as that is wanted, and its pipeline."""
    make: Callable[..., EngineService | RecordingEngine] = EngineService
    if taken.writer is not None:
        make = partial(RecordingEngine, writer=taken.writer)
        # When everything else is done, for until then something may come in.
        reactor.addSystemEventTrigger("after", "shutdown", taken.writer.close)
    if not taken.metrics:
        daemon, engine, _factory = _assemble(
            make, reactor, gateway, taken.sockets, taken.state, settings, catalogue
        )
        return daemon, engine
    # What it needs is not installed everywhere.
    from riskd.app.metrics import Metrics, MetricsService  # noqa: PLC0415

    metrics = Metrics()
    make = partial(make, acted=metrics.acted)
    daemon, engine, factory = _assemble(
        make, reactor, gateway, taken.sockets, taken.state, settings, catalogue
    )
    metrics.read_from(factory.statistics, engine)
    MetricsService(reactor, metrics, taken.metrics).setServiceParent(daemon)
    return daemon, engine


def projectx_gateway(reactor: Any, settings: Settings) -> IGateway:
    """Return the gateway over the network that the settings name."""
    return ProjectXGateway(
        reactor,
        utc_now,
        agent=make_agent(reactor),
        rest_url=settings.gateway.rest_url,
        connect_user_hub=HubConnector(reactor, settings.gateway.user_hub_url),
        connect_market_hub=HubConnector(reactor, settings.gateway.market_hub_url),
        credentials=lambda: find_credentials(settings.gateway, os.environ),
        watch={ticker for account in settings.accounts for ticker in account.watch},
        random=Random(),
    )


def practice_sockets(options: Options, gateway_kind: str) -> list[socket.socket]:
    """Return the sockets of the practice gateway's server; none without --practice-port.

    :raises ListenError: the port is not to be had, or the gateway is none of practice.
    """
    port = options["practice-port"]
    if port is None:
        return []
    if gateway_kind != PracticeGateway.name:
        raise ListenError(
            f"--practice-port is for the practice gateway, and the gateway is {gateway_kind}"
        )
    return listen(port, options["interface"], option="--practice-port")


def metrics_sockets(options: Options) -> list[socket.socket]:
    """Return the sockets of the page of metrics; none if nobody asked for it.

    :raises ListenError: the port is not to be had.
    """
    port = options["metrics-port"]
    if port is None:
        return []
    if find_spec("prometheus_client") is None:
        refuse(
            _PROGRAM, "--metrics-port needs prometheus_client; pip install 'riskd[metrics]' has it"
        )
    return listen(port, options["interface"], option="--metrics-port")


def assemble(
    reactor: Any,
    gateway: IGateway,
    sockets: list[socket.socket],
    state: StateDirectory,
    settings: Settings,
    catalogue: Mapping[str, IRule] | None = None,
) -> tuple[Daemon, EngineService]:
    """Return a daemon on ``gateway`` that listens on ``sockets``, and its pipeline."""
    daemon, engine, _factory = _assemble(
        EngineService, reactor, gateway, sockets, state, settings, catalogue or {}
    )
    return daemon, engine


def _assemble(
    make_engine: Callable[..., _AnyPipeline],
    reactor: Any,
    gateway: IGateway,
    sockets: list[socket.socket],
    state: StateDirectory,
    settings: Settings,
    catalogue: Mapping[str, IRule],
) -> tuple[Daemon, _AnyPipeline, BroadcastServerFactory]:
    """Return a daemon, its pipeline, which ``make_pipeline`` makes, and who has its clients."""
    store = Store(state.path)
    journal = JournalService(reactor, store, DiskThread(reactor), utc_now, gateway.name)
    factory = BroadcastServerFactory(
        reactor,
        gateway_name=gateway.name,
        addresses=[listening.getsockname()[:2] for listening in sockets],
        is_dry_run=not settings.enforce,
        prepare=journal.published,
        max_clients=settings.server.max_clients,
        allowed_origins=settings.server.allowed_origins,
    )
    engine = make_engine(
        reactor, gateway, settings, journal, factory.broadcast, utc_now, catalogue
    )
    control = ControlService(
        reactor,
        state.path / SOCKET_NAME,
        ControlFactory(reactor, engine, utc_now),
        engine.report_problem,
    )
    daemon = Daemon()
    daemon.state = state
    # Services stop in reverse order: STOPPING is told, then the clients are closed, then the last word
    # is written.
    broadcast = BroadcastService(reactor, factory, sockets)
    descriptors = DescriptorService(
        reactor, descriptors_for(settings.server.max_clients), engine.report_problem
    )
    for service in (journal, broadcast, engine, control, descriptors):
        service.setServiceParent(daemon)
    return daemon, engine, factory


class Reloader:
    """Reads the configuration again; what is wrong with it leaves everything as it was.

    :param path: the file.
    :param catalogue: all rules there are, by key.
    :param settings: what the daemon was started with.
    :param pipeline: told of what is new, and of trouble.
    :param in_thread: calls what it is given where it may block.
    """

    def __init__(
        self,
        path: Path,
        catalogue: Mapping[str, IRule],
        settings: Settings,
        engine: EngineService | RecordingEngine,
        in_thread: Callable[[Callable[[], Settings]], Deferred[Settings]] = deferToThread,
    ) -> None:
        self._path = path
        self._catalogue = catalogue
        self._started_with = settings
        self._engine = engine
        self._in_thread = in_thread
        self._is_reading = False
        self._is_to_read_again = False

    def __call__(self) -> None:
        """Read it now, in a thread: no rule waits for a slow disk or a strange file."""
        # The last word counts: who changes the file while it is read, asks again.
        if self._is_reading:
            self._is_to_read_again = True
            return
        self._is_reading = True
        read = self._in_thread(lambda: load_settings(self._path, self._catalogue))
        read.addCallbacks(self._take, self._refuse).addBoth(self._is_read)

    def _is_read(self, result: object) -> None:
        if isinstance(result, Failure):
            _log.failure("a mistake in riskd, in the configuration", result)
        self._is_reading = False
        if self._is_to_read_again:
            self._is_to_read_again = False
            self()

    def _refuse(self, failure: Failure) -> None:
        failure.trap(ConfigError)
        problems: tuple[str, ...] = failure.value.problems  # type: ignore[union-attr]
        for problem in problems:
            _log.error("{problem}", problem=problem)
        more = len(problems) - 1
        self._tell(
            f"The configuration is wrong, the old one stays in force: {problems[0]}"
            + (f" (and {more} more, see the log)" if more else "")
        )

    def _take(self, settings: Settings) -> None:
        notes = [self._engine.reload(settings)]
        if _beyond_accounts(settings) != _beyond_accounts(self._started_with):
            notes.append("changes of enforce, gateway, practice and server need a restart")
        for note in filter(None, notes):
            _log.warn("{path}: {note}", path=self._path, note=note)
        _log.info("{path} is in force", path=self._path)
        self._tell("")

    def _tell(self, trouble: str) -> None:
        self._engine.report_problem("config", trouble)


def _beyond_accounts(settings: Settings) -> tuple[object, ...]:
    return (settings.enforce, settings.gateway, settings.practice, settings.server)
