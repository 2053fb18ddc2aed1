"""An engine that records each input before it handles it, one at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd import __version__
from riskd.config.settings import Settings
from riskd.engine.guarded_account import GuardedAccount
from riskd.engine.interface import ConfirmedFlatten, IOperated, IOperatedAccount
from riskd.gateway.interface import GatewayError, IGateway, IGatewayListener
from riskd.journal.interface import IJournal
from riskd.model.account import AccountState
from riskd.model.broker import BrokerNews, BrokerQuote
from riskd.model.events import DaemonStatus, Event
from riskd.recording.format import (
    FORMAT,
    Answered,
    ClockReported,
    CopyRead,
    DaemonProblem,
    FeedLost,
    FeedRestored,
    GatewayProblem,
    Header,
    Input,
    JournalProblem,
    OperatorActed,
    QuoteReceived,
    Recovered,
    Reloaded,
    Request,
    RoomCheck,
    Started,
    Stopped,
    TimerFired,
    Turn,
    encode_broadcast,
    news_received,
)
from riskd.recording.sandbox import Environment, Sandbox, failure_input
from riskd.recording.writer import RecordingWriter
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import IRule

_log = Logger()

_T = TypeVar("_T")


@implementer(IGatewayListener, IOperated)
class RecordingEngine(Environment, Service):
    """An engine in a sandbox, all of whose inputs are recorded.

    Inputs that arrive while another one is handled wait until that is done.  So answers and events never
    arrive within the call that causes them, whatever the gateway does; a gateway in this process would
    otherwise answer within the turn, and a replay could not.

    Its parameters are those of the engine.

    :param writer: writes the recording.
    :ivar gateway_name: the kind of gateway.
    :ivar enforces: whether the engine acts at the broker; if not, this is a dry run.
    :ivar passed: gives the latest moment that has passed for sure.
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
        observe_reaction: Callable[[float], None] | None = None,
        *,
        writer: RecordingWriter,
    ) -> None:
        self._clock = clock
        self._gateway = gateway
        self._journal = journal
        self._broadcast = broadcast
        self._now = now
        self._writer = writer
        self._waiting: deque[Input] = deque()
        self._is_in_turn = False
        self._wake: IDelayedCall | None = None
        self._answers: dict[int, Deferred[Any]] = {}
        header = Header(
            recording=FORMAT,
            riskd=__version__,
            gateway=gateway.name,
            answer_seconds=gateway.answer_seconds,
            at=now(),
            seconds=clock.seconds(),
            configuration=settings.text,
            operator=settings.operator,
            key_file=settings.gateway.key_file,
            is_kept_enforcing=settings.is_kept_enforcing,
        )
        writer.write(header)
        self._sandbox = Sandbox(self, header, settings, catalogue, observe_reaction)
        self.gateway_name = gateway.name
        self.enforces = settings.enforce
        self.passed = self._sandbox.engine.passed

    # Inputs from the gateway.

    def receive(self, account_id: int, news: BrokerNews) -> None:
        """Receive news of an account."""
        self._receive(news_received(account_id, news))

    def receive_quote(self, quote: BrokerQuote) -> None:
        """Receive what has changed of a quote."""
        self._receive(QuoteReceived(quote))

    def feed_lost(self, sentence: str) -> None:
        """Note that events may be missing."""
        self._receive(FeedLost(sentence))

    def feed_restored(self) -> None:
        """Note that events are reported again."""
        self._receive(FeedRestored())

    def clock_reported(self, at: datetime, precision: float, delay: float) -> None:
        """Receive what the broker's clock showed."""
        self._receive(ClockReported(at, precision, delay))

    def gateway_problem(self, source: str, sentence: str) -> None:
        """Receive another problem of the gateway."""
        self._receive(GatewayProblem(source, sentence))

    # Inputs from this daemon.

    def startService(self) -> None:
        """Start the engine."""
        super().startService()
        self._writer.start()
        self._handle(Started())

    def stopService(self) -> Deferred[None]:
        """Stop the engine."""
        super().stopService()
        return self._handle(Stopped())

    def report_problem(self, source: str, sentence: str) -> None:
        """Report a problem; see ``EngineService.report_problem``."""
        self._receive(DaemonProblem(source, sentence))

    def reload(self, settings: Settings) -> str:
        """Take new settings; see :meth:`riskd.engine.service.EngineService.reload`."""
        # The settings were parsed in a thread; the sandbox would parse their text again, in the reactor.
        reloaded = Reloaded(settings.text, settings.operator, settings.gateway.key_file)
        return self._handle(reloaded, lambda: self._sandbox.engine.reload(settings))

    @property
    def is_reconciled(self) -> bool:
        """Whether the engine follows the gateway, and no event may be missing."""
        return self._sandbox.engine.is_reconciled

    @property
    def is_prepared(self) -> bool:
        """Whether the journal is taken over; where it cannot be read in time, its copy."""
        return self._sandbox.engine.is_prepared

    @property
    def standing_status(self) -> DaemonStatus | None:
        """The status that was announced last; ``None`` before the first."""
        return self._sandbox.engine.standing_status

    @property
    def is_recovered(self) -> bool:
        """Whether the engine has taken over the states of the journal."""
        return self._sandbox.engine.is_recovered

    @property
    def clock_offset(self) -> timedelta | None:
        """How far the broker's clock is ahead of the wall clock; ``None``: unknown."""
        return self._sandbox.engine.clock_offset

    def now(self) -> datetime:
        """Return the broker's time, or the wall clock's while that is unknown."""
        # Between turns the sandbox's own clocks stand still.
        broker_clock = self._sandbox.engine.clocks.broker
        return broker_clock.at(self._clock.seconds()) if broker_clock.is_known else self._now()

    @property
    def operated_accounts(self) -> Mapping[int, IOperatedAccount]:
        """The accounts, for an operator."""
        return {
            account_id: _RecordedAccount(self._handle, account_id, account)
            for account_id, account in self._sandbox.engine.accounts.items()
        }

    def make_durable(self) -> Deferred[str]:
        """Write the states; fires with why they are not on the disk, empty if they are."""
        # No input: the engine does not take part.
        return self._journal.make_durable()

    def published(self) -> Deferred[None]:
        """Write and publish the states; fires when that is done, or after a second."""
        return self._journal.published()

    # Outputs of the sandbox.

    def request(self, request: Request) -> None:
        """Forward a request; its answer becomes an input."""
        self._writer.write(request)
        answer: Deferred[Any] | None = self._forward(request.name, request.arguments)
        if answer is not None:
            self._answers[request.number] = answer
            answer.addBoth(self._receive_answer, request)

    def _forward(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "gateway.start":
            return self._gateway.start(self)
        if name == "journal.recover":
            return self._journal.recover(
                states=self._sandbox.states,
                found=lambda found: self._handle(Recovered(found.accounts, found.problem)),
                report=lambda sentence: self._receive(JournalProblem(sentence)),
                **arguments,
            )
        place, _, method = name.partition(".")
        target = self._gateway if place == "gateway" else self._journal
        return getattr(target, method)(**arguments)

    def _receive_answer(self, result: Any, request: Request) -> None:
        # Gone before it is handled: handling it may cancel other requests, not this one.
        self._answers.pop(request.number, None)
        if isinstance(result, Failure):
            if not isinstance(result.value, (GatewayError, CancelledError)):
                # The recording keeps its text alone.
                _log.failure("internal error in the request {name}", result, name=request.name)
            self._receive(failure_input(request.number, result.value))
        elif request.name == "journal.read_copy":
            self._receive(CopyRead(request.number, result))
        else:
            self._receive(Answered(request.number, result))

    def abandon(self, number: int) -> None:
        """Cancel a request at the gateway or the journal."""
        answer = self._answers.get(number)
        if answer is not None:
            answer.cancel()

    def broadcast(self, event: Event) -> None:
        """Broadcast an event."""
        self._writer.write_bytes(encode_broadcast(event))
        self._broadcast(event)

    def has_room(self, requests: int) -> bool:
        """Return whether the gateway has room for some reads."""
        has_room: bool = self._gateway.has_room(requests)
        self._writer.write(RoomCheck(has_room=has_room, requests=requests))
        return has_room

    def state_changed(self, *, only_quotes: bool) -> None:
        """Notify the journal."""
        self._journal.changed(only_quotes=only_quotes)

    def note_event(self, event: Event) -> None:
        """Add an event to the outbox."""
        self._journal.note_event(event)

    # Turns.

    def _receive(self, received: Input) -> None:
        """Handle an input as soon as no other one is being handled."""
        self._waiting.append(received)
        if not self._is_in_turn:
            self._handle_waiting()

    def _handle(self, received: Input, act: Callable[[], _T] | None = None) -> _T:
        """Handle an input now; return what the engine returns.

        :param act: handles the input in place of the sandbox.
        """
        # The caller needs the result at once, so the input cannot wait.
        if self._is_in_turn:
            raise RuntimeError(f"{received} came in within a turn")
        try:
            result: _T = self._perform(received, act)
            return result
        finally:
            self._handle_waiting()

    def _handle_waiting(self) -> None:
        while self._waiting:
            received = self._waiting.popleft()
            try:
                self._perform(received)
            except Exception:  # noqa: BLE001  # the inputs that follow must be handled all the same
                _log.failure("internal error, handling {input}", input=received)
        self._schedule_wake()

    def _perform(self, received: Input, act: Callable[[], Any] | None = None) -> Any:
        self._is_in_turn = True
        try:
            turn = self._writer.write_turn(Turn(self._now(), self._clock.seconds(), received))
            return self._sandbox.perform(turn, act)
        finally:
            self._is_in_turn = False

    def _schedule_wake(self) -> None:
        """Wake up when the engine's first timer is due."""
        due = self._sandbox.clock.next_due
        if self._wake is not None and self._wake.active():
            # Waking up too early does no harm; rescheduling after each turn costs more.
            if due is None or self._wake.getTime() <= due:
                return
            self._wake.cancel()
        if due is not None:
            self._wake = self._clock.callLater(
                max(0.0, due - self._clock.seconds()), self._wake_up
            )

    def _wake_up(self) -> None:
        due = self._sandbox.clock.next_due
        if due is not None and due <= self._clock.seconds():
            self._receive(TimerFired())
        else:
            self._schedule_wake()


@implementer(IOperatedAccount)
class _RecordedAccount:
    """An account for an operator: reads pass through, actions are inputs."""

    def __init__(
        self, handle: Callable[[Input], Any], account_id: int, account: GuardedAccount
    ) -> None:
        self._handle = handle
        self._account_id = account_id
        self._account = account

    @property
    def account_state(self) -> AccountState:
        """The state of the account."""
        return self._account.account_state

    @property
    def is_reported(self) -> bool:
        """Whether the broker has said in this run what the account holds."""
        return self._account.is_reported

    @property
    def rules(self) -> tuple[RuleInForce, ...]:
        """The rules in force."""
        return self._account.rules

    def unlock(self, reason: str, operator: str) -> bool:
        """End all lockouts; return whether there were any."""
        was_locked: bool = self._handle(
            OperatorActed("unlock", self._account_id, reason, operator)
        )
        return was_locked

    def withdraw(self, reason: str, operator: str) -> bool:
        """Withdraw an unlock that waits; return whether there was one."""
        did_wait: bool = self._handle(
            OperatorActed("withdraw", self._account_id, reason, operator)
        )
        return did_wait

    def lock(
        self, reason: str, operator: str, until: datetime | None
    ) -> Deferred[ConfirmedFlatten]:
        """Flatten and lock the account."""
        return self._confirmed(OperatorActed("lock", self._account_id, reason, operator, until))

    def flatten(self, reason: str, operator: str) -> Deferred[ConfirmedFlatten]:
        """Close all positions and cancel all orders."""
        return self._confirmed(OperatorActed("flatten", self._account_id, reason, operator))

    def set_floor(self, amount: Decimal, operator: str) -> Deferred[ConfirmedFlatten]:
        """Take the firm's figure for the floor."""
        return self._confirmed(
            OperatorActed("set_floor", self._account_id, "", operator, amount=amount)
        )

    def _confirmed(self, acted: OperatorActed) -> Deferred[ConfirmedFlatten]:
        # It fires within a turn: whoever waits for it reads, and gives the engine no input.
        confirmed: Deferred[ConfirmedFlatten] = self._handle(acted)
        return confirmed
