"""Replay a recording under other limits: what they would have done that day.

The engine under test is a dry run.  It receives the events of the accounts and the markets, and its reads
are answered from what the recording has reported so far; it changes nothing, and no trader reacts to it.
It begins without the lockouts of earlier days.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final, NamedTuple

import msgspec

from riskd.config.settings import Settings
from riskd.gateway.interface import GatewayError
from riskd.model.events import EnforcementAction, Event, EventError
from riskd.model.wire import decode
from riskd.recording.format import (
    Answered,
    ClockReported,
    CopyRead,
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
    "gateway.start",
    "gateway.stop",
    "journal.recover",
    "journal.make_durable",
    "journal.published",
)
"""The requests whose answer has no content."""

_ENFORCEMENT_ACTION: Final = b'{"type":"enforcement_action"'


class Enforced(NamedTuple):
    """An enforcement action on an account.

    :ivar is_real: whether riskd acted on the day itself; if not, the other limits would have acted.
    """

    is_real: bool
    account_id: int
    action: EnforcementAction


def what_if(
    recording: Recording, settings: Settings, catalogue: Mapping[str, IRule]
) -> Iterator[Enforced]:
    """Replay a recording under other settings; yield real and hypothetical actions.

    Accounts that the other settings do not name are left out.

    :param settings: the other settings; the recording must have all of their accounts.
    :param catalogue: all rules, by key.
    :raises RecordingError: the recording is damaged, or does not have an account.
    """
    recorded = {account.id for account in recorded_settings(recording, catalogue).accounts}
    missing = sorted({account.id for account in settings.accounts} - recorded)
    if missing:
        raise RecordingError(
            f"{recording.name} has no account {missing[0]}, "
            f"only {', '.join(map(str, sorted(recorded)))}"
        )
    hypothetical = _HypotheticalDay(recording, settings, catalogue)
    for turn in recording.turns():
        yield from hypothetical.play(turn)


class _HypotheticalDay(Environment):
    """The recorded day under other settings."""

    def __init__(
        self, recording: Recording, settings: Settings, catalogue: Mapping[str, IRule]
    ) -> None:
        self._recording = recording
        self._broker = RecordedBroker()
        self._recorded_requests: dict[int, tuple[Request, float]] = {}
        self._unanswered: deque[Request] = deque()
        self._actions: list[Enforced] = []
        self._account_ids = {account.id for account in settings.accounts}
        # A recorded broker cannot be changed; an enforcing engine would try forever.
        dry_run = msgspec.structs.replace(settings, enforce=False)
        self._sandbox = Sandbox(self, recording.header, dry_run, catalogue)

    def play(self, recorded: RecordedTurn) -> list[Enforced]:
        """Play a recorded turn; return the real and the hypothetical actions."""
        self._actions = []
        turn = recorded.turn
        self._fire_due_timers(recorded)
        if isinstance(turn.input, NewsReceived):
            self._broker.apply_event(turn.input.account, turn.input.news, turn.seconds)
        elif isinstance(turn.input, Outcome) and turn.input.number in self._recorded_requests:
            request, at = self._recorded_requests.pop(turn.input.number)
            if isinstance(turn.input, Answered):
                self._broker.apply_answer(request.name, request.arguments, turn.input.value, at)
        # Other answers belong to requests that this engine did not make.
        if isinstance(turn.input, _INDEPENDENT):
            self._perform(recorded.number, turn)
        for request in recorded.requests:
            self._recorded_requests[request.number] = request, turn.seconds
        for message in recorded.broadcasts:
            if message.startswith(_ENFORCEMENT_ACTION):
                self._note_real_action(recorded.number, message)
        return self._actions

    def _fire_due_timers(self, recorded: RecordedTurn) -> None:
        """Fire the timers that are due before a turn, each at its time."""
        clock = self._sandbox.clock
        while (due := clock.next_due) is not None and due <= recorded.turn.seconds:
            ahead = max(0.0, due - clock.seconds())
            at = self._sandbox.at + timedelta(seconds=ahead)
            self._perform(recorded.number, Turn(at, clock.seconds() + ahead, TimerFired()))
        self._sandbox.at = recorded.turn.at
        clock.set(recorded.turn.seconds)

    def _perform(self, number: int, turn: Turn) -> None:
        perform(self._sandbox, self._recording, number, turn)
        while self._unanswered:
            for answer in self._answers(self._unanswered.popleft()):
                answered = Turn(turn.at, turn.seconds, answer)
                perform(self._sandbox, self._recording, number, answered)

    def _answers(self, request: Request) -> Iterator[Input]:
        # An empty journal: lockouts of earlier days would hide what these limits do.
        if request.name == "journal.recover":
            yield Recovered({}, "")
        if request.name == "journal.read_copy":
            yield CopyRead(request.number, {})
        elif request.name in _WITHOUT_CONTENT:
            yield Answered(request.number, None)
        else:
            try:
                yield Answered(
                    request.number, self._broker.answer(request.name, request.arguments)
                )
            except GatewayError as error:
                yield failure_input(request.number, error)

    def _note_real_action(self, number: int, message: bytes) -> None:
        try:
            self._note_action(decode(message), is_real=True)
        except EventError as error:
            raise self._recording.damaged(number, error) from None

    def _note_action(self, event: Event, *, is_real: bool) -> None:
        if isinstance(event.data, EnforcementAction) and event.account_id in self._account_ids:
            self._actions.append(Enforced(is_real, event.account_id, event.data))

    # Outputs of the sandbox.

    def request(self, request: Request) -> None:
        """Keep a request until the turn is over."""
        if request.name not in _UNANSWERED:
            self._unanswered.append(request)

    def broadcast(self, event: Event) -> None:
        """Keep a hypothetical action."""
        self._note_action(event, is_real=False)
