"""What the twistd programs share: options, refusals, settings, signals, log."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from twisted.application.service import MultiService, Service
from twisted.logger import FileLogObserver, ILogObserver, Logger, jsonFileLogObserver
from twisted.python.logfile import LogFile
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from riskd.config.loader import load_settings, practice_settings
from riskd.config.settings import Settings
from riskd.host.errors import UserError
from riskd.host.loopback import check_interface, listen
from riskd.host.timing import use_steady_clock
from riskd.host.working_directory import check_directory_exists, check_writable
from riskd.journal.default_state import open_default
from riskd.journal.gateway_identity import GatewayIdentity
from riskd.journal.state_directory import StateDirectory
from riskd.rules.interface import IRule
from riskd.rules.plugins import find_rules

_Program = TypeVar("_Program", bound="Program")

_MAX_PORT: Final = 65535
_LOG_FORMATS: Final = ("text", "json")

_log = Logger()


# Coercing functions of options; twistd shows the text of their ValueError.


def read_port(text: str) -> int:
    """Return a TCP port.

    :raises ValueError: ``text`` is not a port.
    """
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise ValueError(f"port {text!r} is not a number from 0 to {_MAX_PORT}")
    return int(text)


def read_log_format(text: str) -> str:
    """Return the format of the log.

    :raises ValueError: ``text`` is not a format.
    """
    if text not in _LOG_FORMATS:
        raise ValueError(f"log format {text!r} is not one of {', '.join(_LOG_FORMATS)}")
    return text


def read_seed(text: str) -> int:
    """Return a seed.

    :raises ValueError: ``text`` is not a whole number.
    """
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"practice seed {text!r} is not a whole number") from None


class Options(BaseOptions):
    """A command line whose mistakes end the program with one line.

    :cvar program: the program's name.
    """

    program: str
    synopsis = "[options]"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line; a mistake ends the program with one line that names it."""
        try:
            check_directory_exists()
            super().parseOptions(options)
        except (UsageError, UserError) as error:
            mistake = str(error).removeprefix("Parameter type enforcement failed: ")
            self.refuse(f"{mistake} (see twistd {self.program} --help)")
        try:
            check_files_of_twistd(getattr(self, "parent", None) or {})
        except UserError as error:
            self.refuse(
                f"{error} (start it in a directory of your own, or name other files: "
                f"twistd --pidfile FILE --logfile FILE {self.program})"
            )

    def refuse(self, *problems: str) -> NoReturn:
        """Print each problem on a line of standard error, and exit with status 1."""
        raise SystemExit("\n".join(f"{self.program}: {problem}" for problem in problems))


def check_files_of_twistd(options: Mapping[str, Any]) -> None:
    """Check that twistd can write its files, by default in the working directory.

    twistd itself would end with a traceback, and, once it has detached, without a word.

    :param options: of twistd; empty where the program runs without it.
    :raises UserError: a file cannot be written.
    """
    if options.get("pidfile"):
        check_writable(Path(options["pidfile"]))
    log = options.get("logfile") or ("-" if options.get("nodaemon", True) else "twistd.log")
    if log != "-" and not options.get("syslog"):
        check_writable(Path(log))


INTERFACE_OPTION: Final = (
    "interface",
    None,
    None,
    "Loopback address to listen on [default: both of localhost, 127.0.0.1 and ::1].",
    check_interface,
)
LOG_FORMAT_OPTION: Final = (
    "log-format",
    None,
    "text",
    "Format of the log: text or json.",
    read_log_format,
)


def port_option(default: int) -> Sequence[Any]:
    """Return the option for the port that a program listens on."""
    meaning = "TCP port to listen on; 0 takes a free one and logs it."
    return ("port", "p", default, meaning, read_port)


def path_option(name: str, meaning: str, short: str | None = None) -> Sequence[Any]:
    """Return an option for a file or a directory."""
    return (name, short, None, meaning, Path)


def seed_option(what: str) -> Sequence[Any]:
    """Return the option for a seed with which ``what`` repeats itself."""
    meaning = f"Whole number that makes {what} repeat itself: same seed, same prices."
    return ("practice-seed", None, None, meaning, read_seed)


def begin(options: Options) -> tuple[Any, Mapping[str, IRule], Settings]:
    """Return the reactor on a steady clock, all known rules, and the settings.

    A mistake in the settings ends the program with one line each.
    """
    # Only now, because twistd installs a reactor first.
    from twisted.internet import reactor  # noqa: PLC0415

    use_steady_clock(reactor)
    path = options["config"]
    try:
        catalogue = find_rules()
        settings = practice_settings(catalogue) if path is None else load_settings(path, catalogue)
    except UserError as error:
        options.refuse(*error.problems)
    return reactor, catalogue, settings


def use_asyncio() -> None:
    """Install Twisted's asyncio reactor, before twistd installs its own.

    :raises UserError: another one is installed already.
    """
    # What is not asked for is not imported.
    import asyncio  # noqa: PLC0415

    from twisted.internet.asyncioreactor import AsyncioSelectorReactor, install  # noqa: PLC0415

    installed = sys.modules.get("twisted.internet.reactor")
    if installed is None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        install(loop)
    elif not isinstance(installed, AsyncioSelectorReactor):
        raise UserError("this runs on Twisted's asyncio reactor; leave out twistd's --reactor")


def listen_at(options: Options, name: str, held: ExitStack) -> list[socket.socket]:
    """Return listening sockets at the port of an option, which ``held`` will close.

    Without a port there are none.

    The programs listen before twistd detaches or writes its log, so that a port in use is one line on the
    terminal and not a traceback in the log.

    :raises ListenError: the port is in use.
    """
    if options[name] is None:
        return []
    sockets = listen(options[name], options["interface"], option=f"--{name}")
    return [held.enter_context(listening) for listening in sockets]


def open_state(path: Path | None, gateway: GatewayIdentity) -> StateDirectory:
    """Return the state directory of a gateway, or of a desk.

    :param path: the directory; ``None`` takes the default one.
    :raises UserError: it cannot be used, or belongs to another gateway or desk.
    """
    if path is None:
        state, notes = open_default(gateway)
    else:
        state = StateDirectory(path)
        try:
            notes = state.claim(gateway)
        except UserError:
            state.release()
            raise
    for note in notes:
        _log.warn("{note}", note=note)
    return state


class Program(MultiService):
    """A program's services.

    :ivar log_observer: the log's observer; ``None`` means twistd's own.
    """

    log_observer: FileLogObserver | None = None

    def setServiceParent(self, parent: Any) -> None:
        """Join twistd's application, and set its log observer."""
        if self.log_observer is not None:
            parent.setComponent(ILogObserver, self.log_observer)
        super().setServiceParent(parent)


class Daemon(Program):
    """A program that holds a state directory for as long as it runs."""

    def __init__(self, state: StateDirectory) -> None:
        super().__init__()
        self.state = state


def finish(
    program: _Program, reactor: Any, options: Options, reload: Callable[[], None] | None = None
) -> _Program:
    """Return ``program`` with handlers of signals and the wanted format of the log.

    :param reload: called on SIGHUP.
    """
    twistd = options.parent
    is_detached = twistd is not None and not twistd.get("nodaemon", True)
    Signals(reactor, reload, is_detached=is_detached).setServiceParent(program)
    if options["log-format"] == "json" and twistd is not None:
        program.log_observer = _json_log(twistd)
    return program


def _json_log(twistd: BaseOptions) -> FileLogObserver:
    """Return an observer that writes JSON lines to the place of twistd's text."""
    filename = twistd["logfile"]
    if twistd["nodaemon"] and filename in (None, "-"):
        return jsonFileLogObserver(sys.stdout, recordSeparator="")
    return jsonFileLogObserver(LogFile.fromFullPath(filename or "twistd.log"), recordSeparator="")


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


class Signals(Service):
    """Turns SIGINT and SIGTERM into a clean stop, and SIGHUP into a reload.

    twistd itself would end by the signal, which a supervisor takes for a crash.

    :param reload: called on SIGHUP; without it, a closed terminal is an orderly end too.
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
        self._is_stopping = False

    def startService(self) -> None:
        """Install the handlers, after the reactor has installed its own."""
        super().startService()
        self._reactor.callWhenRunning(self._install_handlers)

    def _install_handlers(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup ignores SIGHUP, so that the program outlives the terminal.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def stop(self, why: str) -> None:
        """Stop the reactor, once; ``why`` is for the log."""
        if not self._is_stopping:
            self._is_stopping = True
            _log.info("{why}, shutting down", why=why)
            self._reactor.stop()

    def _handle(self, number: int, _frame: object) -> None:
        # A signal may interrupt any Python code, so the work is left to the reactor.
        if number == signal.SIGHUP and self._reload is not None:
            self._reactor.callFromThread(self._reload)
        elif number == signal.SIGHUP and self._is_detached:
            self._reactor.callFromThread(_log.info, "SIGHUP: there is no --config to read again")
        else:
            self._reactor.callFromThread(self.stop, f"received {signal.Signals(number).name}")


def freeze_garbage() -> None:
    """Collect garbage, then exempt the program's own objects from later collections.

    A full collection of them takes some 40 ms, in which no account is guarded.
    """
    gc.collect()
    gc.freeze()
