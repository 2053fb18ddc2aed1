"""Playing a recording under other limits: what they would have done on that day.

The daemon that is asked is a dry run.  It sees what happened to the accounts and in the markets, and its
reads are answered from what the recording has told up to then; it touches nothing, and nobody traded
otherwise for it.  It begins as if no lock had been left from before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

import msgspec

from riskd.config.settings import Settings
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.model.events import EnforcementAction, Event, EventError
from riskd.model.wire import decode
from riskd.recording.format import (
    Answered,
    Came,
    CopyRead,
    FeedLost,
    FeedRestored,
    GatewayTrouble,
    MarketEvent,
    RecordedTurn,
    Recording,
    RecordingError,
    Recovered,
    Refused,
    Started,
    Stopped,
    TimerFired,
    Turn,
    Unanswered,
    UserEvent,
    asked_in,
    told_in,
)
from riskd.recording.recorded_broker import Book
from riskd.recording.replay import perform, recorded_settings
from riskd.recording.sandbox import Stage
from riskd.rules.interface import IRule

_HAPPENED: Final = (
    MarketEvent,
    UserEvent,
    FeedLost,
    FeedRestored,
    GatewayTrouble,
    Started,
    Stopped,
)
"""What comes in whatever the limits are."""

_AT_ONCE: Final = (
    "gateway.start",
    "gateway.stop",
    "journal.recover",
    "journal.make_durable",
    "journal.published",
)
"""What needs nothing from the recording to be answered."""

_AN_ACTION: Final = b'{"type":"enforcement_action"'


class Enforced(NamedTuple):
    """An action of enforcement on an account.

    :ivar is_real: whether it was done on the day itself, and not under the other limits.
    """

    is_real: bool
    account_id: int
    action: EnforcementAction


def what_if(
    recording: Recording, settings: Settings, catalogue: Mapping[str, IRule]
) -> Iterator[Enforced]:
    """Play a recording under other settings; yield what was enforced, and what would have been.

    Accounts that the other settings do not name are passed over.

    :param settings: the other settings; all of their accounts are in the recording.
    :param catalogue: all rules there are, by key.
    :raises RecordingError: the recording is damaged, or knows nothing of an account.
    """
    recorded = {account.id for account in recorded_settings(recording, catalogue).accounts}
    missing = sorted({account.id for account in settings.accounts} - recorded)
    if missing:
        raise RecordingError(
            f"{recording.name} knows nothing of account {missing[0]}, "
            f"but of {', '.join(map(str, sorted(recorded)))}"
        )
    replay = _Replay(recording, settings, catalogue)
    for turn in recording.turns():
        yield from replay.play(turn)


class _Replay:
    """One replay under other settings."""

    def __init__(
        self, recording: Recording, settings: Settings, catalogue: Mapping[str, IRule]
    ) -> None:
        header = recording.header
        self._recording = recording
        self._book = Book()
        self._asks: dict[int, tuple[str, dict[str, Any], float]] = {}
        self._to_answer: deque[tuple[int, str, dict[str, Any]]] = deque()
        self._actions: list[Enforced] = []
        self._account_ids = {account.id for account in settings.accounts}
        self._stage = Stage(
            self,
            gateway_name=header.gateway,
            answer_seconds=header.answer_seconds,
            settings=msgspec.structs.replace(settings, enforce=False),
            catalogue=catalogue,
            at=header.at,
            seconds=header.seconds,
        )

    def play(self, recorded: RecordedTurn) -> list[Enforced]:
        """Let what was recorded happen; return what was, and would have been, enforced."""
        self._actions = []
        self._let_time_pass(recorded)
        came = recorded.turn.came
        if isinstance(came, UserEvent):
            self._book.take_event(came.target, came.payload, recorded.turn.seconds)
        elif isinstance(came, Answered) and came.number in self._asks:
            request, arguments, asked = self._asks.pop(came.number)
            self._book.take_answer(request, arguments, came.value, asked)
        elif isinstance(came, (Refused, Unanswered)):
            self._asks.pop(came.number, None)
        if isinstance(came, _HAPPENED):
            self._perform(recorded)
        for line in recorded.outgoing:
            self._note(recorded, line)
        return self._actions

    def _let_time_pass(self, recorded: RecordedTurn) -> None:
        """Fire the timers that are due before a turn, each at its time."""
        clock = self._stage.clock
        while (due := clock.next_due) is not None and due <= recorded.turn.seconds:
            ahead = max(0.0, due - clock.seconds())
            turn = Turn(
                self._stage.at + timedelta(seconds=ahead), clock.seconds() + ahead, TimerFired()
            )
            self._perform(recorded._replace(turn=turn))
        self._stage.at = recorded.turn.at
        clock.set(recorded.turn.seconds)

    def _perform(self, recorded: RecordedTurn) -> None:
        perform(self._stage, self._recording, recorded)
        while self._to_answer:
            for came in self._answers(*self._to_answer.popleft()):
                turn = Turn(recorded.turn.at, recorded.turn.seconds, came)
                perform(self._stage, self._recording, recorded._replace(turn=turn))

    def _answers(self, number: int, request: str, arguments: dict[str, Any]) -> Iterator[Came]:
        if request == "journal.recover":
            yield Recovered({}, "")
        if request == "journal.read_copy":
            yield CopyRead(number, {})
        elif request in _AT_ONCE:
            yield Answered(number, None)
        else:
            yield self._read(number, request, arguments)

    def _read(self, number: int, request: str, arguments: dict[str, Any]) -> Came:
        try:
            return Answered(number, self._book.answer(request, arguments))
        except GatewayRefusedError as error:
            return Refused(number, error.request, error.code, error.message)
        except GatewayUnansweredError as error:
            return Unanswered(number, error.request, error.why)

    def _note(self, recorded: RecordedTurn, line: bytes) -> None:
        """Note what the recorded daemon asked and enforced."""
        try:
            asked = asked_in(line)
            if asked is not None:
                self._asks[asked.asked] = (asked.request, asked.arguments, recorded.turn.seconds)
            told = told_in(line)
            if told is not None and told.startswith(_AN_ACTION):
                self._note_action(decode(told), is_real=True)
        except (msgspec.MsgspecError, EventError) as error:
            raise self._recording.damaged(recorded.number, error) from None

    def _note_action(self, event: Event, *, is_real: bool) -> None:
        if isinstance(event.data, EnforcementAction) and event.account_id in self._account_ids:
            self._actions.append(Enforced(is_real, event.account_id, event.data))

    # What the daemon wants of what is outside.

    def asked(self, number: int, request: str, arguments: dict[str, Any]) -> None:
        """Take a request; it is answered when the turn is over."""
        if request not in ("gateway.follow_account", "gateway.follow_quotes"):
            self._to_answer.append((number, request, arguments))

    def left(self, number: int) -> None:
        """Do nothing: all is answered at once."""

    def told(self, event: Event) -> None:
        """Note what would have been enforced."""
        self._note_action(event, is_real=False)

    def has_room(self, requests: int) -> bool:  # noqa: ARG002
        """Return true: a recording answers as often as it is asked."""
        return True

    def changed(self, *, only_quotes: bool) -> None:
        """Do nothing: there is no journal."""
