"""``twistd riskd``: its options, and the daemon assembled from its parts."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NoReturn, TypeVar

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import FileLogObserver, ILogObserver, Logger, jsonFileLogObserver
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from riskd.broadcast import BroadcastServerFactory, BroadcastService
from riskd.config import ConfigError, Settings, load, practice_settings
from riskd.control import SOCKET_NAME, ControlFactory, ControlService
from riskd.gateway.credentials import find_credentials
from riskd.gateway.interface import IGateway
from riskd.gateway.projectx import ProjectXGateway, make_agent
from riskd.gateway.websocket import HubConnector
from riskd.journal.directory import StateDirectory, StateDirectoryError
from riskd.journal.files import default_directory
from riskd.journal.service import DiskThread, JournalService
from riskd.journal.store import Store
from riskd.loopback import ListenError, check_interface, listen
from riskd.pipeline import Pipeline
from riskd.practice.gateway import PracticeGateway
from riskd.recording.lines import RecordingError
from riskd.recording.recorded import RecordedPipeline
from riskd.recording.recorder import Recorder
from riskd.rules.discovery import RuleDiscoveryError, find_rules
from riskd.rules.interface import IRule

_log = Logger()
_AnyPipeline = TypeVar("_AnyPipeline", Pipeline, RecordedPipeline)

DEFAULT_PORT = 8765
_MAX_PORT = 65535
_LOG_FORMATS = ("text", "json")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise ValueError(f"port {text!r} is not a number from 0 to {_MAX_PORT}")
    return int(text)


def _interface(text: str) -> str:
    try:
        return check_interface(text)
    except ListenError as error:
        raise ValueError(str(error)) from None


def _log_format(text: str) -> str:
    if text not in _LOG_FORMATS:
        raise ValueError(f"log format {text!r} is not one of {', '.join(_LOG_FORMATS)}")
    return text


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"practice seed {text!r} is not a whole number") from None


class Options(BaseOptions):
    """The command line of ``twistd riskd``."""

    synopsis = "[options]"
    longdesc = (
        "Follow futures accounts and broadcast what happens to every console on this machine. "
        "Without --config riskd trades paper on its embedded practice gateway, "
        "with the accounts 123 and 456 and a set of rules to watch at work."
    )
    optParameters: Sequence[Sequence[Any]] = [
        [
            "port",
            "p",
            DEFAULT_PORT,
            "TCP port to listen on; 0 takes a free one and logs it.",
            _port,
        ],
        [
            "interface",
            None,
            None,
            "Loopback address to listen on [default: both of localhost, 127.0.0.1 and ::1].",
            _interface,
        ],
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
        ["log-format", None, "text", "How to write the log: text or json.", _log_format],
        [
            "practice-seed",
            None,
            None,
            "Whole number that makes the practice gateway repeat itself: same seed, same prices.",
            _seed,
        ],
    ]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line; a mistake in it ends the program with one line that says which."""
        try:
            super().parseOptions(options)
        except UsageError as error:
            fault = str(error).removeprefix("Parameter type enforcement failed: ")
            _refuse(f"{fault} (see twistd riskd --help)")


def makeService(options: Options) -> Daemon:
    """Assemble the daemon that ``options`` ask for.

    The port is taken here and now, before twistd detaches or writes its log, so that a port in use is
    one line on the user's terminal.
    """
    from twisted.internet import reactor  # noqa: PLC0415  # the one that twistd installed

    catalogue, settings = read_settings(options["config"])
    try:
        sockets = listen(options["port"], options["interface"])
    except ListenError as error:
        _refuse(str(error))
    try:
        state = StateDirectory(options["state"] or default_directory())
    except StateDirectoryError as error:
        for listening in sockets:
            listening.close()
        _refuse(str(error))
    if settings.gateway.kind == "projectx":
        gateway: IGateway = projectx_gateway(reactor, settings)
    else:
        gateway = _practice_gateway(reactor, settings, options["practice-seed"], state.path)
    try:
        record = options["record"]
        recorder = None if record is None else Recorder(record, reactor, DiskThread(reactor))
    except RecordingError as error:
        for listening in sockets:
            listening.close()
        state.release()
        _refuse(str(error))
    pipeline: Pipeline | RecordedPipeline
    if recorder is None:
        daemon, pipeline = assemble(reactor, gateway, sockets, state, settings, catalogue)
    else:
        make = partial(RecordedPipeline, recorder=recorder)
        daemon, pipeline = _assemble(make, reactor, gateway, sockets, state, settings, catalogue)
        # When everything else is done, for until then something may come in.
        reactor.addSystemEventTrigger("after", "shutdown", recorder.close)
    reload = None
    if options["config"] is not None:
        reload = Reloader(options["config"].absolute(), catalogue, settings, pipeline)
    is_detached = options.parent is not None and not options.parent.get("nodaemon", True)
    Signals(reactor, reload, is_detached=is_detached).setServiceParent(daemon)
    if options["log-format"] == "json" and options.parent is not None:
        daemon.log_observer = _json_log(options.parent)
    return daemon


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
        account_ids=[account.id for account in settings.accounts],
        watch={ticker for account in settings.accounts for ticker in account.watch},
        random=Random(),
    )


def _practice_gateway(
    reactor: Any, settings: Settings, seed: int | None, directory: Path
) -> PracticeGateway:
    if seed is None:
        seed = settings.practice.seed
    return PracticeGateway(
        reactor,
        utc_now,
        {account.id: account.watch for account in settings.accounts},
        seed=seed,
        # A run that is to repeat itself begins with nothing.
        ledger=directory if seed is None else None,
        faults=settings.practice.faults,
    )


def read_settings(path: Path | None) -> tuple[Mapping[str, IRule], Settings]:
    """Return the rules there are and the settings; what is wrong ends the program with a line each."""
    try:
        catalogue = find_rules()
        return catalogue, practice_settings(catalogue) if path is None else load(path, catalogue)
    except (RuleDiscoveryError, ConfigError) as error:
        _refuse("\nriskd: ".join(error.problems))


def assemble(
    reactor: Any,
    gateway: IGateway,
    sockets: list[socket.socket],
    state: StateDirectory,
    settings: Settings,
    catalogue: Mapping[str, IRule] | None = None,
) -> tuple[Daemon, Pipeline]:
    """Return a daemon on ``gateway`` that listens on ``sockets``, and its pipeline."""
    return _assemble(Pipeline, reactor, gateway, sockets, state, settings, catalogue or {})


def _assemble(
    make_pipeline: Callable[..., _AnyPipeline],
    reactor: Any,
    gateway: IGateway,
    sockets: list[socket.socket],
    state: StateDirectory,
    settings: Settings,
    catalogue: Mapping[str, IRule],
) -> tuple[Daemon, _AnyPipeline]:
    """Return a daemon and its pipeline, which ``make_pipeline`` makes."""
    store = Store(state.path)
    journal = JournalService(reactor, store, DiskThread(reactor), utc_now, gateway.name)
    factory = BroadcastServerFactory(
        reactor,
        gateway_name=gateway.name,
        prepare=journal.published,
        max_clients=settings.server.max_clients,
        allowed_origins=settings.server.allowed_origins,
    )
    pipeline = make_pipeline(
        reactor, gateway, settings, journal, factory.broadcast, utc_now, catalogue
    )
    control = ControlService(
        reactor,
        state.path / SOCKET_NAME,
        ControlFactory(reactor, pipeline, utc_now),
        pipeline.tell_trouble,
    )
    daemon = Daemon()
    daemon.state = state
    # Services stop in reverse order: STOPPING is told, then the clients are closed, then the last word
    # is written.
    broadcast = BroadcastService(reactor, factory, sockets)
    for service in (journal, broadcast, pipeline, control):
        service.setServiceParent(daemon)
    return daemon, pipeline


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
        pipeline: Pipeline | RecordedPipeline,
        in_thread: Callable[[Callable[[], Settings]], Deferred[Settings]] = deferToThread,
    ) -> None:
        self._path = path
        self._catalogue = catalogue
        self._started_with = settings
        self._pipeline = pipeline
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
        read = self._in_thread(lambda: load(self._path, self._catalogue))
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
        notes = [self._pipeline.reload(settings)]
        if _beyond_accounts(settings) != _beyond_accounts(self._started_with):
            notes.append("changes of enforce, gateway, practice and server need a restart")
        for note in filter(None, notes):
            _log.warn("{path}: {note}", path=self._path, note=note)
        _log.info("{path} is in force", path=self._path)
        self._tell("")

    def _tell(self, trouble: str) -> None:
        self._pipeline.tell_trouble("config", trouble)


class Daemon(MultiService):
    """The daemon's services.

    :ivar log_observer: where twistd's log is to go; ``None`` leaves that to twistd.
    :ivar state: the state directory, held for as long as the daemon lives.
    """

    log_observer: FileLogObserver | None = None
    state: StateDirectory | None = None

    def setServiceParent(self, parent: Any) -> None:
        """Join the application that twistd made, and tell it where its log goes."""
        if self.log_observer is not None:
            parent.setComponent(ILogObserver, self.log_observer)
        super().setServiceParent(parent)


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


def _beyond_accounts(settings: Settings) -> tuple[object, ...]:
    return (settings.enforce, settings.gateway, settings.practice, settings.server)


class Signals(Service):
    """Makes SIGINT and SIGTERM an orderly end with exit status 0, and SIGHUP a reading of the file.

    twistd would end by the signal itself, which a supervisor takes for a crash.

    :param reload: called on SIGHUP; without it, a closed terminal is an orderly end, too.
    :param is_detached: whether there is no terminal that could be closed.
    """

    def __init__(
        self,
        reactor: Any,
        reload: Callable[[], None] | None = None,
        *,
        is_detached: bool = False,
    ) -> None:
        self._reactor = reactor
        self._reload = reload
        self._is_detached = is_detached
        self._stopping = False

    def startService(self) -> None:
        """Take the signals over, once the reactor has set its own handlers."""
        super().startService()
        self._reactor.callWhenRunning(self._take_over)

    def _take_over(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Who started it with nohup wants it to outlive the terminal.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._signaled)

    def stop(self, why: str) -> None:
        """Stop the reactor, once; ``why`` is for the log."""
        if not self._stopping:
            self._stopping = True
            _log.info("{why}, shutting down", why=why)
            self._reactor.stop()

    def _signaled(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP and self._reload is not None:
            self._reactor.callFromThread(self._reload)
            return
        if number == signal.SIGHUP and self._is_detached:
            self._reactor.callFromThread(_log.info, "SIGHUP: there is no --config to read again")
            return
        name = signal.Signals(number).name
        self._reactor.callFromThread(self.stop, f"received {name}")


def _json_log(twistd: BaseOptions) -> FileLogObserver:
    """Return an observer that writes a JSON object a line where twistd would write its text."""
    filename = twistd["logfile"]
    if twistd["nodaemon"] and filename in (None, "-"):
        return jsonFileLogObserver(sys.stdout, recordSeparator="")
    return jsonFileLogObserver(LogFile.fromFullPath(filename or "twistd.log"), recordSeparator="")


def _refuse(sentence: str) -> NoReturn:
    """End the program with ``sentence`` on standard error and exit status 1."""
    raise SystemExit(f"riskd: {sentence}")
