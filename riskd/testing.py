"""A test harness for clients of riskd: a real daemon with events on demand.

:class:`DaemonHarness` runs riskd in a process of its own, on a free port and with a market that does
not move, so that its only events are those that a test triggers::

    with DaemonHarness() as daemon:
        ...connect to f"ws://localhost:{daemon.port}"...
        daemon.trigger_test_event("GatewayUserTrade", {"accountId": 123, "profitAndLoss": -45.50})

Its methods block for a moment.  A test in the reactor's thread may call them directly, or through
``deferToThread``.
"""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from twisted.internet.stdio import StandardIO
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.protocols.basic import LineOnlyReceiver

from riskd.app.launch import Signals, utc_now
from riskd.app.tap import assemble
from riskd.config.loader import practice_settings
from riskd.config.settings import Settings
from riskd.engine.service import EngineService
from riskd.host.loopback import listen
from riskd.journal.state_directory import StateDirectory
from riskd.model.events import EVENT_TYPES, Event, EventError
from riskd.model.wire import decode, encode, from_fields
from riskd.practice.gateway import PracticeGateway
from riskd.rules.registry import RULES

SAMPLE_ACCOUNT: Final = 123

_STOP_SECONDS: Final = 10
_CONTRACT: Final = "CON.F.US.MNQ.U25"
_ids = itertools.count(1)


class DaemonHarness:
    """A daemon that a test starts, feeds and stops.

    :param port: the TCP port; 0 takes a free one at the first start and keeps it from then on.
    :param state: the state directory; by default a temporary one, which is removed with the harness.
    :ivar port: the port on both addresses of ``localhost``; 0 before the first start.
    :ivar state: the state directory; :meth:`stop` and :meth:`kill` leave it as it is.
    """

    # What runs the daemon; a subclass may run one of other accounts.
    _module = "riskd.testing"

    def __init__(self, port: int = 0, state: Path | None = None) -> None:
        self.port = port
        self.state = state or Path(mkdtemp(prefix="riskd-"))
        if state is None:
            weakref.finalize(self, shutil.rmtree, self.state, ignore_errors=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon; return when it accepts clients.

        :raises RuntimeError: it is running already, or did not start; standard error has the reason.
        """
        if self._process is not None:
            raise RuntimeError("the daemon is running already")
        self._process = subprocess.Popen(  # noqa: S603  # this very Python, and a number
            [sys.executable, "-m", self._module, str(self.port), str(self.state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port = int(self._send(b""))

    def stop(self) -> None:
        """Stop the daemon as SIGTERM does; return when it has ended.

        :raises RuntimeError: its exit status is not 0.
        """
        status = self._end(signal.SIGTERM)
        if status:
            raise RuntimeError(f"the daemon ended with exit status {status}")

    def kill(self) -> None:
        """End the daemon as a crash does."""
        self._end(signal.SIGKILL)

    def trigger_test_event(self, event_type: str, data: dict[str, Any]) -> None:
        """Broadcast an event; return when the daemon has sent it.

        :param event_type: one of the nine types.
        :param data: its fields, by their names on the wire.  ``accountId`` becomes the envelope's
            account; missing fields get valid sample values.
        :raises EventError: the type is unknown, or a field is unknown or wrong.
        :raises RuntimeError: the daemon is not running.
        """
        self._send(encode(make_event(event_type, data)) + b"\n")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _send(self, line: bytes) -> bytes:
        """Send a line, if it is not empty, to the daemon; return its next answer."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("the daemon is not running")
        with suppress(BrokenPipeError):
            # A daemon that is gone is noticed by its missing answer below.
            process.stdin.write(line)
            process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the daemon is gone, exit status {self._end(0)}")
        return answer

    def _end(self, number: int) -> int:
        """Send a signal, or none with 0; return the exit status, 0 without a daemon."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode


def make_event(event_type: str, data: dict[str, Any]) -> Event:
    """Return an event of ``data``, completed with sample values.

    :raises EventError: the type is unknown, or a field is unknown or wrong.
    """
    if event_type not in EVENT_TYPES:
        # Raises the error of an unknown type.
        from_fields(event_type, None, {})
    account_id = data.get("accountId", None if event_type == "daemon_status" else SAMPLE_ACCOUNT)
    sample = _SAMPLES[event_type]()
    given = {
        # A float means the decimal that it is written as.
        key: Decimal(repr(value)) if isinstance(value, float) else value
        for key, value in data.items()
        if key != "accountId"
    }
    for key, value in given.items():
        if key not in sample:
            raise EventError(f"{event_type}.{key}", value, "one of " + ", ".join(sample))
    if account_id is not None and type(account_id) is not int:
        raise EventError("accountId", account_id, "a whole number")
    return from_fields(event_type, account_id, {**sample, **given})


def _now() -> str:
    return utc_now().isoformat(timespec="milliseconds")


_SAMPLES: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "GatewayUserTrade": lambda: {
        "id": next(_ids),
        "contractId": _CONTRACT,
        "profitAndLoss": Decimal("-45.50"),
        "quantity": 2,
        "executionTime": _now(),
        "timestamp": _now(),
    },
    "GatewayUserPosition": lambda: {
        "id": next(_ids),
        "contractId": _CONTRACT,
        "type": 1,
        "size": 3,
        "averagePrice": Decimal("21000.50"),
        "createdAt": _now(),
        "updatedAt": _now(),
    },
    "GatewayUserOrder": lambda: {
        "id": next(_ids),
        "contractId": _CONTRACT,
        "type": 2,
        "side": 1,
        "size": 2,
        "limitPrice": Decimal("21000.00"),
        "stopPrice": None,
        "state": 1,
        "createdAt": _now(),
        "updatedAt": _now(),
    },
    "MarketQuote": lambda: {
        "contractId": _CONTRACT,
        "bid": Decimal("21000.25"),
        "ask": Decimal("21000.50"),
        "last": Decimal("21000.50"),
        "timestamp": _now(),
    },
    "lockout_set": lambda: {
        "reason": "Daily loss limit hit: -$550",
        "locked_until": None,
        "rule_id": "RULE-003",
        "locked_at": _now(),
    },
    "lockout_cleared": lambda: {"cleared_at": _now(), "cleared_by": "TIMER_EXPIRY"},
    "enforcement_action": lambda: {
        "action": "CLOSE_ALL_POSITIONS",
        "reason": "MaxContracts breach: 6 > 5",
        "rule_id": "RULE-001",
        "success": True,
        "timestamp": _now(),
        "details": {"positions_closed": 2, "orders_canceled": 1},
    },
    "daily_reset": lambda: {
        "reset_time": _now(),
        "previous_pnl": Decimal("-150.50"),
        "previous_trade_count": 12,
        "lockouts_cleared": True,
    },
    "daemon_status": lambda: {
        "status": "RUNNING",
        "message": "Daemon started successfully",
        "timestamp": _now(),
    },
}


class _TriggerProtocol(LineOnlyReceiver):
    """The daemon's standard input: an event a line, answered with ``done``."""

    delimiter = b"\n"

    def __init__(self, engine: EngineService, port: int, signals: Signals) -> None:
        self._engine = engine
        self._port = port
        self._signals = signals

    def connectionMade(self) -> None:
        self.sendLine(b"%d" % self._port)

    def lineReceived(self, line: bytes) -> None:
        self._engine.announce(decode(line)).addCallback(lambda _: self.sendLine(b"done"))

    def connectionLost(self, reason: object = None) -> None:  # noqa: ARG002
        self._signals.stop("end of input")


def unguarded_settings() -> Settings:
    """Return the paper accounts' settings without rules, which would act."""
    accounts = practice_settings({rule.key: rule for rule in RULES}).accounts
    return Settings(
        accounts=tuple(msgspec.structs.replace(account, rules=()) for account in accounts)
    )


def start_still_daemon(reactor: Any, port: int, state: Path) -> tuple[EngineService, int, Signals]:
    """Start a daemon whose market does not move, and that logs to standard error.

    :returns: its engine, its port, and the service that stops it.
    """
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    sockets = listen(port)
    port = sockets[0].getsockname()[1]
    settings = unguarded_settings()
    daemon, engine = assemble(
        EngineService,
        reactor,
        PracticeGateway(
            reactor, utc_now, {account.id: () for account in settings.accounts}, is_open=False
        ),
        sockets,
        StateDirectory(state),
        settings,
        catalogue={},
    )
    signals = Signals(reactor)
    signals.setServiceParent(daemon)
    reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
    daemon.startService()
    return engine, port, signals


def main(port: int, state: Path) -> None:
    """Run the harness's daemon until standard input ends or a signal comes."""
    from twisted.internet import reactor  # noqa: PLC0415

    engine, port, signals = start_still_daemon(reactor, port, state)
    # Paused before the port is printed, so that clients receive triggered events only.
    engine.started.addCallback(lambda _: engine.pause())
    engine.started.addCallback(lambda _: StandardIO(_TriggerProtocol(engine, port, signals)))
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
