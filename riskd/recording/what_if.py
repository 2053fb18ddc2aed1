"""Replay a recording under other limits: what they would have done that day.

The engine under test is a dry run.  It receives the events of the accounts and the markets; it changes nothing, and
no trader reacts to it.  A read that the recorded daemon made at the same time has the same answer, when it came; any
other is answered soon, from what the recording has reported so far.  The engine begins with what the journal knew of
the accounts, such as their balances and ended days, and without what the recorded daemon held them to: locks, limits
and what rules remembered.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from riskd.config.settings import Settings
from riskd.gateway.interface import GatewayError
from riskd.model.account import AccountState, with_risk
from riskd.model.equity import net_pnl
from riskd.model.events import EnforcementAction, EventError
from riskd.model.wire import decode
from riskd.recording.format import (
    Answered,
    ClockReported,
    CopyRead,
    Failed,
    FeedLost,
    FeedRestored,
    GatewayProblem,
    Input,
    NewsReceived,
    Outcome,
    QuoteReceived,
    RecordedTurn,
    Recording,
    RecordingError,
    Recovered,
    Request,
    RoomCheck,
    Started,
    Stopped,
    TimerFired,
    Turn,
)
from riskd.recording.recorded_broker import RecordedBroker
from riskd.recording.replay import perform, recorded_settings
from riskd.recording.sandbox import Environment, Sandbox, failure_input
from riskd.rules.interface import IRule

_INDEPENDENT: Final = (
    QuoteReceived,
    NewsReceived,
    ClockReported,
    FeedLost,
    FeedRestored,
    GatewayProblem,
    Started,
    Stopped,
)
"""The inputs that do not depend on the limits."""

_UNANSWERED: Final = (
    "gateway.follow_account",
    "gateway.follow_quotes",
    "gateway.expect_commands",
)
"""The requests that no input answers."""

_WITHOUT_CONTENT: Final = (
    "gateway.stop",
    "journal.make_durable",
    "journal.published",
)
"""The requests whose answer has no content."""

_TOGETHER_SECONDS: Final = 0.1
"""Requests that are sent within this time are one, and what nobody else asks is answered after it.

So long do searches trail what happens.
"""

_ENFORCEMENT_ACTION: Final = b'{"type":"enforcement_action"'


class Decided(NamedTuple):
    """What was known when an action was decided on.

    :ivar day: the trading day, by the date on which it ends; ``None`` while it is not known.
    :ivar net_pnl: the net P&L of the day, in dollars.
    """

    day: date | None
    net_pnl: Decimal


class Enforced(NamedTuple):
    """An enforcement action on an account.

    :ivar is_real: whether riskd acted on the day itself; if not, the other limits would have acted.
    :ivar action: a hypothetical one has the time at which riskd would have begun to act.
    :ivar decided: what was known when a hypothetical one was decided on; ``None`` for a real one.
    """

    is_real: bool
    account_id: int
    action: EnforcementAction
    decided: Decided | None = None


def what_if(
    recording: Recording, settings: Settings, catalogue: Mapping[str, IRule]
) -> Iterator[Enforced]:
    """Replay a recording under other settings; yield real and hypothetical actions.

    Accounts that the other settings do not name are left out.

    :param settings: the other settings; the recording must have all of their accounts.
    :param catalogue: all rules, by key.
    :raises RecordingError: the recording is damaged, or does not have an account.
    """
    hypothetical = HypotheticalDays(recording, settings, catalogue)
    for turn in recording.turns():
        yield from hypothetical.play(turn)


class HypotheticalDays(Environment):
    """The recorded days under other settings.

    :param recording: is played turn by turn, and not read.
    :param settings: the other settings; the recording must have all of their accounts.
    :param catalogue: all rules, by key.
    :raises RecordingError: the recording does not have an account.
    """

    def __init__(
        self, recording: Recording, settings: Settings, catalogue: Mapping[str, IRule]
    ) -> None:
        recorded = {account.id for account in recorded_settings(recording, catalogue).accounts}
        self._account_ids = {account.id for account in settings.accounts}
        missing = sorted(self._account_ids - recorded)
        if missing:
            raise RecordingError(
                f"{recording.name} has no account {missing[0]}, "
                f"only {', '.join(map(str, sorted(recorded)))}"
            )
        self._recording = recording
        self._broker = RecordedBroker()
        self._recorded_requests: dict[int, tuple[Request, float]] = {}
        self._room_checks: list[RoomCheck] = []
        # Requests that the recorded daemon may make, too, with their times.
        self._unanswered: deque[tuple[float, Request]] = deque()
        self._without_content: deque[int] = deque()
        # Requests that have the answer of a recorded one, by that one's number.
        self._following: dict[int, list[Request]] = {}
        self._actions: list[Enforced] = []
        # A recorded broker cannot be changed; an enforcing engine would try forever.
        dry_run = msgspec.structs.replace(settings, enforce=False)
        self._sandbox = Sandbox(self, recording.header, dry_run, catalogue)
        for account_id, guarded in self._sandbox.engine.accounts.items():
            if guarded.risk_engine.dry_run is not None:
                guarded.risk_engine.dry_run.observe = partial(self._note_action, account_id)

    def state(self, account_id: int) -> AccountState:
        """Return the state of an account, which is that of the recorded day."""
        return self._sandbox.engine.accounts[account_id].account_state

    def play(self, recorded: RecordedTurn) -> list[Enforced]:
        """Play a recorded turn; return the real and the hypothetical actions.

        :raises RecordingError: the recording is damaged.
        """
        self._actions = []
        turn = recorded.turn
        for request in recorded.requests:
            if request.name not in _UNANSWERED:
                self._recorded_requests[request.number] = request, turn.seconds
        self._follow_recorded()
        self._room_checks = [*recorded.room_checks]
        self._pass_time(recorded)
        self._note_input(turn)
        for received in self._inputs(turn.input):
            self._perform(recorded.number, msgspec.structs.replace(turn, input=received))
        for message in recorded.broadcasts:
            if message.startswith(_ENFORCEMENT_ACTION):
                self._note_real_action(recorded.number, message)
        return self._actions

    def _note_input(self, turn: Turn) -> None:
        """Note what the recording says of the broker."""
        if isinstance(turn.input, NewsReceived):
            self._broker.apply_event(turn.input.account, turn.input.news, turn.seconds)
        elif isinstance(turn.input, Outcome) and turn.input.number in self._recorded_requests:
            request, at = self._recorded_requests.pop(turn.input.number)
            if isinstance(turn.input, Answered):
                self._broker.apply_answer(request.name, request.arguments, turn.input.value, at)

    def _inputs(self, recorded: Input) -> Iterator[Input]:
        """Yield what this engine receives at a recorded input."""
        if isinstance(recorded, Recovered):
            yield Recovered({key: _facts(state) for key, state in recorded.accounts.items()}, "")
        elif isinstance(recorded, Outcome):
            # Others belong to requests that this engine did not make.
            for follower in self._following.pop(recorded.number, ()):
                yield self._outcome_for(follower, recorded)
        elif isinstance(recorded, _INDEPENDENT):
            yield recorded

    def _pass_time(self, recorded: RecordedTurn) -> None:
        """Fire timers and answer requests that are due before a turn, each in time."""
        clock, turn = self._sandbox.clock, recorded.turn
        while True:
            timer = clock.next_due if clock.next_due is not None else math.inf
            answer = self._unanswered[0][0] + _TOGETHER_SECONDS if self._unanswered else math.inf
            if min(timer, answer) > turn.seconds:
                break
            received = (
                TimerFired()
                if timer <= answer
                else self._answer_now(self._unanswered.popleft()[1])
            )
            ahead = max(0.0, min(timer, answer) - clock.seconds())
            at = self._sandbox.at + timedelta(seconds=ahead)
            self._perform(recorded.number, Turn(at, clock.seconds() + ahead, received))
        self._sandbox.at = turn.at
        clock.set(turn.seconds)

    def _perform(self, number: int, turn: Turn) -> None:
        perform(self._sandbox, self._recording, number, turn)
        while self._without_content:
            answered = Answered(self._without_content.popleft(), None)
            answer = msgspec.structs.replace(turn, input=answered)
            perform(self._sandbox, self._recording, number, answer)
        self._follow_recorded()

    def _follow_recorded(self) -> None:
        """Let requests that the recorded daemon makes, too, have the same answers."""
        for held in [*self._unanswered]:
            asked_at, request = held
            for number, (recorded, sent_at) in self._recorded_requests.items():
                if abs(sent_at - asked_at) <= _TOGETHER_SECONDS and _is_same(recorded, request):
                    self._unanswered.remove(held)
                    self._following.setdefault(number, []).append(request)
                    break

    def _answer_now(self, request: Request) -> Input:
        try:
            return Answered(request.number, self._broker.answer(request.name, request.arguments))
        except GatewayError as error:
            return failure_input(request.number, error)

    def _outcome_for(self, request: Request, recorded: Outcome) -> Input:
        """Return the outcome of a recorded request as that of one that follows it."""
        if isinstance(recorded, CopyRead):
            accounts = {key: _facts(state) for key, state in recorded.accounts.items()}
            return CopyRead(request.number, accounts)
        if isinstance(recorded, Failed) and recorded.of == "canceled":
            # The recorded daemon did not wait for the answer.
            return self._answer_now(request)
        outcome: Any = msgspec.structs.replace(recorded, number=request.number)
        return outcome  # type: ignore[no-any-return]

    def _note_real_action(self, number: int, message: bytes) -> None:
        try:
            event = decode(message)
        except EventError as error:
            raise self._recording.damaged(number, error) from None
        if isinstance(event.data, EnforcementAction) and event.account_id in self._account_ids:
            self._actions.append(Enforced(True, event.account_id, event.data))

    def _note_action(
        self, account_id: int, action: EnforcementAction, known: AccountState
    ) -> None:
        decided = Decided(known.risk.day_key, net_pnl(known))
        self._actions.append(Enforced(False, account_id, action, decided))

    # Outputs of the sandbox.

    def request(self, request: Request) -> None:
        """Keep a request until it can be answered, no sooner than when the turn is over."""
        if request.name in _WITHOUT_CONTENT:
            self._without_content.append(request.number)
        elif request.name not in _UNANSWERED:
            self._unanswered.append((self._sandbox.clock.seconds(), request))

    def has_room(self, requests: int) -> bool:
        """Answer as recorded in the same turn; otherwise there is room."""
        for number, check in enumerate(self._room_checks):
            if check.requests == requests:
                return self._room_checks.pop(number).has_room
        return True


def _is_same(recorded: Request, request: Request) -> bool:
    """Return whether an answer to a recorded request answers another one."""
    if recorded.name != request.name:
        return False
    # Of the journal, the settings may name fewer accounts.
    return recorded.name.startswith("journal.") or all(
        _is_close(recorded.arguments[key], value)
        if isinstance(value, datetime)
        else recorded.arguments[key] == value
        for key, value in request.arguments.items()
    )


def _is_close(recorded: str, moment: datetime) -> bool:
    # A timer of the recorded daemon may have been late.
    return abs((datetime.fromisoformat(recorded) - moment).total_seconds()) <= _TOGETHER_SECONDS


def _facts(state: AccountState) -> AccountState:
    """Return what the journal knew of an account, without what riskd had held it to."""
    bare = msgspec.structs.replace(state, lockouts={}, limits={}, enforcement=())
    return with_risk(bare, memory={}, flattening=None)
