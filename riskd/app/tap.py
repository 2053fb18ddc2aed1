"""``twistd riskd``: its options, and the daemon assembled from its parts."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from riskd.app import launch
from riskd.app.committed_gateway import check_gateway, note_configuration
from riskd.app.daemon_file import DaemonFileService, daemon_record
from riskd.app.descriptors import DescriptorService
from riskd.app.gateway_of import gateway_of
from riskd.app.launch import Daemon, freeze_garbage, utc_now
from riskd.app.supervision import notify_services
from riskd.broadcast.server import BroadcastServerFactory, BroadcastService
from riskd.config.loader import load_settings
from riskd.config.presets import preset_warnings
from riskd.config.settings import Settings
from riskd.config.toml import ConfigError
from riskd.control.guard import find_group, guard_service
from riskd.control.protocol import SOCKET_NAME
from riskd.control.server import ControlFactory, ControlService
from riskd.engine.committed_settings import enforcing_settings
from riskd.engine.service import EngineService
from riskd.gateway.interface import IGateway
from riskd.host.core_dumps import forbid_core_dumps
from riskd.host.directories import default_directory
from riskd.host.disk_thread import DiskThread
from riskd.host.errors import UserError
from riskd.journal.gateway_identity import PRACTICE, gateway_identity
from riskd.journal.ownership import Owner
from riskd.journal.reader import known_accounts
from riskd.journal.schema import PUBLISHED_NAME
from riskd.journal.service import JournalService
from riskd.journal.state_directory import StateDirectory
from riskd.journal.store import Store
from riskd.model.clock_offset import offset_fact
from riskd.rules.interface import IRule

if TYPE_CHECKING:
    from riskd.recording.recording_engine import RecordingEngine

_log = Logger()
_Engine = TypeVar("_Engine", bound="EngineService | RecordingEngine")


class Options(launch.Options):
    """The command line of ``twistd riskd``."""

    program = "riskd"
    longdesc = (
        "Follow futures accounts and broadcast their events to every console on this machine. "
        "Without --config riskd trades paper on its embedded practice gateway, "
        "with the accounts 123 and 456 and a set of rules to watch at work."
    )
    optFlags: Sequence[Sequence[Any]] = [
        ["debuggable", None, "Allow core dumps and debuggers, which can read the API key."],
    ]
    optParameters: Sequence[Sequence[Any]] = [
        launch.port_option(8765),
        launch.INTERFACE_OPTION,
        launch.path_option(
            "config", "TOML file of the accounts and their rules; SIGHUP reads it again.", "c"
        ),
        launch.path_option(
            "state",
            "Directory of the journal and state file, of one gateway "
            "[default: one for each gateway, in riskd in the XDG state directory].",
        ),
        launch.path_option(
            "record", "New file that records everything riskd receives, for riskctl replay."
        ),
        [
            "guard-group",
            None,
            None,
            "Group of users that may lock and flatten accounts through guard.sock [default: none].",
            find_group,
        ],
        launch.LOG_FORMAT_OPTION,
        launch.seed_option("the practice gateway"),
        [
            "practice-port",
            None,
            None,
            "TCP port of the practice gateway's ProjectX-compatible API [default: none].",
            launch.read_port,
        ],
        [
            "metrics-port",
            None,
            None,
            "TCP port of the page /metrics for Prometheus [default: none].",
            launch.read_port,
        ],
    ]


def makeService(options: Options) -> Daemon:
    """Assemble the daemon from its options."""
    if not options["debuggable"]:
        forbid_core_dumps()
    reactor, catalogue, settings = launch.begin(options)
    for warning in preset_warnings(settings, utc_now().date()):
        _log.warn("{warning}", warning=warning)
    # Resources first, while a refusal is still a line on the terminal; twistd detaches afterwards.
    make_engine: Callable[..., EngineService | RecordingEngine] = EngineService
    try:
        check_ports(options, settings.gateway.kind)
        with ExitStack() as held:
            sockets, practice_sockets, metrics_sockets = (
                launch.listen_at(options, name, held)
                for name in ("port", "practice-port", "metrics-port")
            )
            identity = gateway_of(settings.gateway)
            if options["state"] is None and options["config"] is not None:
                root = default_directory()
                check_gateway(root, root / identity.key, options["config"])
            state = launch.open_state(options["state"], identity)
            held.callback(state.release)
            if options["config"] is not None:
                with suppress(OSError):
                    # Nothing else that riskd does depends on it.
                    note_configuration(state.path, options["config"])
            settings = enforcing_settings(settings, known_accounts(state.path))
            if options["record"] is not None:
                make_engine = recorded_engine(reactor, options["record"])
            # Nothing is refused from here on, so nothing is released again.
            held.pop_all()
    except UserError as error:
        options.refuse(*error.problems)
    gateway = make_gateway(reactor, settings, options["practice-seed"], state.path)
    daemon, engine = assemble(
        make_engine, reactor, gateway, sockets, state, settings, catalogue, metrics_sockets
    )
    if practice_sockets:
        practice_server(reactor, gateway, practice_sockets).setServiceParent(daemon)
    if options["guard-group"] is not None:
        guard_service(
            reactor, state.path, engine, options["guard-group"], engine.report_problem
        ).setServiceParent(daemon)
    path = options["config"]
    reload = None if path is None else Reloader(path.absolute(), catalogue, settings, engine)
    launch.finish(daemon, reactor, options, reload)
    # After the handlers of signals are installed, so that a signal during it ends the program in order.
    reactor.callWhenRunning(reactor.callLater, 0, freeze_garbage)
    return daemon


def check_ports(options: Options, gateway_kind: str) -> None:
    """Check that what the optional ports need is there.

    :raises UserError: the gateway is not the practice gateway, or ``prometheus_client`` is missing.
    """
    if options["practice-port"] is not None and gateway_kind != PRACTICE:
        raise UserError(
            f"--practice-port needs the practice gateway, and the gateway is {gateway_kind}"
        )
    if options["metrics-port"] is not None and find_spec("prometheus_client") is None:
        raise UserError(
            "--metrics-port needs prometheus_client; install it with pip install 'riskd[metrics]'"
        )


# A daemon has one gateway and seldom the rest.  What it has not is not imported: the broker's gateway with its HTTP
# client, or the server of the practice gateway, takes as long as all rules and the engine together.
# ruff: noqa: PLC0415


def make_gateway(reactor: Any, settings: Settings, seed: int | None, state: Path) -> IGateway:
    """Return the gateway that the settings name.

    :param seed: makes the practice gateway repeat itself.
    :param state: the state directory, where the practice gateway keeps its ledger.
    """
    if settings.gateway.kind == PRACTICE:
        from riskd.app.practice_gateway import practice_gateway

        return practice_gateway(reactor, settings, seed, state)
    from riskd.app.projectx_gateway import projectx_gateway

    return projectx_gateway(reactor, settings)


def practice_server(reactor: Any, gateway: Any, sockets: list[socket.socket]) -> Service:
    """Return the server of the practice gateway's API, which listens on ``sockets``."""
    from riskd.practice.server.site import PracticeServer, practice_site

    return PracticeServer(reactor, practice_site(reactor, gateway), sockets)


def recorded_engine(reactor: Any, path: Path) -> Callable[..., RecordingEngine]:
    """Return what makes an engine that records all that it receives in a new file.

    :raises UserError: the file cannot be made.
    """
    from riskd.recording.recording_engine import RecordingEngine
    from riskd.recording.writer import RecordingWriter

    writer = RecordingWriter(path, reactor, DiskThread(reactor))
    # After everything else: until then the engine may still receive something.
    reactor.addSystemEventTrigger("after", "shutdown", writer.close)
    return partial(RecordingEngine, writer=writer)


def assemble(
    make_engine: Callable[..., _Engine],
    reactor: Any,
    gateway: IGateway,
    sockets: list[socket.socket],
    state: StateDirectory,
    settings: Settings,
    catalogue: Mapping[str, IRule],
    metrics_sockets: Sequence[socket.socket] = (),
) -> tuple[Daemon, _Engine]:
    """Return a daemon on ``gateway`` that listens on ``sockets``, and its engine.

    :param make_engine: :class:`EngineService`, or what has its parameters.
    :param state: claimed for ``gateway`` here unless it is already.
    :param catalogue: all known rules, by key.
    :param metrics_sockets: listening sockets of the metrics page; without them there are no metrics.
    """
    if state.owner is None:
        state.claim(
            gateway_identity(gateway.name, settings.gateway.rest_url, settings.gateway.user_name)
        )
    owner = cast(Owner, state.owner)
    store = Store(state.path, owner, has_outbox=settings.desk.outbox)
    journal = JournalService(reactor, store, DiskThread(reactor), utc_now, gateway.name)
    addresses = [listening.getsockname()[:2] for listening in sockets]
    factory = BroadcastServerFactory(
        reactor,
        gateway_name=gateway.name,
        addresses=addresses,
        state_file=state.path / PUBLISHED_NAME,
        instance=owner.instance,
        is_dry_run=not settings.enforce,
        prepare=journal.published,
        max_clients=settings.server.max_clients,
        allowed_origins=settings.server.allowed_origins,
    )
    if metrics_sockets:
        # prometheus_client is an optional dependency.
        from riskd.app.metrics import Metrics, metrics_services

        metrics = Metrics()
        make_engine = partial(make_engine, observe_reaction=metrics.action.observe)
    engine = make_engine(
        reactor, gateway, settings, journal, factory.broadcast, utc_now, catalogue
    )
    journal.clock_offset = lambda: offset_fact(engine.clock_offset)
    daemon = Daemon(state)
    # Services stop in reverse order: the engine broadcasts STOPPING, the broadcast closes the clients,
    # and the journal writes the final state.
    services: tuple[Service, ...] = (
        journal,
        BroadcastService(reactor, factory, sockets),
        *notify_services(reactor, engine),
        engine,
        ControlService(
            reactor,
            state.path / SOCKET_NAME,
            ControlFactory(reactor, engine),
            engine.report_problem,
        ),
        DescriptorService(reactor, settings.server.max_clients, engine.report_problem),
        # Last, because the others serve by then; so it is the first to stop.
        DaemonFileService(
            state.path,
            partial(
                daemon_record, addresses[0], owner, [account.id for account in settings.accounts]
            ),
            engine.report_problem,
        ),
    )
    for service in services:
        service.setServiceParent(daemon)
    if metrics_sockets:
        metrics.read_from(factory.statistics, engine)
        for part in metrics_services(reactor, metrics, list(metrics_sockets)):
            part.setServiceParent(daemon)
    return daemon, engine


class Reloader:
    """Reads the configuration again; a wrong one changes nothing.

    :param path: the configuration.
    :param catalogue: all known rules, by key.
    :param settings: the settings with which the daemon was started.
    :param engine: receives the new settings, or the problem.
    :param in_thread: calls a function in a thread, where it may block.
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
        self._is_outdated = False

    def __call__(self) -> None:
        """Read the configuration; if it is being read now, read it once more afterwards."""
        self._is_outdated = True
        if not self._is_reading:
            self._is_reading = True
            Deferred.fromCoroutine(self._read())

    async def _read(self) -> None:
        while self._is_outdated:
            self._is_outdated = False
            try:
                # In a thread, so that a slow disk or a huge file delays no rule.
                settings = await self._in_thread(
                    lambda: load_settings(self._path, self._catalogue)
                )
                self._apply(settings)
            except ConfigError as error:
                self._refuse(error.problems)
            except Exception:  # noqa: BLE001  # the next SIGHUP may bring a better file
                _log.failure("internal error while reading the configuration")
        self._is_reading = False

    def _refuse(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            _log.error("{problem}", problem=problem)
        more = len(problems) - 1
        self._engine.report_problem(
            "config",
            f"The configuration is wrong, the old one stays in force: {problems[0]}"
            + (f" (and {more} more, see the log)" if more else ""),
        )

    def _apply(self, settings: Settings) -> None:
        # Rules and accounts change in the running daemon; the other tables take effect only at a start.
        notes = [self._engine.reload(settings), *preset_warnings(settings, utc_now().date())]
        if _beyond_accounts(settings) != _beyond_accounts(self._started_with):
            notes.append("changes of enforce, gateway, practice, server and desk need a restart")
        for note in filter(None, notes):
            _log.warn("{path}: {note}", path=self._path, note=note)
        _log.info("{path} is in force", path=self._path)
        self._engine.report_problem("config", "")


def _beyond_accounts(settings: Settings) -> tuple[object, ...]:
    return (
        settings.enforce,
        settings.gateway,
        settings.practice,
        settings.server,
        settings.desk,
    )
