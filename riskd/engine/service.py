"""The engine: all accounts of a daemon, fed by one gateway, from start to stop.

Each message of the gateway is mapped and applied to the account that it is about
(:mod:`~riskd.engine.intake`), broadcast, and evaluated by the account's rules
(:mod:`~riskd.engine.risk`).  What the accounts hold is reconciled with the broker
(:mod:`~riskd.engine.reconciliation`).

The engine is deterministic: what it broadcasts and requests depends on its inputs alone, not on a real
clock, a counter of the process or the order of a set.  Otherwise a recording could not be replayed to the
same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from functools import partial
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.config.known_settings import known_common, known_settings
from riskd.config.settings import AccountSettings, Settings
from riskd.engine.account_rules import AccountRules
from riskd.engine.balances import Balances
from riskd.engine.broker import Broker
from riskd.engine.clock_effects import ClockEffects
from riskd.engine.clocks import Clocks
from riskd.engine.committed_settings import earlier_settings, is_kept
from riskd.engine.enforcement.dry_run import DryRun
from riskd.engine.enforcement.enforcer import Enforcer
from riskd.engine.guarded_account import GuardedAccount
from riskd.engine.intake import Intake, errors_logged
from riskd.engine.interface import IOperated, IOperatedAccount
from riskd.engine.limits_in_force import LimitsInForce
from riskd.engine.notices import Notices
from riskd.engine.order_of_truth import SETTLED_SECONDS
from riskd.engine.quote_audience import QuoteAudience
from riskd.engine.reconciliation import ReconciliationLoop
from riskd.engine.risk import RiskEngine
from riskd.engine.settings_log import SettingsLog
from riskd.engine.status import Problems, running_message
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.interface import IGateway, IGatewayListener
from riskd.host.timing import done_within
from riskd.journal.interface import IJournal
from riskd.journal.store import Recovery
from riskd.model.account import AccountState
from riskd.model.events import DRY_RUN_NOTE, DaemonStatus, Event, Status
from riskd.model.lockouts import is_locked
from riskd.model.settings_changes import SettingsChange
from riskd.rules.interface import IRule

_log = Logger()

JOURNAL_SECONDS: Final = 5.0
"""How long the start waits for the journal."""


class _Progress(IntEnum):
    """How far the start has come.

    The journal may be recovered before or after any of these.
    """

    NONE = 0
    PREPARED = 1
    """The trading days are counted, and the gateway knows which accounts to follow."""
    CONNECTED = 2
    """The gateway's events arrive."""
    RECONCILED = 3
    """All configured accounts are reconciled for the first time."""


@implementer(IGatewayListener, IOperated)
class EngineService(Service):
    """All accounts of a daemon, fed by one gateway.

    :param clock: the reactor.
    :param gateway: the source of messages, and the way to the broker.
    :param settings: the accounts to follow, and their rules.
    :param journal: what survives the daemon.
    :param broadcast: sends an event to all clients.
    :param wall: gives the time of the wall clock, aware.
    :param catalogue: all rules there are, by key.
    :param observe_reaction: receives the seconds from deciding on a flatten to its first request that
        closes or cancels.
    :ivar accounts: by account id.
    :ivar clocks: the broker's clock and this machine's.
    :ivar now: gives the broker's time, or the wall clock's while that is unknown.
    :ivar passed: gives the latest moment that has passed for sure.
    :ivar gateway_name: the kind of gateway, such as ``practice``.
    :ivar enforces: whether riskd acts on a breach; if not, this is a dry run.
    :ivar is_recovered: whether the engine has taken over the journal's content.
    :ivar started: fires when the start is over: all configured accounts are reconciled, and RUNNING is
        announced unless there is a problem.
    :ivar receive: see :class:`IGatewayListener`.
    :ivar receive_quote: see :class:`IGatewayListener`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        gateway: IGateway,
        settings: Settings,
        journal: IJournal,
        broadcast: Callable[[Event], None],
        wall: Callable[[], datetime],
        catalogue: Mapping[str, IRule] | None = None,
        observe_reaction: Callable[[float], None] | None = None,
    ) -> None:
        self._clock = clock
        self._gateway = gateway
        self._journal = journal
        self._broadcast = broadcast
        self.clocks = Clocks(clock, wall, self.report_problem)
        self.clocks.offset_changed = journal.changed
        self.now = self.clocks.broker.now
        self.passed = self.clocks.broker.passed
        self._is_strict = settings.strict_mode
        self.enforces = settings.enforce
        self.gateway_name: str = gateway.name
        self._catalogue = catalogue or {}
        self._observe_reaction = observe_reaction
        self.accounts: dict[int, GuardedAccount] = {}
        self._configured = frozenset(each.id for each in settings.accounts)
        corrections = Notices(journal, self._announce_note, "correction")
        self._notices = Notices(journal, self._announce_note)
        self._settings = settings
        self._settings_log = SettingsLog(journal, self._catalogue, self._announce_change)
        self._audience = QuoteAudience(self.accounts)
        intake = Intake(
            self.accounts,
            self._audience,
            gateway,
            clock,
            self.now,
            corrections.report,
            self.clocks.stamped,
        )
        # Bound, not wrapped: a quote passes through as few functions as possible.
        self.receive = intake.receive
        self.receive_quote = intake.receive_quote
        self._broker = Broker(gateway, clock, self.now, intake.apply_answer, self.report_problem)
        self._reconciliation = ReconciliationLoop(self.accounts, self._configured, self._broker)
        ClockEffects(
            self.clocks, self.accounts, self._reconciliation, gateway, self._announce_note
        )
        for each in settings.accounts:
            self._follow(each)
        self._starting: Deferred[None] | None = None
        self.started: Deferred[None] = Deferred()
        self.is_recovered = False
        self._progress = _Progress.NONE
        self._times_restored = 0
        self._problems = Problems()
        self._was_running = False
        self._standing: DaemonStatus | None = None

    def _follow(self, settings: AccountSettings) -> GuardedAccount:
        seconds = self._clock.seconds
        account = TrackedAccount(
            settings.id, settings.watch, self._journal, self._broadcast, self.now, seconds
        )
        enforcer: Enforcer | DryRun
        if self.enforces:
            enforcer = Enforcer(
                account,
                self._broker,
                lambda at_once: self._reconciliation.verify(guarded, at_once=at_once),
                self._observe_reaction,
            )
        else:
            enforcer = DryRun(account, self._clock, self.now)
        limits = LimitsInForce(settings.rules, self._is_strict, settings.schedule)
        rules = AccountRules(
            account, limits, self._catalogue, self.report_problem, self._notices.report
        )
        risk_engine = RiskEngine(
            account,
            rules,
            enforcer,
            self._clock,
            self.clocks.broker,
            self.clocks.notice_sleep,
            lambda: self._reconciliation.request(guarded),
        )
        balances = Balances(account, seconds, self._notices.report)
        guarded = GuardedAccount(
            account, risk_engine, balances, self.clocks.broker, self._settings_log.report
        )
        self.accounts[settings.id] = guarded
        account.wants_changed = partial(self._audience.changed, settings.id)
        account.wants_changed()
        return guarded

    def startService(self) -> None:
        """Reconcile all accounts, then announce RUNNING."""
        super().startService()
        self.clocks.start()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._could_not_start)

    def stopService(self) -> Deferred[None]:
        """Announce STOPPING and leave the gateway."""
        super().stopService()
        self.clocks.stop()
        if self._starting is not None:
            self._starting.cancel()
        self.pause()
        for each in self.accounts.values():
            each.risk_engine.stop()
        self._announce_status(Status.STOPPING, "The daemon is stopping")
        return self._gateway.stop()

    def pause(self) -> None:
        """Reconcile no account and evaluate no rule any more.

        Events are still applied and broadcast.
        """
        self._reconciliation.stop()
        for each in self.accounts.values():
            each.risk_engine.pause()

    def reload(self, settings: Settings) -> str:
        """Apply new settings; return what needs a restart, in a sentence, if anything."""
        self._settings = settings
        if self.is_recovered:
            self._settings_log.reloaded(settings, self.accounts, self.now())
        known, wanted = set(self.accounts), {each.id for each in settings.accounts}
        for each in settings.accounts:
            if each.id in known:
                guarded = self.accounts[each.id]
                guarded.account.watch_for(each.watch)
                guarded.risk_engine.reload(
                    LimitsInForce(each.rules, settings.strict_mode, each.schedule)
                )
        for account_id in known - wanted:
            self.accounts[account_id].removed(settings.operator)
        changed = ", ".join(map(str, sorted(known ^ wanted)))
        return f"accounts that come or go need a restart: {changed}" if changed else ""

    @property
    def is_reconciled(self) -> bool:
        """Whether all accounts were reconciled and no event can be missing since."""
        return self._progress is _Progress.RECONCILED and not self._reconciliation.is_feed_lost

    @property
    def is_prepared(self) -> bool:
        """Whether the journal is taken over; where it cannot be read in time, its copy.

        The accounts are guarded from then on, as far as the broker answers.
        """
        return self._progress >= _Progress.PREPARED

    @property
    def standing_status(self) -> DaemonStatus | None:
        """The status that was announced last; ``None`` before the first."""
        return self._standing

    @property
    def operated_accounts(self) -> Mapping[int, IOperatedAccount]:
        """The accounts, for an operator."""
        return self.accounts

    def make_durable(self) -> Deferred[str]:
        """Journal the states; fires with why they are not on the disk, empty if they are."""
        return self._journal.make_durable()

    def published(self) -> Deferred[None]:
        """Journal and publish the states; fires when that is done, or after a second."""
        return self._journal.published()

    def announce(self, event: Event) -> Deferred[None]:
        """Apply and broadcast ``event``; one about the daemon is applied to all accounts.

        The Deferred fires when the event is broadcast, and published if only riskd knows it.
        """
        guarded = None if event.account_id is None else self.accounts.get(event.account_id)
        if guarded is not None:
            return guarded.account.announce(event.data)
        if event.account_id is None:
            for each in self.accounts.values():
                each.account.apply(event)
        self._journal.note_event(event)
        self._broadcast(event)
        return succeed(None)

    # The gateway's events.

    def feed_lost(self, sentence: str) -> None:
        """Pause the rules, for events may be missing; see :class:`IGatewayListener`.

        The accounts are reconciled every few seconds, and their rules evaluated after that.
        """
        self._reconciliation.is_feed_lost = True
        # Before the beginnings are canceled: that lets the start go on, which must not announce RUNNING.
        self.report_problem("feed", sentence)
        self._reconciliation.cancel_beginnings()
        for each in self.accounts.values():
            each.risk_engine.wait()

    def feed_restored(self) -> None:
        """Reconcile all accounts, then evaluate the rules; see :class:`IGatewayListener`."""
        self._reconciliation.is_feed_lost = False
        if self._progress < _Progress.CONNECTED:
            # The start has not come to reconciling the accounts, and will do it.
            self.report_problem("feed", "")
            return
        self._times_restored += 1
        begun = [self._reconciliation.begin(each) for each in self.accounts.values()]
        gatherResults(begun).addCallback(self._caught_up, self._times_restored)

    def _caught_up(self, _results: object, times_restored: int) -> None:
        # If the feed was lost again meanwhile, the beginnings did not succeed but were canceled.
        if not self._reconciliation.is_feed_lost and times_restored == self._times_restored:
            self.report_problem("feed", "")

    def gateway_problem(self, source: str, sentence: str) -> None:
        """Report another problem of the gateway; see :class:`IGatewayListener`."""
        self.report_problem(f"gateway {source}", sentence)

    # The clocks.

    @property
    def clock_offset(self) -> timedelta | None:
        """How far the broker's clock is ahead of the wall clock; ``None``: unknown."""
        return self.clocks.offset

    def clock_reported(self, at: datetime, precision: float, delay: float) -> None:
        """Take what the broker's clock showed; see :class:`IGatewayListener`."""
        # An error here must not cost the answer that brought the time.
        with errors_logged("the broker's time"):
            self.clocks.reported(at, precision, delay)

    # The start.

    async def _start(self) -> None:
        recovered = self._journal.recover(
            self.accounts, self._states, self._recovered, partial(self.report_problem, "journal")
        )
        if not await done_within(JOURNAL_SECONDS, recovered, self._clock):
            # Guarding the accounts is more urgent than any disk.
            self.report_problem("journal at the start", "The state file cannot be read yet")
        if not self.is_recovered and recovered.called:
            # The published copy has the journal's locks, too.
            self._take_over(await self._journal.read_copy())
        self._progress = _Progress.PREPARED
        for each in self.accounts.values():
            self._prepare(each)
        # Before the gateway is up: a broker that sends no events yet may answer requests.
        self._reconciliation.start()
        await self._gateway.start(self)
        self._progress = _Progress.CONNECTED
        beginnings = {
            account_id: self._reconciliation.begin(each)
            for account_id, each in self.accounts.items()
        }
        await gatherResults(
            [begun for account_id, begun in beginnings.items() if account_id in self._configured]
        )
        if not self.running:
            # Stopping cancels the beginnings, and a canceled one ends like one that succeeded.
            return
        self._progress = _Progress.RECONCILED
        self._reconciliation.trail = SETTLED_SECONDS
        self._announce_running()
        self.started.callback(None)

    def _prepare(self, guarded: GuardedAccount) -> None:
        self._gateway.follow_account(guarded.account.account_id)
        guarded.risk_engine.prepare()

    def _could_not_start(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None and self.running:
            _log.failure("cannot start to follow the gateway", failure=failure)
            self._announce_status(
                Status.ERROR, f"The gateway cannot be followed: {failure.getErrorMessage()}"
            )

    def _states(self) -> list[AccountState]:
        followed = [each.risk_engine.lasting_state for each in self.accounts.values()]
        return followed + self._settings_log.left

    def _recovered(self, recovery: Recovery) -> None:
        self.is_recovered = True
        self.report_problem("journal at the start", "")
        for each in self._take_over(recovery.accounts):
            if self._progress >= _Progress.PREPARED:
                self._prepare(each)
            if self._progress >= _Progress.CONNECTED:
                self._reconciliation.begin(each)
        self._settings_log.recovered(self._settings, recovery.accounts, self.accounts, self.now())
        if self._progress is _Progress.RECONCILED:
            # The journal opened late, and its positions and orders are older than the broker's answers.
            for each in self.accounts.values():
                each.risk_engine.resume()
                self._reconciliation.request(each)
        if recovery.problem:
            _log.error("{problem}", problem=recovery.problem)
            self._announce_status(Status.ERROR, recovery.problem)

    def _take_over(self, known: Mapping[int, AccountState]) -> list[GuardedAccount]:
        """Take over the journaled states; return the accounts that are new to riskd."""
        new: list[GuardedAccount] = []
        for account_id, found in known.items():
            if account_id in self.accounts:
                continue
            is_bound = is_locked(found, self.passed()) or found.risk.flattening is not None
            if is_bound or is_kept(found):
                _log.warn(
                    "account {id} is not configured any more, but locked, being flattened or committed: "
                    "riskd follows it",
                    id=account_id,
                )
                settings = AccountSettings(id=account_id)
                if is_kept(found):
                    settings = earlier_settings(found, self._catalogue)
                new.append(self._follow(settings))
        followed = {key: found for key, found in known.items() if key in self.accounts}
        # All locks first: no error in what follows may keep one from being taken over.
        for account_id, found in followed.items():
            self.accounts[account_id].account.recover(found)
        asked, common = known_settings(self._settings), known_common(self._settings)
        for account_id, found in followed.items():
            with errors_logged("recovery"):
                guarded = self.accounts[account_id]
                guarded.risk_engine.rules.committed.recover(
                    found,
                    asked.get(account_id, common),
                    self.now(),
                    self._settings.operator,
                )
                guarded.risk_engine.recover(found)
                if account_id not in asked:
                    guarded.removed(self._settings.operator)
        return new

    # The daemon's status.

    def report_problem(self, source: str, sentence: str) -> None:
        """Announce ERROR with the gravest problem, for as long as there is one.

        :param source: what has the problem; each source has one sentence at a time.
        :param sentence: for a trader to read; an empty one ends the source's problem.
        """
        news = self._problems.report(source, sentence)
        if news:
            self._announce_status(Status.ERROR, news)
        elif news is not None:
            self._announce_running()

    def _announce_running(self) -> None:
        if self._progress is _Progress.RECONCILED and not self._problems and self.running:
            message = running_message(
                self.gateway_name, is_first=not self._was_running, enforces=self.enforces
            )
            self._was_running = True
            self._announce_status(Status.RUNNING, message)

    def _announce_note(self, sentence: str, at: datetime | None = None) -> None:
        """Announce a sentence with the status as it stands.

        :param at: the time of what it is about; by default, now.
        """
        standing = self._standing
        if standing is None or not self.running:
            return  # Each client reads the copy when the first status comes.
        note = "" if self.enforces else f" {DRY_RUN_NOTE}"
        self._announce_status(standing.status, f"{sentence}{note}", at)
        if standing.status is not Status.RUNNING:
            # What is wrong stays the sentence that clients show.
            self._announce_status(standing.status, standing.message)

    def _announce_change(self, change: SettingsChange) -> bool:
        """Announce a change of settings; its time is that which the copy has."""
        if self._standing is None or not self.running:
            return False
        self._announce_note(change.sentence, change.at)
        return True

    def _announce_status(self, status: Status, message: str, at: datetime | None = None) -> None:
        is_first = self._standing is None
        self._standing = DaemonStatus(status=status, message=message, timestamp=at or self.now())
        self.announce(Event(None, self._standing))
        _log.info("status {status}: {message}", status=status.value, message=message)
        if is_first:
            self._settings_log.announce()
