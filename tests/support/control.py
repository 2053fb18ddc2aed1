"""A daemon for the operator's commands, and clients of its socket, both in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import Clock
from twisted.protocols.amp import AMP
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from riskd.control.protocol import Request, RequestRefusedError
from riskd.control.server import ControlFactory
from riskd.engine.interface import ConfirmedFlatten, IOperated, IOperatedAccount
from riskd.model.account import AccountState, Flattening, apply, with_risk
from riskd.model.balance import after_firm_floor
from riskd.model.broker import BrokerOrder, BrokerPosition
from riskd.model.events import (
    Action,
    DaemonStatus,
    Event,
    LockoutSet,
)
from riskd.model.lockouts import is_locked
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import NOTHING, Rule
from riskd.rules.settings import RuleSettings
from tests.support.broker_values import NOON, broker_order, broker_position

NOW = NOON


def a_rule(rule_id: str, gauges: Callable[..., Any]) -> RuleInForce:
    """Return a rule in force that does nothing but return its gauges."""
    rule = Rule(
        rule_id, rule_id.lower(), RuleSettings, frozenset(), lambda *_: NOTHING, gauges=gauges
    )
    return RuleInForce(rule, RuleSettings())


@implementer(IOperatedAccount)
class FakeAccount:
    """An account that records the commands it received.

    :ivar received: name and arguments of each command.
    :ivar confirmed: the broker's confirmation of a flatten; ``None``: at once, nothing was open.
    """

    def __init__(self, account_id: int) -> None:
        self.account_state = AccountState(account_id=account_id)
        self.is_reported = True
        self.rules: tuple[RuleInForce, ...] = ()
        self.received: list[tuple[object, ...]] = []
        self.confirmed: Deferred[ConfirmedFlatten] | None = None

    def apply(self, data: Any) -> None:
        """Apply an event to the account's state."""
        account_id = None if isinstance(data, DaemonStatus) else self.account_state.account_id
        self.account_state = apply(self.account_state, Event(account_id, data))

    def withdraw(self, reason: str, operator: str) -> bool:
        self.received.append(("withdraw", reason, operator))
        return True

    def unlock(self, reason: str, operator: str) -> bool:
        self.received.append(("unlock", reason, operator))
        was_locked = is_locked(self.account_state, NOW)
        self.account_state = msgspec.structs.replace(self.account_state, lockouts={})
        return was_locked

    def lock(
        self, reason: str, operator: str, until: datetime | None
    ) -> Deferred[ConfirmedFlatten]:
        self.received.append(("lock", reason, operator, until))
        self.apply(
            LockoutSet(reason=reason, locked_until=until, rule_id="OPERATOR", locked_at=NOW)
        )
        return self._flatten()

    def flatten(self, reason: str, operator: str) -> Deferred[ConfirmedFlatten]:
        self.received.append(("flatten", reason, operator))
        return self._flatten()

    def set_floor(self, amount: Decimal, operator: str) -> Deferred[ConfirmedFlatten]:
        self.received.append(("set_floor", amount, operator))
        balance = after_firm_floor(self.account_state.balance, amount, NOW)
        self.account_state = msgspec.structs.replace(self.account_state, balance=balance)
        return self.confirmed or Deferred()

    def begin_flatten(self) -> Deferred[ConfirmedFlatten]:
        """Let a flatten be under way; return what its end fires."""
        plan = Flattening(
            action=Action.CLOSE_ALL_POSITIONS, rule_id="OPERATOR", reason="x", begun=NOW
        )
        self.account_state = with_risk(self.account_state, flattening=plan)
        self.confirmed = Deferred()
        return self.confirmed

    def _flatten(self) -> Deferred[ConfirmedFlatten]:
        return succeed(ConfirmedFlatten(0, 0)) if self.confirmed is None else self.confirmed


@implementer(IOperated)
class FakeDaemon:
    """A daemon of fake accounts.

    :ivar on_disk: fires with why a change is not on the disk; ``None``: at once, it is.
    """

    gateway_name = "practice"

    def __init__(self, *account_ids: int) -> None:
        self.enforces = True
        self.is_recovered = True
        self.operated_accounts = {number: FakeAccount(number) for number in account_ids}
        self.on_disk: Deferred[str] | None = None
        self.clock_offset: timedelta | None = timedelta()
        self.time: Callable[[], datetime] = lambda: NOW

    def now(self) -> datetime:
        return self.time()

    def passed(self) -> datetime:
        return self.time()

    def make_durable(self) -> Deferred[str]:
        return self.on_disk or succeed("")

    def published(self) -> Deferred[None]:
        return self.make_durable().addCallback(lambda _: None)


class AbortableTransport(FakeTransport):
    """A transport in memory whose connection can be aborted."""

    is_aborted = False

    def getHandle(self) -> None:
        """There is no socket whose other end could be named."""

    def abortConnection(self) -> None:
        if not self.is_aborted:
            self.is_aborted = self.disconnected = True
            self.protocol.connectionLost(Failure(ConnectionAborted()))


class ControlTestCase(SynchronousTestCase):
    """A daemon with the accounts 123 and 456, and clients of its socket."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.daemon = FakeDaemon(123, 456)
        self.account = self.daemon.operated_accounts[123]
        self.factory = ControlFactory(
            self.clock, self.daemon, operator_of=lambda _transport: "jane"
        )

    def connect(self) -> tuple[AMP, IOPump]:
        """Return a client of the daemon, and the pump that moves their bytes."""
        client = AMP()
        server = self.factory.buildProtocol(None)
        assert server is not None
        pump = connect(
            server,
            AbortableTransport(server, isServer=True),
            client,
            FakeTransport(client, isServer=False),
        )
        return client, pump

    def begin(self, command: Any, request: Request | None = None) -> Deferred[Any]:
        """Send a command; return its answer, which may be outstanding."""
        client, self.pump = self.connect()
        asked = client.callRemote(command, **({} if request is None else {"request": request}))
        return self.outcome(asked, self.pump)

    def outcome(self, asked: Deferred[Any], pump: IOPump) -> Deferred[Any]:
        """Return the result of a request that was sent."""
        # AMP drops the connection on an error that has no errback.
        outcome: Deferred[Any] = Deferred()
        asked.addBoth(outcome.callback)
        pump.flush()
        return outcome

    def ask(self, command: Any, request: Request | None = None) -> Any:
        """Send a command; return its answer."""
        return self.successResultOf(self.begin(command, request))["answer"]

    def refusal(self, command: Any, request: Request) -> str:
        """Send a command that is refused; return the sentence."""
        return str(self.failureResultOf(self.begin(command, request), RequestRefusedError).value)


def position() -> BrokerPosition:
    return broker_position(size=2, average_price=Decimal("21000.00"))


def order(number: int) -> BrokerOrder:
    return broker_order(id=number, size=2, stop_price=Decimal("20990.00"))
