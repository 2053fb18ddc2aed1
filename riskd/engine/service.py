"""From the gateway to the consoles and the rules: each message is mapped, applied, told, and judged.

An account's state is kept by its :class:`~riskd.engine.tracked_account.TrackedAccount` and watched by its
:class:`~riskd.engine.risk.RiskEngine`; the :class:`EngineService` hears the gateway and hands each message to the
accounts it concerns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    gatherResults,
    succeed,
)
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.config.settings import AccountSettings, Settings
from riskd.engine.enforcement.dry_run import DryRun
from riskd.engine.enforcement.enforcer import Enforcer
from riskd.engine.interface import IOperated, IOperatedAccount
from riskd.engine.risk import RiskEngine
from riskd.engine.tracked_account import SETTLED_SECONDS, TrackedAccount
from riskd.gateway import mapping
from riskd.gateway.fields import MappingError
from riskd.gateway.interface import (
    GatewayError,
    GatewayRefusedError,
    IGateway,
    IGatewayListener,
    Payload,
)
from riskd.gateway.quote_book import QuoteBook
from riskd.gateway.timeouts import in_time
from riskd.host.timing import done_within, lasting_loop
from riskd.journal.interface import IJournal
from riskd.journal.store import Recovery
from riskd.model.account import AccountState
from riskd.model.events import DRY_RUN_NOTE, DaemonStatus, Event, GatewayUserOrder, Status
from riskd.model.lockouts import is_locked
from riskd.rules.interface import IRule

_log = Logger()
_T = TypeVar("_T")

_A_DAY: Final = timedelta(days=1)

BEGIN_AGAIN_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 10.0)
"""How long to wait before a gateway that did not answer at the start is asked again."""

_ORDER_UNKNOWN: Final = 1
"""The code with which the gateway says that it knows no order of that id."""

_REQUESTS_OF_A_LOOK: Final = 4
"""What it takes to ask the gateway what an account holds."""

_HEARD_BY: Final = {"GatewayUserPosition": "contractId", "GatewayUserOrder": "id"}
"""What positions and orders are remembered by when an event tells of them."""

JOURNAL_SECONDS: Final = 5.0
"""How long the start waits for the journal."""

CONTRACT_AGAIN_SECONDS: Final = 30.0
"""When the gateway is asked for a contract again that it has not told of."""

PATROL_SECONDS: Final = 5.0
"""How often a locked account is looked at, lest it trade with an event lost on the way."""

PATROL_ROUNDS: Final = 12
"""Any account is looked at once in so many of these."""

_FOLLOWING: Final = ("gateway quotes", "feed", "look ")
"""How sources begin whose trouble mostly follows from another's; what a later one says matters more."""

_OF_AN_ACCOUNT: Final = ("begin", "look", "permission", "reading")
"""How sources begin that say that the broker does not tell what an account holds, or not all of it."""

_LABELS: Final[dict[str, str]] = {"practice": "PRACTICE", "projectx": "ProjectX"}


class GuardedAccount(NamedTuple):
    """One account and the risk engine that guards it."""

    account: TrackedAccount
    risk_engine: RiskEngine


@implementer(IGatewayListener, IOperated)
class EngineService(Service):
    """All accounts of a daemon, fed by one gateway.

    :param clock: the reactor.
    :param gateway: where messages come from.
    :param settings: the accounts to follow, and their rules; messages of others are passed over.
    :param journal: what survives the daemon.
    :param broadcast: the one way out.
    :param now: gives the time of day, aware.
    :param catalogue: all rules there are, by key.
    :param acted: told how many seconds passed from deciding on a flatten to the first request for it.
    :ivar accounts: by account id.
    :ivar enforces: whether anything is done about a breach; if not, this is a dry run.
    :ivar is_recovered: whether what the journal knows was taken over.
    :ivar started: fires when all accounts are reconciled for the first time and RUNNING is announced.
    """

    def __init__(
        self,
        clock: IReactorTime,
        gateway: IGateway,
        settings: Settings,
        journal: IJournal,
        broadcast: Callable[[Event], None],
        now: Callable[[], datetime],
        catalogue: Mapping[str, IRule] | None = None,
        acted: Callable[[float], None] | None = None,
    ) -> None:
        self._clock = clock
        self._gateway = gateway
        self._journal = journal
        self._broadcast = broadcast
        self._now = now
        self._is_strict = settings.strict_mode
        self.enforces = settings.enforce
        self._catalogue = catalogue or {}
        self._acted = acted
        self.accounts: dict[int, GuardedAccount] = {}
        self._next_looks: list[int] = []
        self._configured = frozenset(each.id for each in settings.accounts)
        for each in settings.accounts:
            self._follow(each)
        self._quotes = QuoteBook()
        self._ask_for_contract_at: dict[str, float] = {}
        self._starting: Deferred[None] | None = None
        self.started: Deferred[None] = Deferred()
        self.is_recovered = False
        self._is_prepared = False
        self._is_heard = False
        self._is_deaf = False
        self._times_restored = 0
        self._beginning: dict[int, Deferred[None]] = {}
        self._passed_over: set[int] = set()
        self._is_reconciled = False
        self._troubles: dict[str, str] = {}
        self._told_trouble = ""
        self._begun = "Daemon started successfully"
        self._patrol = lasting_loop(clock, self._look_around, _log)
        self._rounds = 0
        self._looking: dict[int, Deferred[None]] = {}
        self._waiting_for_look: dict[int, list[Deferred[None]]] = {}

    def _follow(self, settings: AccountSettings) -> GuardedAccount:
        account = TrackedAccount(
            settings.id, settings.watch, self._journal, self._broadcast, self._clock.seconds
        )
        enforcer: Enforcer | DryRun
        if self.enforces:
            enforcer = Enforcer(
                account,
                self._gateway,
                self._clock,
                self._now,
                self.report_problem,
                self._hear,
                self._acted,
            )
        else:
            enforcer = DryRun(account, self._clock, self._now)
        risk_engine = RiskEngine(
            account,
            enforcer,
            settings,
            is_strict=self._is_strict,
            catalogue=self._catalogue,
            clock=self._clock,
            now=self._now,
            report_problem=self.report_problem,
            look=lambda: self._look_at(self.accounts[settings.id]),
        )
        self.accounts[settings.id] = GuardedAccount(account, risk_engine)
        self._next_looks.append(settings.id)
        return self.accounts[settings.id]

    def startService(self) -> None:
        """Get in step with the gateway, then say RUNNING."""
        super().startService()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._could_not_start)

    def stopService(self) -> Deferred[None]:
        """Say STOPPING and leave the gateway."""
        super().stopService()
        if self._starting is not None:
            self._starting.cancel()
        self.pause()
        for guarded in self.accounts.values():
            guarded.risk_engine.stop()
        self._say(Status.STOPPING, "The daemon is stopping")
        return self._gateway.stop()

    def pause(self) -> None:
        """Tell what is heard, but look at no account and ask no rules."""
        if self._patrol.running:
            self._patrol.stop()
        for under_way in (*self._beginning.values(), *self._looking.values()):
            under_way.cancel()
        for guarded in self.accounts.values():
            guarded.risk_engine.pause()

    def reload(self, settings: Settings) -> str:
        """Take new settings; return what of them needs a restart, in a sentence, or nothing."""
        known, wanted = set(self.accounts), {each.id for each in settings.accounts}
        for each in settings.accounts:
            if each.id in known:
                self.accounts[each.id].account.watch = frozenset(each.watch)
                self.accounts[each.id].risk_engine.reload(each, is_strict=settings.strict_mode)
        if known == wanted:
            return ""
        changed = ", ".join(str(number) for number in sorted(known ^ wanted))
        return f"accounts that come or go need a restart: {changed}"

    @property
    def is_reconciled(self) -> bool:
        """Whether all accounts were reconciled and no event can be missing since."""
        return self._is_reconciled and not self._is_deaf

    @property
    def gateway_name(self) -> str:
        """The kind of gateway that is followed."""
        name: str = self._gateway.name
        return name

    @property
    def operated_accounts(self) -> Mapping[int, IOperatedAccount]:
        """The accounts, for an operator."""
        return {account_id: guarded.risk_engine for account_id, guarded in self.accounts.items()}

    def make_durable(self) -> Deferred[None]:
        """Write what is so; fire when it is on the disk, or when it cannot be written now."""
        return self._journal.make_durable()

    def announce(self, event: Event) -> Deferred[None]:
        """Apply ``event`` to the account it is about, or to all if it is about the daemon; tell it.

        Fires when it is told, and published if it is what riskd alone knows.
        """
        guarded = None if event.account_id is None else self.accounts.get(event.account_id)
        if guarded is not None:
            return guarded.account.announce(event.data)
        if event.account_id is None:
            for each in self.accounts.values():
                each.account.apply(event)
        self._broadcast(event)
        return succeed(None)

    def user_event(self, target: str, payload: Payload) -> None:
        """Take what happened to an account; see :class:`IGatewayListener`."""
        with self._fenced(target):
            guarded = self.accounts.get(payload.get("accountId", 0))
            if guarded is not None and target in _HEARD_BY:
                guarded.account.mark_received(payload.get(_HEARD_BY[target]))
            self._take_user_event(target, payload)

    def _hear(self, target: str, payload: Payload) -> bool:
        """Take what the gateway tells or answers; return whether it could be read."""
        is_read = False
        with self._fenced(target):
            self._take_user_event(target, payload)
            is_read = True
        return is_read  # noqa: RET504  # the fence may have held something back

    def market_event(self, target: str, contract_id: str, payload: Payload) -> None:
        """Take what happened in a market; see :class:`IGatewayListener`."""
        if target != "GatewayQuote":
            return
        # A fence would cost as much as half of what it is around.
        try:
            quote = self._quotes.merge(contract_id, payload, self._now)
            if quote is None:
                self._take_best_bid_ask(contract_id)
                return
        except Exception:  # noqa: BLE001  # see _dropped
            self._dropped(target)
            return
        for guarded in self.accounts.values():
            # A mistake with one account is none of the next one's.
            try:
                if guarded.account.wants_quotes(contract_id):
                    guarded.account.update_quote(quote)
                    guarded.risk_engine.receive(quote)
                    self._ask_for_contract(contract_id)
            except Exception:  # noqa: BLE001  # see _dropped
                self._dropped(target)

    def feed_lost(self, sentence: str) -> None:
        """Let the rules wait, for events may be missing; see :class:`IGatewayListener`.

        What the accounts hold is asked every few seconds, and the rules whenever it was answered.
        """
        self._is_deaf = True
        # Before the start goes on with whoever does not begin to be guarded now: it is not RUNNING.
        self.report_problem("feed", sentence)
        for beginning in tuple(self._beginning.values()):
            beginning.cancel()
        for guarded in self.accounts.values():
            guarded.risk_engine.wait()

    def feed_restored(self) -> None:
        """Get in step again, then ask the rules; see :class:`IGatewayListener`."""
        self._is_deaf = False
        if not self._is_heard:
            # Nobody was in step yet; the start goes on by itself.
            self.report_problem("feed", "")
            return
        self._times_restored += 1
        begun = [self._begin_to_guard(guarded) for guarded in self.accounts.values()]
        gatherResults(begun).addCallback(self._caught_up, self._times_restored)

    def _caught_up(self, _results: object, times_restored: int) -> None:
        # Who is to begin anew has begun nothing.
        if not self._is_deaf and times_restored == self._times_restored:
            self.report_problem("feed", "")

    def gateway_trouble(self, source: str, sentence: str) -> None:
        """Take what else is wrong at the gateway; see :class:`IGatewayListener`."""
        self.report_problem(f"gateway {source}", sentence)

    @contextmanager
    def _fenced(self, target: str) -> Iterator[None]:
        """Let no message stop the ones that follow it."""
        try:
            yield
        except Exception:  # noqa: BLE001  # see _dropped
            self._dropped(target)

    def _dropped(self, target: str) -> None:
        """Write down the error at hand: neither it nor a mistake of ours may cut the gateway off."""
        failure = Failure()
        if isinstance(failure.value, MappingError):
            _log.error(
                "dropped a {target} that cannot be read: {error}",
                target=target,
                error=failure.value,
            )
        else:
            _log.failure("dropped a {target}: a mistake in riskd", failure, target=target)

    def _take_user_event(self, target: str, payload: Payload) -> None:
        # GatewayUserAccount alone has its account under another name.
        account_id = payload.get("id" if target == "GatewayUserAccount" else "accountId")
        guarded = None if account_id is None else self.accounts.get(account_id)
        if guarded is None:
            return
        if target == "GatewayUserTrade":
            self._take_trade(guarded, payload)
        elif target == "GatewayUserPosition":
            self._take_position(guarded, payload)
        elif target == "GatewayUserOrder":
            self._take_order(guarded, payload)
        elif target == "GatewayUserAccount":
            guarded.risk_engine.receive_account(may_trade=mapping.may_trade(payload))
        contract_id = payload.get("contractId")
        if contract_id is not None:
            self._ask_for_contract(contract_id)

    def _take_trade(self, guarded: GuardedAccount, payload: Payload) -> None:
        account = guarded.account
        number, charge = mapping.charge(payload)
        is_charged = account.state.risk.charges.get(number) != charge
        if is_charged:
            account.change_risk(charges={**account.state.risk.charges, number: charge})
        voided = mapping.voided_trade(payload)
        if voided is not None:
            if account.void_trade(voided):
                _log.warn(
                    "account {account}: the broker voided trade {id}, it counts no more",
                    account=account.account_id,
                    id=voided,
                )
                guarded.risk_engine.review()
            return
        trade = mapping.trade(payload, self._now())
        if trade is not None and account.update(trade):
            guarded.risk_engine.receive(trade)
        elif is_charged:
            # A half-turn is no trade to be told, but what it costs counts.
            guarded.risk_engine.review()

    def _take_position(self, guarded: GuardedAccount, payload: Payload) -> None:
        last = guarded.account.state.positions.get(payload.get("contractId", ""))
        position = mapping.position(payload, last, self._now())
        if guarded.account.update(position):
            guarded.risk_engine.receive(position)

    def _take_order(self, guarded: GuardedAccount, payload: Payload) -> None:
        if not mapping.has_known_type(payload):
            _log.warn(
                "order {id} is of unknown type {type}",
                id=payload.get("id"),
                type=payload.get("type"),
            )
        account = guarded.account
        known = account.state.orders.get(payload.get("id", 0))
        order = mapping.order(payload, known, self._now())
        if known is not None and order.updated_at < known.updated_at:
            return
        is_news = account.update(order)
        # What the wire does not carry may be news to the rules.
        if account.update_order_detail(order, mapping.order_detail(payload)) or is_news:
            guarded.risk_engine.receive(order)

    def _take_best_bid_ask(self, contract_id: str) -> None:
        """Let the accounts know bid and ask: the wire waits for a last price; a loss does not."""
        best_bid_ask = self._quotes.best_bid_ask(contract_id)
        for guarded in self.accounts.values():
            if guarded.account.state.holds_or_works(contract_id):
                with self._fenced("GatewayQuote"):
                    guarded.account.update_best_bid_ask(contract_id, best_bid_ask)
                    guarded.risk_engine.receive_best_bid_ask()

    # Getting in step, and staying there.

    async def _start(self) -> None:
        recovered = self._journal.recover(
            self.accounts, self._states, self._recovered, self._journal_trouble
        )
        if not await done_within(JOURNAL_SECONDS, recovered, self._clock):
            # No disk is worth leaving the accounts unguarded for.
            self.report_problem("journal at the start", "The state file cannot be read yet")
        if not self.is_recovered and recovered.called:
            # The locks that the journal holds are in its copy, too.
            self._take_over(await self._journal.read_copy())
        self._is_prepared = True
        for guarded in self.accounts.values():
            self._prepare(guarded)
        # A broker that tells nothing yet may answer.
        self._patrol.start(PATROL_SECONDS, now=False)
        await self._gateway.start(self)
        self._is_heard = True
        beginnings = {
            account_id: self._begin_to_guard(guarded)
            for account_id, guarded in self.accounts.items()
        }
        await gatherResults(
            [begun for account_id, begun in beginnings.items() if account_id in self._configured]
        )
        if not self.running:
            # It was stopped, which gives all of these up, and that looks as if they were done.
            return
        self._is_reconciled = True
        self._say_how_it_is()
        self.started.callback(None)

    def _prepare(self, guarded: GuardedAccount) -> None:
        self._gateway.follow_account(guarded.account.account_id)
        guarded.risk_engine.prepare()

    def _begin_to_guard(self, guarded: GuardedAccount) -> Deferred[None]:
        account_id = guarded.account.account_id
        earlier = self._beginning.pop(account_id, None)
        if earlier is not None:
            earlier.cancel()
        begun = Deferred.fromCoroutine(self._begin(guarded))
        self._beginning[account_id] = begun

        def ended(result: Failure | None) -> Failure | None:
            if self._beginning.get(account_id) is begun:
                del self._beginning[account_id]
            return result

        return begun.addBoth(ended).addErrback(self._could_not_begin)

    def _could_not_begin(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            _log.failure("beginning to guard an account", failure)

    async def _begin(self, guarded: GuardedAccount) -> None:
        """Guard an account as soon as the gateway says what it holds."""
        account_id = guarded.account.account_id
        for attempt in itertools.count():
            try:
                await self._get_in_step(guarded)
                break
            except GatewayError as error:
                if account_id not in self._configured and isinstance(error, GatewayRefusedError):
                    _log.error("account {id} is not followed: {error}", id=account_id, error=error)
                    self._passed_over.add(account_id)
                    for source in _OF_AN_ACCOUNT:
                        self.report_problem(f"{source} {account_id}", "")
                    return
                self.report_problem(
                    f"begin {account_id}",
                    f"Nothing guards account {account_id}, the broker does not say what it holds: "
                    f"{error.why}",
                )
                wait = BEGIN_AGAIN_SECONDS[min(attempt, len(BEGIN_AGAIN_SECONDS) - 1)]
                await deferLater(self._clock, wait)
        self._passed_over.discard(account_id)
        with self._fenced("review at the start"):
            guarded.risk_engine.begin()
        for source in ("begin", "look"):
            self.report_problem(f"{source} {account_id}", "")

    async def _get_in_step(self, guarded: GuardedAccount) -> None:
        """Let the gateway's word replace what differs.

        What came while it was asked is newer than its answer.

        :raises GatewayError: the gateway does not say all.
        """
        account, account_id, gateway = guarded.account, guarded.account.account_id, self._gateway
        began = self._clock.seconds()
        trailing = SETTLED_SECONDS if self._is_reconciled else 0.0
        unlisted = await self._see_whether_it_may_trade(guarded)
        is_read = []
        held = await self._ask("Position/searchOpen", gateway.search_open_positions(account_id))
        working = await self._ask("Order/searchOpen", gateway.search_open_orders(account_id))
        since = account.state.day_began or self._now() - _A_DAY
        trades = await self._ask("Trade/search", gateway.search_trades(account_id, since))
        is_read += [self._hear("GatewayUserTrade", payload) for payload in trades]

        def is_newer(key: object) -> bool:
            """Tell whether an event may be newer than what was found."""
            return account.was_received_within(key, self._clock.seconds() - began + trailing)

        gone = [
            contract_id
            for contract_id in account.missing_positions(held)
            if not is_newer(contract_id)
        ]
        for closed in account.close_vanished(gone, self._now()):
            guarded.risk_engine.receive(closed)
        for payload in held:
            if not is_newer(payload.get("contractId")):
                is_read.append(self._hear("GatewayUserPosition", payload))
        for order in account.missing_orders(working):
            if not is_newer(order.id):
                is_read.append(await self._find_end_of(guarded, order))
        is_read += [self._hear("GatewayUserOrder", payload) for payload in working]
        self.report_problem(f"permission {account_id}", unlisted)
        self.report_problem(
            f"reading {account_id}",
            ""
            if all(is_read)
            else f"Not all that the gateway says of account {account_id} can be read, and the rules "
            "do not see the rest; the log says what",
        )

    async def _see_whether_it_may_trade(self, guarded: GuardedAccount) -> str:
        """Take what the gateway says of the account itself; return why it says nothing, or nothing.

        An account that was there and is not listed any more is guarded all the same, by what it holds.

        :raises GatewayError: the gateway does not say, and never has.
        """
        account_id = guarded.account.account_id
        try:
            found = await self._ask("Account/search", self._gateway.search_account(account_id))
        except GatewayError as error:
            if guarded.account.state.risk.can_trade is None:
                raise
            return f"The gateway does not say whether account {account_id} may trade: {error}"
        if not self._hear("GatewayUserAccount", found):
            return (
                f"What the gateway says of account {account_id} itself cannot be read; see the log"
            )
        return ""

    async def _find_end_of(self, guarded: GuardedAccount, order: GatewayUserOrder) -> bool:
        """Tell what became of an order that does not work any more; return whether it could be read."""
        account = guarded.account
        try:
            payload = await self._ask(
                "Order/searchById", self._gateway.search_order(account.account_id, order.id)
            )
        except GatewayRefusedError as refusal:
            if refusal.code != _ORDER_UNKNOWN:
                raise
            _log.warn(
                "order {id} is unknown to the gateway and counts as canceled: {refusal}",
                id=order.id,
                refusal=refusal,
            )
            account.end_vanished(order, self._now())
            return True
        is_read = self._hear("GatewayUserOrder", payload)
        if not is_read and account.state.orders.get(order.id) is order:
            # However it ended, what is gone protects nothing.
            account.end_vanished(order, self._now())
        return is_read

    async def _ask(self, request: str, answer: Deferred[_T]) -> _T:
        return await in_time(request, answer, self._clock, self._gateway.answer_seconds)

    def _look_around(self) -> None:
        """See now and then whether an event was lost; of a locked account, every few seconds."""
        self._rounds += 1
        is_full_round = self._rounds % PATROL_ROUNDS == 0
        # Whoever is looked at goes to the end, so that all have their turn if there is not room for all.
        for account_id in tuple(self._next_looks):
            guarded = self.accounts[account_id]
            is_guarded = guarded.risk_engine.is_active or (
                self._is_deaf and account_id not in self._passed_over
            )
            if is_guarded and (
                is_full_round or self._is_deaf or guarded.risk_engine.needs_reconciliation()
            ):
                if not self._gateway.has_room(_REQUESTS_OF_A_LOOK):
                    return
                self._next_looks.remove(account_id)
                self._next_looks.append(account_id)
                self._look_at(guarded)

    def _look_at(self, guarded: GuardedAccount) -> Deferred[None]:
        """Ask the broker what an account holds; fire when that is known, or cannot be known now."""
        account_id = guarded.account.account_id
        done: Deferred[None] = Deferred()
        if account_id in self._waiting_for_look:
            self._waiting_for_look[account_id].append(done)
            return done
        self._waiting_for_look[account_id] = [done]

        def looked(_result: object) -> None:
            self._looking.pop(account_id, None)
            for waiting in self._waiting_for_look.pop(account_id):
                waiting.callback(None)

        self._looking[account_id] = Deferred.fromCoroutine(self._look(guarded))
        self._looking[account_id].addErrback(self._could_not_look, account_id).addBoth(looked)
        return done

    async def _look(self, guarded: GuardedAccount) -> None:
        account_id = guarded.account.account_id
        source = f"look {account_id}"
        try:
            await self._get_in_step(guarded)
        except GatewayError as error:
            if account_id in self._passed_over:
                # It was given up while this was asked.
                return
            if source not in self._troubles:
                # A long outage is not a line of the log every few seconds.
                _log.warn("looking at account {id}: {error}", id=account_id, error=error)
            who = "Nothing" if self._is_deaf else "By its events alone riskd"
            self.report_problem(
                source, f"{who} guards account {account_id}, the broker does not say what it holds"
            )
            return
        self.report_problem(source, "")
        if self._is_deaf:
            guarded.risk_engine.visit()
        else:
            guarded.risk_engine.review()

    def _could_not_look(self, failure: Failure, account_id: int) -> None:
        if failure.check(CancelledError) is None:
            _log.failure("looking at account {id}", failure, id=account_id)

    def _states(self) -> list[AccountState]:
        return [guarded.risk_engine.lasting_state for guarded in self.accounts.values()]

    def _recovered(self, recovery: Recovery) -> None:
        self.is_recovered = True
        self.report_problem("journal at the start", "")
        for guarded in self._take_over(recovery.accounts):
            if self._is_prepared:
                self._prepare(guarded)
            if self._is_heard:
                self._begin_to_guard(guarded)
        if self._is_reconciled:
            # The journal could only be opened now; what it knows of positions and orders is old.
            for guarded in self.accounts.values():
                guarded.risk_engine.resume()
                self._look_at(guarded)
        if recovery.problem:
            _log.error("{problem}", problem=recovery.problem)
            self._say(Status.ERROR, recovery.problem)

    def _take_over(self, known: Mapping[int, AccountState]) -> list[GuardedAccount]:
        """Go on from what an earlier daemon knew; return the accounts that are followed for that."""
        new: list[GuardedAccount] = []
        for account_id, found in known.items():
            if account_id not in self.accounts and _is_to_be_guarded(found, self._now()):
                _log.warn(
                    "account {id} is locked, and followed until it is free, "
                    "though the configuration does not name it any more",
                    id=account_id,
                )
                new.append(self._follow(AccountSettings(id=account_id)))
        followed = {key: found for key, found in known.items() if key in self.accounts}
        # All locks first: no mistake in what follows may keep one from being taken over.
        for account_id, found in followed.items():
            self.accounts[account_id].account.recover(found)
        for account_id, found in followed.items():
            with self._fenced("recovery"):
                self.accounts[account_id].risk_engine.recover(found)
        return new

    # How the daemon is.

    def _journal_trouble(self, trouble: str) -> None:
        self.report_problem("journal", trouble)

    def report_problem(self, source: str, sentence: str) -> None:
        """Say ERROR for as long as anything is in trouble, with the latest of what is gravest.

        :param source: what is in trouble; each has one sentence at a time.
        :param sentence: for a trader to read; an empty one says that the source's trouble is over.
        """
        if self._troubles.get(source, "") == sentence:
            return
        self._troubles.pop(source, None)
        if sentence:
            self._troubles[source] = sentence
        if not self._troubles:
            self._told_trouble = ""
            self._say_how_it_is()
            return
        gravest = self._troubles[max(reversed(self._troubles), key=_gravity)]
        if gravest != self._told_trouble:
            self._told_trouble = gravest
            self._say(Status.ERROR, gravest)

    def _say_how_it_is(self) -> None:
        if self._is_reconciled and not self._troubles and self.running:
            begun, self._begun = self._begun, "Running again"
            how = "" if self.enforces else f" {DRY_RUN_NOTE}"
            self._say(Status.RUNNING, f"{begun} on the {_label(self._gateway)} gateway{how}")

    def _say(self, status: Status, message: str) -> None:
        """Tell every console how the daemon is; ``message`` is for a trader to read."""
        self.announce(
            Event(None, DaemonStatus(status=status, message=message, timestamp=self._now()))
        )
        _log.info("status {status}: {message}", status=status.value, message=message)

    def _could_not_start(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None and self.running:
            _log.failure("cannot get in step with the gateway", failure=failure)
            self._say(Status.ERROR, f"The gateway cannot be followed: {failure.getErrorMessage()}")

    def _ask_for_contract(self, contract_id: str) -> None:
        """Ask the gateway for tick size and tick value until it says so, and let every account know."""
        if self._clock.seconds() < self._ask_for_contract_at.get(contract_id, 0.0):
            return
        self._ask_for_contract_at[contract_id] = math.inf
        self._gateway.follow_quotes(contract_id)
        asked = Deferred.fromCoroutine(self._learn_contract(contract_id))
        asked.addErrback(self._could_not_learn, contract_id)

    def _could_not_learn(self, failure: Failure, contract_id: str) -> None:
        # Whoever mentions it then asks again, but not with each quote: there are not enough requests.
        self._ask_for_contract_at[contract_id] = self._clock.seconds() + CONTRACT_AGAIN_SECONDS
        if failure.check(GatewayError, MappingError) is not None:
            _log.error(
                "no tick size for {contract}, its P&L is unknown: {error}",
                contract=contract_id,
                error=failure.value,
            )
        elif failure.check(CancelledError) is None:
            # A request that waits while the daemon stops is given up.
            _log.failure("asking for contract {id}", failure, id=contract_id)

    async def _learn_contract(self, contract_id: str) -> None:
        contract = mapping.contract(
            await self._ask("Contract/searchById", self._gateway.search_contract(contract_id))
        )
        for guarded in self.accounts.values():
            guarded.account.add_contract(contract)
            # What could not be told of its positions before can be told now.
            guarded.risk_engine.review()


def _gravity(source: str) -> int:
    """Return how much what a source says matters beside what others say."""
    for gravity, beginning in enumerate(_FOLLOWING):
        if source.startswith(beginning):
            return gravity
    return len(_FOLLOWING)


def _is_to_be_guarded(state: AccountState, now: datetime) -> bool:
    return is_locked(state, now) or state.risk.flattening is not None


def _label(gateway: IGateway) -> str:
    name: str = gateway.name
    return _LABELS.get(name, name)
