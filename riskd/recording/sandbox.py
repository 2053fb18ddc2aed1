"""An engine whose inputs are turns, and whose outputs all leave one way.

The daemon that records, its exact replay and a replay under other limits run the same sandbox; they
differ in the :class:`Environment` around it.

A replay gives the same bytes only if the engine depends on nothing but its turns: on no real clock, no
counter of the process, no random number and no order of a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from riskd.config.loader import parse_settings
from riskd.config.settings import Settings
from riskd.engine.service import EngineService
from riskd.gateway.commands import Command
from riskd.gateway.interface import (
    Found,
    GatewayError,
    GatewayRefusedError,
    GatewayUnansweredError,
    IGateway,
    IGatewayListener,
)
from riskd.journal.interface import IJournal
from riskd.journal.store import Recovery
from riskd.model.account import AccountState
from riskd.model.broker import BrokerAccount, BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.contracts import Contract
from riskd.model.events import Event
from riskd.recording.format import (
    Answered,
    ClockReported,
    CopyRead,
    DaemonProblem,
    Failed,
    FeedLost,
    FeedRestored,
    GatewayProblem,
    Header,
    JournalProblem,
    NewsReceived,
    OperatorActed,
    QuoteReceived,
    Recovered,
    Refused,
    Reloaded,
    Request,
    Started,
    Stopped,
    TimerFired,
    Turn,
    Unanswered,
)
from riskd.recording.turn_clock import TurnClock
from riskd.rules.interface import IRule


def read_settings(
    recorded: Header | Reloaded, name: str, catalogue: Mapping[str, IRule]
) -> Settings:
    """Return recorded settings, as the daemon had them.

    :raises ConfigError: this riskd cannot read them.
    """
    settings = parse_settings(recorded.configuration, name, catalogue)
    gateway = msgspec.structs.replace(settings.gateway, key_file=recorded.key_file)
    settings = msgspec.structs.replace(settings, gateway=gateway, operator=recorded.operator)
    if isinstance(recorded, Header) and recorded.is_kept_enforcing:
        return msgspec.structs.replace(settings, enforce=True, is_kept_enforcing=True)
    return settings


class FailedError(Exception):
    """Stands in for an internal error that was recorded, with the same text."""


_FAILURES: Final[dict[str, type[Exception]]] = {
    "gateway": GatewayError,
    "canceled": CancelledError,
    "riskd": FailedError,
}


def failure_input(number: int, error: BaseException | None) -> Refused | Unanswered | Failed:
    """Return the failure of a request as an input that raises the same in a replay."""
    if isinstance(error, GatewayRefusedError):
        return Refused(number, error.request, error.code, error.why)
    if isinstance(error, GatewayUnansweredError):
        return Unanswered(number, error.request, error.why)
    if isinstance(error, GatewayError):
        return Failed(number, str(error), "gateway")
    return Failed(number, str(error), "canceled" if isinstance(error, CancelledError) else "riskd")


class Environment:
    """Receives the outputs of a sandbox; by default it discards them."""

    def request(self, request: Request) -> None:
        """Receive a request; a later turn answers it, if any does."""

    def abandon(self, number: int) -> None:
        """Note that the engine does not wait for the answer to a request any more."""

    def broadcast(self, event: Event) -> None:
        """Receive an event for the clients."""

    def has_room(self, requests: int) -> bool:  # noqa: ARG002
        """Return whether the gateway has room for some reads."""
        return True

    def state_changed(self, *, only_quotes: bool) -> None:
        """Note that the journal has something to write."""

    def note_event(self, event: Event) -> None:
        """Receive an event for the journal's outbox."""


class Sandbox:
    """Lets an engine act, one turn at a time.

    :param environment: receives the engine's outputs.
    :param header: the gateway and the clocks that the engine begins with.
    :param settings: the settings that the engine begins with.
    :param catalogue: all rules, by key.
    :param observe_reaction: see :class:`~riskd.engine.service.EngineService`.
    :ivar engine: the engine.
    :ivar clock: the engine's timers.
    :ivar at: the time of day of the current turn.
    :ivar states: gives the states for the journal to write; none before the engine was started.
    """

    def __init__(
        self,
        environment: Environment,
        header: Header,
        settings: Settings,
        catalogue: Mapping[str, IRule],
        observe_reaction: Callable[[float], None] | None = None,
    ) -> None:
        self.at = header.at
        self.clock = TurnClock(header.seconds)
        self.environment = environment
        self.catalogue = catalogue
        # Set when the engine opens its journal; until then there is nothing to write or report.
        self.states: Callable[[], Iterable[AccountState]] = tuple
        self.found: Callable[[Recovery], None] = lambda _recovery: None
        self.report: Callable[[str], None] = lambda _problem: None
        self._last_number = 0
        self._waiting: dict[int, Deferred[Any]] = {}
        self.engine = EngineService(
            self.clock,
            _SandboxGateway(self, header),
            settings,
            _SandboxJournal(self),
            environment.broadcast,
            lambda: self.at,
            catalogue,
            observe_reaction,
        )

    def ask(self, name: str, **arguments: Any) -> Deferred[Any]:
        """Send a request out; return a Deferred of its answer."""
        number = self.send(name, arguments)
        answer: Deferred[Any] = Deferred(lambda _: self._abandon(number))
        # No answer arrives within the turn, so the Deferred is registered in time.
        self._waiting[number] = answer
        return answer

    def send(self, name: str, arguments: dict[str, Any]) -> int:
        """Send a request out that needs no answer; return its number."""
        self._last_number += 1
        self.environment.request(Request(number=self._last_number, name=name, arguments=arguments))
        return self._last_number

    def _abandon(self, number: int) -> None:
        self._waiting.pop(number, None)
        self.environment.abandon(number)

    def answer(self, number: int, answer: Any) -> None:
        """Answer a request if the engine still waits for it; an exception is a failure.

        :raises LookupError: there was no such request.
        """
        # A smaller number without a waiter is an answer that came after the engine gave up.
        if number > self._last_number:
            raise LookupError(f"there is no request {number}")
        waiting = self._waiting.pop(number, None)
        if waiting is not None and isinstance(answer, Exception):
            waiting.errback(answer)
        elif waiting is not None:
            waiting.callback(answer)

    def perform(self, turn: Turn, act: Callable[[], Any] | None = None) -> Any:
        """Handle a turn; return what the engine returns.

        :param act: handles the turn in place of the sandbox.
        :raises LookupError: the turn is about an account, a timer or a request that does not exist.
        """
        self.clock.set(turn.seconds)
        self.at = turn.at
        return _HANDLERS[type(turn.input)](self, turn.input) if act is None else act()


@implementer(IGateway)
class _SandboxGateway:
    """The gateway that the engine sees: each method leaves the sandbox as a request."""

    def __init__(self, sandbox: Sandbox, header: Header) -> None:
        self._sandbox = sandbox
        self._ask = sandbox.ask
        self.name = header.gateway
        self.answer_seconds = header.answer_seconds

    def start(self, listener: IGatewayListener) -> Deferred[None]:  # noqa: ARG002  # the engine
        """Request events."""
        return self._ask("gateway.start")

    def stop(self) -> Deferred[None]:
        """Request the end of events."""
        return self._ask("gateway.stop")

    def has_room(self, requests: int) -> bool:
        """Return whether the gateway has room for some reads, within the turn."""
        return self._sandbox.environment.has_room(requests)

    def follow_account(self, account_id: int) -> None:
        """Request the events of an account."""
        self._sandbox.send("gateway.follow_account", {"account_id": account_id})

    def follow_quotes(self, contract_id: str) -> None:
        """Request the quotes of a contract."""
        self._sandbox.send("gateway.follow_quotes", {"contract_id": contract_id})

    def expect_commands(self, number: int) -> None:
        """Request to be ready for so many commands at once."""
        self._sandbox.send("gateway.expect_commands", {"number": number})

    def search_account(self, account_id: int) -> Deferred[BrokerAccount]:
        """Request an account."""
        return self._ask("gateway.search_account", account_id=account_id)

    def search_open_positions(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[Found[BrokerPosition]]:
        """Request the account's open positions."""
        return self._ask("gateway.search_open_positions", account_id=account_id, urgent=urgent)

    def search_open_orders(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[Found[BrokerOrder]]:
        """Request the account's working orders."""
        return self._ask("gateway.search_open_orders", account_id=account_id, urgent=urgent)

    def search_orders(
        self, account_id: int, since: datetime, *, urgent: bool = False
    ) -> Deferred[Found[BrokerOrder]]:
        """Request the account's orders placed at ``since`` or later."""
        return self._ask(
            "gateway.search_orders", account_id=account_id, since=since, urgent=urgent
        )

    def search_order(
        self, account_id: int, order_id: int, *, urgent: bool = False
    ) -> Deferred[BrokerOrder]:
        """Request an order."""
        return self._ask(
            "gateway.search_order", account_id=account_id, order_id=order_id, urgent=urgent
        )

    def search_trades(self, account_id: int, since: datetime) -> Deferred[Found[BrokerTrade]]:
        """Request the account's trades made at ``since`` or later."""
        return self._ask("gateway.search_trades", account_id=account_id, since=since)

    def search_contract(self, contract_id: str) -> Deferred[Contract]:
        """Request a contract."""
        return self._ask("gateway.search_contract", contract_id=contract_id)

    def carry_out(self, command: Command) -> Deferred[int | None]:
        """Request what a command says."""
        return self._ask("gateway.carry_out", command=command)


@implementer(IJournal)
class _SandboxJournal:
    """The journal that the engine sees: each method leaves the sandbox as a request."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def recover(
        self,
        account_ids: Iterable[int],
        states: Callable[[], Iterable[AccountState]],
        found: Callable[[Recovery], None],
        report: Callable[[str], None],
    ) -> Deferred[None]:
        """Request the states that the journal holds."""
        sandbox = self._sandbox
        sandbox.states, sandbox.found, sandbox.report = states, found, report
        return sandbox.ask("journal.recover", account_ids=list(account_ids))

    def read_copy(self) -> Deferred[dict[int, AccountState]]:
        """Request the states of the published copy."""
        return self._sandbox.ask("journal.read_copy")

    def changed(self, *, only_quotes: bool = False) -> None:
        """Report that the states have changed."""
        self._sandbox.environment.state_changed(only_quotes=only_quotes)

    def note_event(self, event: Event) -> None:
        """Pass on an event for the outbox."""
        self._sandbox.environment.note_event(event)

    def make_durable(self) -> Deferred[str]:
        """Request the writing of the states."""
        return self._sandbox.ask("journal.make_durable")

    def published(self) -> Deferred[None]:
        """Request a published copy of everything that was broadcast."""
        return self._sandbox.ask("journal.published")


# The handlers of inputs.


def _operate(sandbox: Sandbox, acted: OperatorActed) -> Any:
    command = getattr(sandbox.engine.operated_accounts[acted.account], acted.command)
    if acted.command == "set_floor":
        return command(acted.amount, acted.operator)
    until = (acted.until,) if acted.command == "lock" else ()
    return command(acted.reason, acted.operator, *until)


_HANDLERS: Final[dict[type, Callable[[Sandbox, Any], Any]]] = {
    Started: lambda sandbox, _: sandbox.engine.startService(),
    Stopped: lambda sandbox, _: sandbox.engine.stopService(),
    TimerFired: lambda sandbox, _: sandbox.clock.fire_first(),
    NewsReceived: lambda sandbox, received: sandbox.engine.receive(
        received.account, received.news
    ),
    QuoteReceived: lambda sandbox, received: sandbox.engine.receive_quote(received.quote),
    FeedLost: lambda sandbox, lost: sandbox.engine.feed_lost(lost.sentence),
    FeedRestored: lambda sandbox, _: sandbox.engine.feed_restored(),
    GatewayProblem: lambda sandbox, problem: sandbox.engine.gateway_problem(
        problem.source, problem.sentence
    ),
    ClockReported: lambda sandbox, report: sandbox.engine.clock_reported(
        report.at, report.precision, report.delay
    ),
    Answered: lambda sandbox, answer: sandbox.answer(answer.number, answer.value),
    CopyRead: lambda sandbox, copy: sandbox.answer(copy.number, copy.accounts),
    Refused: lambda sandbox, refusal: sandbox.answer(
        refusal.number, GatewayRefusedError(refusal.request, refusal.code, refusal.message)
    ),
    Unanswered: lambda sandbox, failure: sandbox.answer(
        failure.number, GatewayUnansweredError(failure.request, failure.why)
    ),
    Failed: lambda sandbox, failure: sandbox.answer(
        failure.number, _FAILURES[failure.of](failure.message)
    ),
    Recovered: lambda sandbox, recovered: sandbox.found(
        Recovery(recovered.accounts, recovered.problem)
    ),
    JournalProblem: lambda sandbox, problem: sandbox.report(problem.sentence),
    DaemonProblem: lambda sandbox, problem: sandbox.engine.report_problem(
        problem.source, problem.sentence
    ),
    Reloaded: lambda sandbox, reloaded: sandbox.engine.reload(
        read_settings(reloaded, "the recorded configuration", sandbox.catalogue)
    ),
    OperatorActed: _operate,
}
