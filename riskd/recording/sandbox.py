"""A pipeline for which all that comes in is a line, and all that it asks for goes through one door.

The daemon that records, its exact replay and a replay under other limits stand on the same stage; they
differ in who is outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from riskd.config.loader import parse_settings
from riskd.config.settings import Settings
from riskd.engine.service import EngineService
from riskd.gateway.interface import (
    GatewayError,
    GatewayRefusedError,
    GatewayUnansweredError,
    IGateway,
    IGatewayListener,
    Payload,
)
from riskd.journal.interface import IJournal
from riskd.journal.store import Recovery
from riskd.model.account import AccountState
from riskd.model.events import Event
from riskd.recording.format import (
    Answered,
    CopyRead,
    Failed,
    FeedLost,
    FeedRestored,
    GatewayTrouble,
    JournalTrouble,
    MarketEvent,
    Operated,
    Recovered,
    Refused,
    Reloaded,
    Started,
    Stopped,
    TimerFired,
    Trouble,
    Turn,
    Unanswered,
    UserEvent,
)
from riskd.recording.turn_clock import TurnClock
from riskd.rules.interface import IRule


class FailedError(Exception):
    """Stands in for a mistake in riskd that was recorded; its text is that of the mistake."""


_FAILURES: Final[dict[str, type[Exception]]] = {
    "gateway": GatewayError,
    "canceled": CancelledError,
    "riskd": FailedError,
}


class Outside(Protocol):
    """Whoever stands around the stage."""

    def asked(self, number: int, request: str, arguments: dict[str, Any]) -> None:
        """Take a request; it is answered by a turn, if at all."""

    def left(self, number: int) -> None:
        """Take note that nobody waits for the answer to a request any more."""

    def told(self, event: Event) -> None:
        """Take an event for the consoles."""

    def has_room(self, requests: int) -> bool:
        """Tell whether the gateway has room for so many reads."""

    def changed(self, *, only_quotes: bool) -> None:
        """Take note that the states have changed."""


class Stage:
    """Lets a pipeline act, one turn at a time.

    :param outside: who stands around it.
    :param gateway_name: the kind of gateway.
    :param answer_seconds: how long an answer of the gateway may take.
    :param settings: what the pipeline is started with.
    :param catalogue: all rules there are, by key.
    :param at: the time of day, aware.
    :param seconds: the clock's seconds.
    :param acted: see :class:`~riskd.engine.service.EngineService`.
    :ivar pipeline: the pipeline.
    :ivar clock: its timers.
    :ivar at: the time of day, as of this turn.
    :ivar states: gives the states that the journal is to write; nothing before the pipeline is started.
    """

    def __init__(
        self,
        outside: Outside,
        *,
        gateway_name: str,
        answer_seconds: float,
        settings: Settings,
        catalogue: Mapping[str, IRule],
        at: datetime,
        seconds: float,
        acted: Callable[[float], None] | None = None,
    ) -> None:
        self.at = at
        self.clock = TurnClock(seconds)
        self.outside = outside
        self.catalogue = catalogue
        self.states: Callable[[], Iterable[AccountState]] = tuple
        self.found: Callable[[Recovery], None] = lambda _recovery: None
        self.report: Callable[[str], None] = lambda _trouble: None
        self._asked = 0
        self._waiting: dict[int, Deferred[Any]] = {}
        self.engine = EngineService(
            self.clock,
            _GatewayOutside(self, gateway_name, answer_seconds),
            settings,
            _JournalOutside(self),
            outside.told,
            lambda: self.at,
            catalogue,
            acted,
        )

    def ask(self, request: str, **arguments: Any) -> Deferred[Any]:
        """Ask whoever is outside; return a Deferred of the answer."""
        number = self.say(request, arguments)
        answer: Deferred[Any] = Deferred(lambda _: self._leave(number))
        # Nothing answers within the turn.
        self._waiting[number] = answer
        return answer

    def say(self, request: str, arguments: dict[str, Any]) -> int:
        """Tell whoever is outside what is asked; return the request's number."""
        self._asked += 1
        self.outside.asked(self._asked, request, arguments)
        return self._asked

    def _leave(self, number: int) -> None:
        self._waiting.pop(number, None)
        self.outside.left(number)

    def answer(self, number: int, answer: Any) -> None:
        """Answer a request, if anybody still waits for it; an exception is a failure.

        :raises LookupError: there was no such request.
        """
        if number > self._asked:
            raise LookupError(f"there is no request {number}")
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        if isinstance(answer, Exception):
            waiting.errback(answer)
        else:
            waiting.callback(answer)

    def perform(self, turn: Turn, act: Callable[[], Any] | None = None) -> Any:
        """Handle what came in; return what the pipeline returns.

        :param act: handles it, if it is known already how.
        :raises LookupError: it is about something that is not there.
        """
        self.clock.set(turn.seconds)
        self.at = turn.at
        return _ACTS[type(turn.came)](self, turn.came) if act is None else act()


@implementer(IGateway)
class _GatewayOutside:
    """The gateway, as the pipeline sees it."""

    def __init__(self, stage: Stage, name: str, answer_seconds: float) -> None:
        self._ask = stage.ask
        self._stage = stage
        self.name = name
        self.answer_seconds = answer_seconds

    def start(self, listener: IGatewayListener) -> Deferred[None]:  # noqa: ARG002  # it is the pipeline
        """Ask for events."""
        return self._ask("gateway.start")

    def stop(self) -> Deferred[None]:
        """Ask for no more of them."""
        return self._ask("gateway.stop")

    def has_room(self, requests: int) -> bool:
        """Tell whether so many reads can be answered now."""
        return self._stage.outside.has_room(requests)

    def follow_account(self, account_id: int) -> None:
        """Ask for the events of an account."""
        self._stage.say("gateway.follow_account", {"account_id": account_id})

    def follow_quotes(self, contract_id: str) -> None:
        """Ask for the quotes of a contract."""
        self._stage.say("gateway.follow_quotes", {"contract_id": contract_id})

    def search_account(self, account_id: int) -> Deferred[Payload]:
        """Ask for an account."""
        return self._ask("gateway.search_account", account_id=account_id)

    def search_open_positions(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Ask for the account's open positions."""
        return self._ask("gateway.search_open_positions", account_id=account_id, urgent=urgent)

    def search_open_orders(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Ask for the account's working orders."""
        return self._ask("gateway.search_open_orders", account_id=account_id, urgent=urgent)

    def search_orders(
        self, account_id: int, since: datetime, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Ask for the account's orders placed at ``since`` or later."""
        return self._ask(
            "gateway.search_orders", account_id=account_id, since=since, urgent=urgent
        )

    def search_order(
        self, account_id: int, order_id: int, *, urgent: bool = False
    ) -> Deferred[Payload]:
        """Ask for an order."""
        return self._ask(
            "gateway.search_order", account_id=account_id, order_id=order_id, urgent=urgent
        )

    def search_trades(self, account_id: int, since: datetime) -> Deferred[list[Payload]]:
        """Ask for the account's trades made at ``since`` or later."""
        return self._ask("gateway.search_trades", account_id=account_id, since=since)

    def search_contract(self, contract_id: str) -> Deferred[Payload]:
        """Ask for a contract."""
        return self._ask("gateway.search_contract", contract_id=contract_id)

    def place_order(self, account_id: int, order: Payload) -> Deferred[int]:
        """Ask to place an order."""
        return self._ask("gateway.place_order", account_id=account_id, order=order)

    def cancel_order(self, account_id: int, order_id: int) -> Deferred[None]:
        """Ask to cancel an order."""
        return self._ask("gateway.cancel_order", account_id=account_id, order_id=order_id)

    def close_contract(self, account_id: int, contract_id: str) -> Deferred[None]:
        """Ask to close a position."""
        return self._ask("gateway.close_contract", account_id=account_id, contract_id=contract_id)

    def modify_order(self, account_id: int, order_id: int, changes: Payload) -> Deferred[None]:
        """Ask to change an order."""
        return self._ask(
            "gateway.modify_order", account_id=account_id, order_id=order_id, changes=changes
        )

    def partial_close_contract(
        self, account_id: int, contract_id: str, size: int
    ) -> Deferred[None]:
        """Ask to close a part of a position."""
        return self._ask(
            "gateway.partial_close_contract",
            account_id=account_id,
            contract_id=contract_id,
            size=size,
        )


@implementer(IJournal)
class _JournalOutside:
    """The journal, as the pipeline sees it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def recover(
        self,
        account_ids: Iterable[int],
        states: Callable[[], Iterable[AccountState]],
        found: Callable[[Recovery], None],
        report: Callable[[str], None],
    ) -> Deferred[None]:
        """Ask for what is known from before."""
        self._stage.states, self._stage.found, self._stage.report = states, found, report
        return self._stage.ask("journal.recover", account_ids=list(account_ids))

    def read_copy(self) -> Deferred[dict[int, AccountState]]:
        """Ask for what the published copy says."""
        return self._stage.ask("journal.read_copy")

    def changed(self, *, only_quotes: bool = False) -> None:
        """Say that the states have changed."""
        self._stage.outside.changed(only_quotes=only_quotes)

    def make_durable(self) -> Deferred[None]:
        """Ask for the states to be written."""
        return self._stage.ask("journal.make_durable")

    def published(self) -> Deferred[None]:
        """Ask for a copy of what was broadcast."""
        return self._stage.ask("journal.published")


# What each thing that comes in does.


def _fire_timer(stage: Stage, _came: TimerFired) -> None:
    if not stage.clock.fire_first():
        raise LookupError("there is no timer")


def _fail(stage: Stage, came: Failed) -> None:
    stage.answer(came.number, _FAILURES[came.of](came.message))


def _operate(stage: Stage, came: Operated) -> object:
    account = stage.engine.operated_accounts[came.account]
    if came.command == "lock":
        account.lock(came.reason, came.operator, came.until)
        return None
    act: Callable[[str, str], object] = getattr(account, came.command)
    return act(came.reason, came.operator)


def _reload(stage: Stage, came: Reloaded) -> str:
    settings = parse_settings(came.configuration, "the recorded configuration", stage.catalogue)
    return stage.engine.reload(settings)


_ACTS: Final[dict[type, Callable[[Stage, Any], Any]]] = {
    Started: lambda stage, _came: stage.engine.startService(),
    Stopped: lambda stage, _came: stage.engine.stopService(),
    TimerFired: _fire_timer,
    UserEvent: lambda stage, came: stage.engine.user_event(came.target, came.payload),
    MarketEvent: lambda stage, came: stage.engine.market_event(
        came.target, came.contract, came.payload
    ),
    FeedLost: lambda stage, came: stage.engine.feed_lost(came.sentence),
    FeedRestored: lambda stage, _came: stage.engine.feed_restored(),
    GatewayTrouble: lambda stage, came: stage.engine.gateway_trouble(came.source, came.sentence),
    Answered: lambda stage, came: stage.answer(came.number, came.value),
    CopyRead: lambda stage, came: stage.answer(came.number, came.accounts),
    Refused: lambda stage, came: stage.answer(
        came.number, GatewayRefusedError(came.request, came.code, came.message)
    ),
    Unanswered: lambda stage, came: stage.answer(
        came.number, GatewayUnansweredError(came.request, came.why)
    ),
    Failed: _fail,
    Recovered: lambda stage, came: stage.found(Recovery(came.accounts, came.problem)),
    JournalTrouble: lambda stage, came: stage.report(came.sentence),
    Trouble: lambda stage, came: stage.engine.report_problem(came.source, came.sentence),
    Reloaded: _reload,
    Operated: _operate,
}
