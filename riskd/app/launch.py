"""What the programs under twistd share: values of options, refusals, signals, and where the log goes."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from twisted.application.service import MultiService, Service
from twisted.logger import FileLogObserver, ILogObserver, Logger, jsonFileLogObserver
from twisted.python.logfile import LogFile
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from riskd.config.faults import Faults
from riskd.config.loader import load_settings, practice_settings
from riskd.config.settings import Settings
from riskd.host.errors import UserError
from riskd.host.loopback import ListenError, check_interface
from riskd.journal.state_directory import StateDirectory
from riskd.practice.gateway import PracticeGateway
from riskd.rules.interface import IRule
from riskd.rules.plugins import find_rules

_MAX_PORT: Final = 65535
_LOG_FORMATS: Final = ("text", "json")

_log = Logger()


def refuse(program: str, sentence: str) -> NoReturn:
    """End the program with ``sentence`` on standard error and exit status 1."""
    raise SystemExit(f"{program}: {sentence}")


# Values of options; what is none raises ValueError, whose text twistd shows.


def read_port(text: str) -> int:
    """Return a TCP port.

    :raises ValueError: ``text`` is none.
    """
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise ValueError(f"port {text!r} is not a number from 0 to {_MAX_PORT}")
    return int(text)


def read_interface(text: str) -> str:
    """Return a loopback address.

    :raises ValueError: ``text`` is none.
    """
    try:
        return check_interface(text)
    except ListenError as error:
        raise ValueError(str(error)) from None


def read_log_format(text: str) -> str:
    """Return a format of the log.

    :raises ValueError: ``text`` is none.
    """
    if text not in _LOG_FORMATS:
        raise ValueError(f"log format {text!r} is not one of {', '.join(_LOG_FORMATS)}")
    return text


def read_seed(text: str) -> int:
    """Return a seed.

    :raises ValueError: ``text`` is none.
    """
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"practice seed {text!r} is not a whole number") from None


class Options(BaseOptions):
    """A command line whose mistakes end the program with one line.

    :cvar program: what the program is called.
    """

    program: str
    synopsis = "[options]"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line; a mistake in it ends the program with one line that says which."""
        try:
            super().parseOptions(options)
        except UsageError as error:
            fault = str(error).removeprefix("Parameter type enforcement failed: ")
            refuse(self.program, f"{fault} (see twistd {self.program} --help)")


INTERFACE_OPTION: Final = (
    "interface",
    None,
    None,
    "Loopback address to listen on [default: both of localhost, 127.0.0.1 and ::1].",
    read_interface,
)
LOG_FORMAT_OPTION: Final = (
    "log-format",
    None,
    "text",
    "How to write the log: text or json.",
    read_log_format,
)


def port_option(default: int) -> Sequence[Any]:
    """Return the option of the port that a program listens on."""
    meaning = "TCP port to listen on; 0 takes a free one and logs it."
    return ("port", "p", default, meaning, read_port)


def seed_option(what: str) -> Sequence[Any]:
    """Return the option of a seed that makes ``what`` repeat itself."""
    meaning = f"Whole number that makes {what} repeat itself: same seed, same prices."
    return ("practice-seed", None, None, meaning, read_seed)


def read_settings(program: str, path: Path | None) -> tuple[Mapping[str, IRule], Settings]:
    """Return the rules there are and the settings; what is wrong ends the program with a line each.

    :param path: the file of the settings; without it, they are those of practice.
    """
    try:
        catalogue = find_rules()
        return catalogue, practice_settings(catalogue) if path is None else load_settings(
            path, catalogue
        )
    except UserError as error:
        refuse(program, f"\n{program}: ".join(error.problems))


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


def practice_gateway(
    reactor: Any,
    settings: Settings,
    seed: int | None,
    directory: Path,
    *,
    faults: Faults | None = None,
    is_quiet: bool = False,
) -> PracticeGateway:
    """Return the gateway that trades paper.

    :param seed: makes it repeat itself; without one, that of the settings does, if they have one.
    :param directory: where it remembers what was traded.
    :param faults: the broker's habits; without any, those of the settings.
    :param is_quiet: whether nobody trades but who asks for it.
    """
    if seed is None:
        seed = settings.practice.seed
    return PracticeGateway(
        reactor,
        utc_now,
        {account.id: account.watch for account in settings.accounts},
        seed=seed,
        is_quiet=is_quiet,
        # A run that is to repeat itself begins with nothing.
        ledger=directory if seed is None else None,
        faults=faults or settings.practice.faults,
    )


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


def spare_the_program() -> None:
    """Search what the program itself consists of for garbage now, and never again.

    It takes some 40 ms, in which nobody would be guarded.
    """
    gc.collect()
    gc.freeze()


def is_detached(options: BaseOptions) -> bool:
    """Tell whether twistd was told to leave the terminal."""
    return options.parent is not None and not options.parent.get("nodaemon", True)


def json_log(twistd: BaseOptions) -> FileLogObserver:
    """Return an observer that writes a JSON object a line where twistd would write its text."""
    filename = twistd["logfile"]
    if twistd["nodaemon"] and filename in (None, "-"):
        return jsonFileLogObserver(sys.stdout, recordSeparator="")
    return jsonFileLogObserver(LogFile.fromFullPath(filename or "twistd.log"), recordSeparator="")
