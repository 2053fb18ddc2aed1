"""A real daemon for anyone's tests, whatever they are written with.

:class:`DaemonHarness` runs riskd in a process of its own, on a free port and with a market that does
not move, so that the only events are those a test triggers::

    with DaemonHarness() as daemon:
        ...connect to f"ws://localhost:{daemon.port}"...
        daemon.trigger_test_event("GatewayUserTrade", {"accountId": 123, "profitAndLoss": -45.50})

Its methods block, for a moment.  A test that lives in the reactor's thread may call them all the same,
or through ``deferToThread``.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Final, Self

from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.protocols.basic import LineOnlyReceiver

from riskd.app.launch import Signals, utc_now
from riskd.app.tap import assemble
from riskd.config.settings import PRACTICE_ACCOUNTS, Settings
from riskd.engine.service import EngineService
from riskd.host.loopback import listen
from riskd.journal.state_directory import StateDirectory
from riskd.model.events import EVENT_TYPES, Event, EventError
from riskd.model.wire import decode, encode, from_fields
from riskd.practice.gateway import PracticeGateway

SAMPLE_ACCOUNT: Final = 123

_STOP_SECONDS: Final = 10
_CONTRACT: Final = "CON.F.US.MNQ.U25"
_ids = itertools.count(1)


class DaemonHarness:
    """A daemon that a test starts, feeds and stops.

    :param port: the TCP port; 0 takes a free one at the first start and keeps it from then on.
    :param state: the state directory; by default one of its own, which is gone with the harness.
    :ivar port: the port it listens on, on both addresses of ``localhost``; 0 before the first start.
    :ivar state: the state directory; it outlives :meth:`stop` and :meth:`kill`.
    """

    def __init__(self, port: int = 0, state: Path | None = None) -> None:
        self.port = port
        self.state = state or Path(mkdtemp(prefix="riskd-"))
        if state is None:
            weakref.finalize(self, shutil.rmtree, self.state, ignore_errors=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon; return when it accepts clients.

        :raises RuntimeError: it is running already, or did not start; its reason is on standard error.
        """
        if self._process is not None:
            raise RuntimeError("the daemon is running already")
        self._process = subprocess.Popen(  # noqa: S603  # this very Python, and a number
            [sys.executable, "-m", "riskd.testing", str(self.port), str(self.state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port = int(self._answer())

    def stop(self) -> None:
        """Shut the daemon down as SIGTERM does; return when it is gone.

        :raises RuntimeError: it ended with another exit status than 0.
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        status = _end(process)
        if status:
            raise RuntimeError(f"the daemon ended with exit status {status}")

    def kill(self) -> None:
        """End the daemon as a crash does."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            _end(process)

    def trigger_test_event(self, event_type: str, data: dict[str, Any]) -> None:
        """Let the daemon broadcast an event; return when it has.

        :param event_type: one of the nine types.
        :param data: its fields, by their names on the wire.  ``accountId`` becomes the envelope's
            account; what is missing is filled with valid sample values.
        :raises EventError: the type is unknown, or a field is unknown or wrong.
        :raises RuntimeError: the daemon is not running.
        """
        event = make_event(event_type, data)
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the daemon is not running")
        with suppress(BrokenPipeError):
            # If it is gone, the missing answer will tell.
            self._process.stdin.write(encode(event) + b"\n")
            self._process.stdin.flush()
        self._answer()

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

    def _answer(self) -> bytes:
        process = self._process
        if process is None or process.stdout is None:
            raise RuntimeError("the daemon is not running")
        line = process.stdout.readline()
        if not line:
            self._process = None
            raise RuntimeError(f"the daemon is gone, exit status {_end(process)}")
        return line


def make_event(event_type: str, data: dict[str, Any]) -> Event:
    """Return an event of ``data``, filled up with sample values.

    :raises EventError: the type is unknown, or a field is unknown or wrong.
    """
    if event_type not in EVENT_TYPES:
        from_fields(event_type, None, {})
    is_daemon_wide = event_type == "daemon_status"
    account_id = data.get("accountId", None if is_daemon_wide else SAMPLE_ACCOUNT)
    sample = _SAMPLES[event_type]()
    given = {key: _exact(value) for key, value in data.items() if key != "accountId"}
    for key, value in given.items():
        if key not in sample:
            raise EventError(f"{event_type}.{key}", value, "one of " + ", ".join(sample))
    if account_id is not None and type(account_id) is not int:
        raise EventError("accountId", account_id, "a whole number")
    return from_fields(event_type, account_id, {**sample, **given})


def _exact(value: Any) -> Any:
    """Return a float as the decimal that it is written as; anything else as it is."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


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


def _end(process: subprocess.Popen[bytes]) -> int:
    """Wait for ``process``, let go of its pipes, and return its exit status."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


class _TriggerProtocol(LineOnlyReceiver):
    """Standard input of the harness's daemon: an event a line, each answered when it is broadcast."""

    delimiter = b"\n"

    def __init__(
        self, announce: Callable[[Event], Deferred[None]], port: int, gone: Callable[[], None]
    ) -> None:
        self._announce = announce
        self._port = port
        self._gone = gone

    def connectionMade(self) -> None:
        self.sendLine(b"%d" % self._port)

    def lineReceived(self, line: bytes) -> None:
        self._announce(decode(line)).addCallback(lambda _: self.sendLine(b"done"))

    def connectionLost(self, reason: object = None) -> None:  # noqa: ARG002
        self._gone()


def start_still_daemon(reactor: Any, port: int, state: Path) -> tuple[EngineService, int, Signals]:
    """Start a daemon whose market stands still, and that logs to standard error.

    Returns its pipeline, the port that it listens on, and what stops it.
    """
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    sockets = listen(port)
    port = sockets[0].getsockname()[1]
    accounts = {account.id: () for account in PRACTICE_ACCOUNTS}
    still = PracticeGateway(reactor, utc_now, accounts, is_open=False)
    daemon, engine = assemble(
        reactor, still, sockets, StateDirectory(state), Settings(accounts=PRACTICE_ACCOUNTS)
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
    trigger = _TriggerProtocol(engine.announce, port, lambda: signals.stop("end of input"))
    # Clients that connect from then on see no event but those that are triggered.
    engine.started.addCallback(lambda _: engine.pause())
    engine.started.addCallback(lambda _: StandardIO(trigger))
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
