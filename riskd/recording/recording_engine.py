"""A pipeline that records: whatever comes in, comes in one thing at a time, and is written down first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd import __version__
from riskd.config.settings import Settings
from riskd.engine.interface import IOperated, IOperatedAccount
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
    FORMAT,
    Answered,
    Asked,
    Came,
    CopyRead,
    Failed,
    FeedLost,
    FeedRestored,
    GatewayTrouble,
    Header,
    JournalTrouble,
    MarketEvent,
    Operated,
    Recovered,
    Refused,
    Reloaded,
    Room,
    Started,
    Stopped,
    TimerFired,
    Trouble,
    Turn,
    Unanswered,
    UserEvent,
    told_line,
)
from riskd.recording.sandbox import Stage
from riskd.recording.writer import Recorder
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import IRule

_log = Logger()


@implementer(IOperated)
class RecordingEngine(Service):
    """A :class:`~riskd.engine.service.EngineService` and all doors to it, each of which is recorded.

    What comes in while something else is handled waits until that is done; so answers and events never
    come within the call that they come of, whatever the gateway does.

    Its parameters are those of the pipeline.

    :param recorder: where it is written down.
    """

    def __init__(
        self,
        clock: IReactorTime,
        gateway: IGateway,
        settings: Settings,
        journal: IJournal,
        broadcast: Callable[[Event], None],
        now: Callable[[], datetime],
        catalogue: Mapping[str, IRule],
        acted: Callable[[float], None] | None = None,
        *,
        recorder: Recorder,
    ) -> None:
        self._clock = clock
        self._gateway = gateway
        self._journal = journal
        self._broadcast = broadcast
        self._now = now
        self._recorder = recorder
        self._waiting: deque[Came] = deque()
        self._is_in_turn = False
        self._wake: IDelayedCall | None = None
        self._answers: dict[int, Deferred[Any]] = {}
        at, seconds = now(), clock.seconds()
        recorder.write(
            Header(
                recording=FORMAT,
                riskd=__version__,
                gateway=gateway.name,
                answer_seconds=gateway.answer_seconds,
                at=at,
                seconds=seconds,
                configuration=settings.text,
            )
        )
        self._stage = Stage(
            self,
            gateway_name=gateway.name,
            answer_seconds=gateway.answer_seconds,
            settings=settings,
            catalogue=catalogue,
            at=at,
            seconds=seconds,
            acted=acted,
        )

    # What comes in by the daemon's own doors.

    def startService(self) -> None:
        """Start the pipeline."""
        super().startService()
        self._recorder.start()
        self._take(Started())

    def stopService(self) -> Deferred[None]:
        """Stop the pipeline."""
        super().stopService()
        left: Deferred[None] = self._take(Stopped())
        return left

    def report_problem(self, source: str, sentence: str) -> None:
        """Report a problem; see :meth:`riskd.engine.service.EngineService.report_problem`."""
        self._let_in(Trouble(source, sentence))

    def reload(self, settings: Settings) -> str:
        """Take new settings; see :meth:`riskd.engine.service.EngineService.reload`."""
        # What was read in a thread need not be read again here.
        note: str = self._take(
            Reloaded(settings.text), lambda: self._stage.engine.reload(settings)
        )
        return note

    def operate(self, came: Operated) -> Any:
        """Do what an operator wants."""
        return self._take(came)

    @property
    def gateway_name(self) -> str:
        """The kind of gateway that is followed."""
        return self._stage.engine.gateway_name

    @property
    def is_reconciled(self) -> bool:
        """Whether the gateway is followed now, and none of its events may be missing."""
        return self._stage.engine.is_reconciled

    @property
    def is_recovered(self) -> bool:
        """Whether what the journal knows was taken over."""
        return self._stage.engine.is_recovered

    @property
    def enforces(self) -> bool:
        """Whether anything is done at the broker."""
        return self._stage.engine.enforces

    @property
    def operated_accounts(self) -> Mapping[int, IOperatedAccount]:
        """The accounts, for an operator."""
        return {
            account_id: _RecordedAccount(self.operate, account_id, account)
            for account_id, account in self._stage.engine.operated_accounts.items()
        }

    def make_durable(self) -> Deferred[None]:
        """Write what is so; fire when it is on the disk, or when it cannot be written now."""
        # The pipeline has no part in it.
        return self._journal.make_durable()

    # What the pipeline wants of what is outside.

    def asked(self, number: int, request: str, arguments: dict[str, Any]) -> None:
        """Pass a request on; its answer comes in when it is there."""
        self._recorder.write(Asked(asked=number, request=request, arguments=arguments))
        answer = self._pass_on(request, arguments)
        if answer is not None:
            self._answers[number] = answer
            answer.addBoth(self._take_answer, number, request)

    def _pass_on(self, request: str, arguments: dict[str, Any]) -> Deferred[Any] | None:
        if request == "gateway.start":
            return self._gateway.start(_RecordedListener(self._let_in))
        if request == "journal.recover":
            return self._journal.recover(
                states=self._stage.states,
                found=self._found,
                report=lambda sentence: self._let_in(JournalTrouble(sentence)),
                **arguments,
            )
        place, _, name = request.partition(".")
        asked: Deferred[Any] | None = getattr(
            self._gateway if place == "gateway" else self._journal, name
        )(**arguments)
        return asked

    def _found(self, recovery: Recovery) -> None:
        self._take(Recovered(recovery.accounts, recovery.problem))

    def _take_answer(self, result: Any, number: int, request: str) -> None:
        self._answers.pop(number, None)
        if isinstance(result, Failure):
            self._let_in(_failed(number, request, result))
        elif request == "journal.read_copy":
            self._let_in(CopyRead(number, result))
        else:
            self._let_in(Answered(number, result))

    def left(self, number: int) -> None:
        """Let whoever is to answer know that nobody waits."""
        answer = self._answers.get(number)
        if answer is not None:
            answer.cancel()

    def told(self, event: Event) -> None:
        """Tell the consoles."""
        self._recorder.write_bytes(told_line(event))
        self._broadcast(event)

    def has_room(self, requests: int) -> bool:
        """Tell whether the gateway has room for so many reads."""
        has_room: bool = self._gateway.has_room(requests)
        self._recorder.write(Room(room=has_room, requests=requests))
        return has_room

    def changed(self, *, only_quotes: bool) -> None:
        """Let the journal know that the states have changed."""
        self._journal.changed(only_quotes=only_quotes)

    # Turns.

    def _let_in(self, came: Came) -> None:
        """Handle what came in, as soon as nothing else is being handled."""
        self._waiting.append(came)
        if not self._is_in_turn:
            self._go_on()

    def _take(self, came: Came, act: Callable[[], Any] | None = None) -> Any:
        """Handle what came in now, and return what comes of it.

        :param act: handles it; by default the stage does.
        """
        if self._is_in_turn:
            raise RuntimeError(f"{came} came in within a turn")
        try:
            return self._turn(came, act)
        finally:
            self._go_on()

    def _go_on(self) -> None:
        """Handle what has been waiting, and see when the next timer is due."""
        while self._waiting:
            came = self._waiting.popleft()
            try:
                self._turn(came)
            except Exception:  # noqa: BLE001  # a mistake of ours must not hold up what follows
                _log.failure("a mistake in riskd, handling {came}", came=came)
        self._arm()

    def _turn(self, came: Came, act: Callable[[], Any] | None = None) -> Any:
        self._is_in_turn = True
        try:
            turn = self._recorder.write_turn(Turn(self._now(), self._clock.seconds(), came))
            return self._stage.perform(turn, act)
        finally:
            self._is_in_turn = False

    def _arm(self) -> None:
        """Wake up when the first timer is due."""
        due = self._stage.clock.next_due
        if self._wake is not None and self._wake.active():
            # To wake too early does no harm.
            if due is None or self._wake.getTime() <= due:
                return
            self._wake.cancel()
        if due is not None:
            self._wake = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._woken)

    def _woken(self) -> None:
        due = self._stage.clock.next_due
        if due is not None and due <= self._clock.seconds():
            self._let_in(TimerFired())
        else:
            self._arm()


def _failed(number: int, request: str, failure: Failure) -> Refused | Unanswered | Failed:
    """Return how a failure comes in."""
    error: Any = failure.value
    if isinstance(error, GatewayRefusedError):
        return Refused(number, error.request, error.code, error.message)
    if isinstance(error, GatewayUnansweredError):
        return Unanswered(number, error.request, error.why)
    if isinstance(error, GatewayError):
        return Failed(number, str(error), "gateway")
    if isinstance(error, CancelledError):
        return Failed(number, str(error), "canceled")
    # Behind the door it is known by its text alone.
    _log.failure("a mistake in riskd, asking for {request}", failure, request=request)
    return Failed(number, failure.getErrorMessage(), "riskd")


@implementer(IGatewayListener)
class _RecordedListener:
    """Hears the gateway, in the pipeline's place."""

    def __init__(self, let_in: Callable[[Came], None]) -> None:
        self._let_in = let_in

    def user_event(self, target: str, payload: Payload) -> None:
        """Take what happened to an account."""
        self._let_in(UserEvent(target, payload))

    def market_event(self, target: str, contract_id: str, payload: Payload) -> None:
        """Take what happened in a market."""
        self._let_in(MarketEvent(target, contract_id, payload))

    def feed_lost(self, sentence: str) -> None:
        """Take note that events may be missing."""
        self._let_in(FeedLost(sentence))

    def feed_restored(self) -> None:
        """Take note that events are told again."""
        self._let_in(FeedRestored())

    def gateway_trouble(self, source: str, sentence: str) -> None:
        """Take what else is wrong."""
        self._let_in(GatewayTrouble(source, sentence))


@implementer(IOperatedAccount)
class _RecordedAccount:
    """An account, as an operator sees it: to look is free, to act is recorded."""

    def __init__(
        self, operate: Callable[[Operated], Any], account_id: int, account: IOperatedAccount
    ) -> None:
        self._operate = operate
        self._account_id = account_id
        self._account = account

    @property
    def account_state(self) -> AccountState:
        """What is so of the account."""
        state: AccountState = self._account.account_state
        return state

    @property
    def rules(self) -> tuple[RuleInForce, ...]:
        """The rules in force."""
        rules: tuple[RuleInForce, ...] = self._account.rules
        return rules

    def unlock(self, reason: str, operator: str) -> bool:
        """End all locks; return whether there were any."""
        was_locked: bool = self._act("unlock", reason, operator)
        return was_locked

    def lock(self, reason: str, operator: str, until: datetime | None) -> None:
        """Flatten and lock the account."""
        self._act("lock", reason, operator, until)

    def flatten(self, reason: str, operator: str) -> None:
        """Close all positions and cancel all orders."""
        self._act("flatten", reason, operator)

    def _act(self, command: Any, reason: str, operator: str, until: datetime | None = None) -> Any:
        return self._operate(
            Operated(
                command=command,
                account=self._account_id,
                reason=reason,
                operator=operator,
                until=until,
            )
        )
