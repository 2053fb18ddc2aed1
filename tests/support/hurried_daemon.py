"""A daemon to be killed: the practice market at many times its speed, and locks all the time.

Run as ``python -m tests.support.hurried_daemon PORT STATE``.  It writes its port when it has started.  It
broadcasts each line of standard input, and writes the states that its accounts have at that moment.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.protocols.basic import LineOnlyReceiver

from riskd.app.tap import assemble, utc_now
from riskd.engine.service import EngineService
from riskd.host.loopback import listen
from riskd.journal.state_directory import StateDirectory
from riskd.model.account import AccountState, RiskState
from riskd.model.balance import Balance
from riskd.model.broker import on_wire
from riskd.practice.gateway import PracticeGateway
from riskd.practice.market import STEP_SECONDS
from riskd.testing import make_event, unguarded_settings

SPEED = 50
ANNOUNCE_SECONDS = 0.02


def plain(state: AccountState) -> Any:
    """Return a state as plain values that can be compared across processes."""
    # The published copy may have older quotes, and has nothing that is private to the daemon.
    known = msgspec.structs.replace(
        state,
        final_orders={},
        quotes={},
        outdated_quotes={},
        # The copy alone has these.
        balance=Balance(),
        days={},
        risk=RiskState(),
    )
    fields = msgspec.to_builtins(known, str_keys=True)
    # Of what the broker said, a client that follows the stream knows what the wire has.
    for name in ("positions", "orders", "trades"):
        reported = getattr(state, name).items()
        fields[name] = {str(key): msgspec.to_builtins(on_wire(each)) for key, each in reported}
    return fields


class HastyClock:
    """The reactor's clock at many times its speed."""

    def seconds(self) -> float:
        return reactor.seconds() * SPEED

    def callLater(self, delay: float, act: Callable[..., Any], *arguments: Any) -> IDelayedCall:
        return reactor.callLater(delay / SPEED, act, *arguments)


class Control(LineOnlyReceiver):
    """Announces locks and actions, and writes the states on request."""

    delimiter = b"\n"

    def __init__(self, port: int, engine: EngineService, gateway: PracticeGateway) -> None:
        self._port = port
        self._engine = engine
        self._market = gateway._loop
        self._announcing = LoopingCall(self._announce)
        self._random = random.Random()

    def connectionMade(self) -> None:
        self.sendLine(b"%d" % self._port)
        self._announcing.start(ANNOUNCE_SECONDS)

    def _announce(self) -> None:
        account = self._random.choice((123, 456))
        rule = f"RULE-{self._random.getrandbits(40):x}"
        self._engine.announce(
            make_event("enforcement_action", {"accountId": account, "rule_id": rule})
        )
        self._engine.announce(make_event("lockout_set", {"accountId": account, "rule_id": rule}))

    def lineReceived(self, line: bytes) -> None:
        if line == b"go on":
            self._announcing.start(ANNOUNCE_SECONDS)
            self._market.start(STEP_SECONDS, now=False)
            return
        # The market stands still, too: a console that is slow would read a copy that is newer than the states.
        for loop in (self._announcing, self._market):
            if loop.running:
                loop.stop()
        accounts = [each.account for each in self._engine.accounts.values()]
        if any(each.state is not each.state_with_pending for each in accounts):
            # The published copy has what is about to be broadcast, and consoles read it again.
            reactor.callLater(ANNOUNCE_SECONDS, self.lineReceived, line)
            return
        # Applied and broadcast in one turn, so a console that has seen this has seen what is written here.
        self._engine.announce(make_event("daemon_status", {"message": line.decode()}))
        states = {
            str(account_id): plain(account.account.state)
            for account_id, account in self._engine.accounts.items()
        }
        self.sendLine(msgspec.json.encode(states))

    def connectionLost(self, reason: object = None) -> None:
        if reactor.running:
            reactor.stop()


def main(port: int, state: Path) -> None:
    """Run until killed."""
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    sockets = listen(port)
    port = sockets[0].getsockname()[1]
    settings = unguarded_settings()
    accounts = {account.id: account.watch for account in settings.accounts}
    gateway = PracticeGateway(HastyClock(), utc_now, accounts, ledger=state)
    daemon, engine = assemble(
        EngineService,
        reactor,
        gateway,
        sockets,
        StateDirectory(state),
        settings,
        catalogue={},
    )
    reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
    daemon.startService()
    # The announced locks must not flatten the practice traders, who make the load.
    engine.started.addCallback(lambda _: engine.pause())
    engine.started.addCallback(lambda _: StandardIO(Control(port, engine, gateway)))
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
