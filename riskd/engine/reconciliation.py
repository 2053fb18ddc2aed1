"""Reconcile accounts: take over what the broker says each of them holds.

That is done at the start, regularly, and on request.

Events may be lost, and a daemon may start in the middle of a day.  What the broker no longer lists has
ended, although no event reported it.  The broker's searches trail its events by a moment, so a position or an
order that an event has just reported is newer than the answer to a search, and stays as it is.

A locked account is reconciled every five seconds, an account in doubt (:mod:`riskd.engine.order_of_truth`)
within the next five, and any account once a minute, because an event may be lost.  While events are known to
be lost, every account is reconciled every five seconds, and its rules are evaluated once after each
reconciliation: in between the state may be wrong.

Enforcement has its share of the requests that the broker answers in a minute; reconciliation waits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.broker import Broker
from riskd.engine.enforcement.flattening import Listing
from riskd.engine.enforcement.orders import UNKNOWN_ORDER
from riskd.engine.guarded_account import GuardedAccount
from riskd.engine.intake import errors_logged
from riskd.engine.order_of_truth import thing_of
from riskd.engine.together import together
from riskd.engine.tracked_account import TrackedAccount, missing_orders, missing_positions
from riskd.gateway.interface import (
    Found,
    GatewayError,
    GatewayRefusedError,
    GatewayUnansweredError,
    GatewayUnreadableError,
)
from riskd.host.timing import done_within, lasting_loop
from riskd.model.bounds import MOST_ORDERS, MOST_POSITIONS, MOST_TRADES
from riskd.model.broker import BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.ended_days import schedule_of

_log = Logger()

REQUESTS: Final = 4
"""How many reads a reconciliation takes, if no order has vanished."""

_DAY: Final = timedelta(days=1)

RETRY_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 10.0)
"""How long to wait before each further try to begin; the last is repeated."""

ROUND_SECONDS: Final = 5.0
"""How often a locked account is reconciled."""

FULL_ROUND: Final = 12
"""Any account is reconciled once in this many rounds."""

MOST_EVALUATED: Final = 100
"""The most positions and orders of an answer on each of which the rules are evaluated by itself."""

MOST_LOOKED_UP: Final = 20
"""How many orders that are gone are looked up, each by a request; what they were costs no more than a list."""

_WORK_A_TURN: Final = 1000
"""How much of an answer is applied in one turn of the reactor; a change of a small account is 20."""

_FULL_SECONDS: Final = (FULL_ROUND - 0.5) * ROUND_SECONDS

_SOURCES: Final = ("begin", "reconciliation", "permission", "number", "reading")
"""How the sources of this module's problems begin; the account id follows."""


class ReconciliationLoop:
    """Decides when each account is reconciled and its rules are evaluated.

    :param accounts: by account id.
    :param configured: the accounts that the configuration names; the others are followed only until
        they are unlocked, and given up when the broker does not know them.
    :param broker: the broker.
    :ivar is_feed_lost: whether the gateway's events are being lost.
    :ivar trail: how many seconds searches may trail events.
    """

    def __init__(
        self,
        accounts: Mapping[int, GuardedAccount],
        configured: frozenset[int],
        broker: Broker,
    ) -> None:
        self._accounts = accounts
        self._configured = configured
        self._broker = broker
        self.is_feed_lost = False
        self.trail = 0.0
        self._loop = lasting_loop(broker.clock, self._round, _log)
        self._queue: list[int] = []
        self._given_up: set[int] = set()
        self._failing: set[int] = set()
        # The latest of each account; to cancel one that is done does nothing.
        self._beginning: dict[int, Deferred[None]] = {}
        self._reconciling: dict[int, Deferred[bool | None]] = {}
        self._waiting: dict[int, list[Deferred[bool]]] = {}
        # Enforcement that waits for the next reconciliation to begin.
        self._verifying: dict[int, list[Deferred[Listing | None]]] = {}
        self._asked_at: dict[int, float] = {}

    def start(self) -> None:
        """Begin the rounds; the first one is in five seconds."""
        self._loop.start(ROUND_SECONDS, now=False)

    def stop(self) -> None:
        """End the rounds and all that is under way."""
        if self._loop.running:
            self._loop.stop()
        self.cancel_beginnings()
        for reconciling in tuple(self._reconciling.values()):
            reconciling.cancel()

    # Beginning.

    def begin(self, guarded: GuardedAccount) -> Deferred[None]:
        """Reconcile an account until that succeeds, then let its risk engine begin.

        The Deferred fires when the engine has begun, or when that was canceled or given up.
        """
        account_id = guarded.account.account_id
        if account_id in self._beginning:
            # If it is still under way, it may have missed events that were lost since it began.
            self._beginning[account_id].cancel()
        begun = Deferred.fromCoroutine(self._begin(guarded))
        self._beginning[account_id] = begun
        return begun.addErrback(_log_failure, account_id)

    def cancel_beginnings(self) -> None:
        """Cancel every :meth:`begin` that has not finished."""
        for beginning in tuple(self._beginning.values()):
            beginning.cancel()

    async def _begin(self, guarded: GuardedAccount) -> None:
        account_id = guarded.account.account_id
        for attempt in itertools.count():
            try:
                await self._ask(guarded)
                break
            except GatewayError as error:
                if account_id not in self._configured and isinstance(error, GatewayRefusedError):
                    _log.error("account {id} is not followed: {error}", id=account_id, error=error)
                    self._given_up.add(account_id)
                    self._end_problems(account_id, _SOURCES)
                    return
                self._broker.report_problem(
                    f"begin {account_id}",
                    f"Nothing guards account {account_id}, the broker does not say what it holds: "
                    f"{error.why}",
                )
                wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
                await deferLater(self._broker.clock, wait)
        self._given_up.discard(account_id)
        with errors_logged("review at the start"):
            guarded.risk_engine.begin()
        self._end_problems(account_id, ("begin", "reconciliation"))

    def _end_problems(self, account_id: int, sources: tuple[str, ...]) -> None:
        self._failing.discard(account_id)
        for source in sources:
            self._broker.report_problem(f"{source} {account_id}", "")

    # Reconciling again.

    def _round(self) -> None:
        now = self._broker.clock.seconds()
        self._queue += [each for each in self._accounts if each not in self._queue]
        # An account that is reconciled goes to the end of the queue.  So all have their turn, though the
        # broker may have no room for all of them in one round.
        for account_id in tuple(self._queue):
            guarded = self._accounts[account_id]
            is_guarded = guarded.risk_engine.is_active or (
                self.is_feed_lost and account_id not in self._given_up
            )
            # Rounds come a little early or late.
            is_due = now - self._asked_at.get(account_id, -math.inf) > _FULL_SECONDS
            if is_guarded and (
                is_due
                or self.is_feed_lost
                or guarded.account.truth.doubt_since is not None
                or guarded.balances.asks()
                or guarded.risk_engine.needs_reconciliation()
            ):
                if not self._broker.gateway.has_room(REQUESTS):
                    return
                self._queue.remove(account_id)
                self._queue.append(account_id)
                self.request(guarded)

    async def verify(self, guarded: GuardedAccount, *, at_once: bool) -> Listing:
        """Reconcile an account by new requests; return what the broker lists.

        :param at_once: whether to ask now, if the broker has room for more requests; otherwise the next
            reconciliation that is due serves, if one begins within the time of a round.
        :raises GatewayError: the broker does not say.
        """
        account_id = guarded.account.account_id
        if not at_once or not self._broker.gateway.has_room(REQUESTS):
            next_one: Deferred[Listing | None] = Deferred()
            verifying = self._verifying.setdefault(account_id, [])
            verifying.append(next_one)
            if await done_within(ROUND_SECONDS + 1, next_one, self._broker.clock):
                listing = await next_one
                if listing is not None:
                    return listing
            elif next_one in verifying:
                verifying.remove(next_one)
        return await self._ask(guarded, urgent=True)

    async def _ask(self, guarded: GuardedAccount, *, urgent: bool = False) -> Listing:
        """Reconcile an account, and note that."""
        account_id, began = guarded.account.account_id, self._broker.clock.seconds()
        listing = await reconcile(guarded, self._broker, self.trail, urgent=urgent)
        if listing.is_complete:
            guarded.is_reported = True
            if listing.is_account_answered:
                self._asked_at[account_id] = began
            else:
                # A request lost as the connection came back must not be an ERROR for a minute.
                self._asked_at.pop(account_id, None)
        return listing

    def request(self, guarded: GuardedAccount) -> Deferred[bool]:
        """Reconcile an account, or join the reconciliation that is under way.

        The Deferred fires with whether the broker said what the account holds.
        """
        account_id = guarded.account.account_id
        done: Deferred[bool] = Deferred()
        # Before it begins: it may be done, or requested again, within this call.
        self._waiting.setdefault(account_id, []).append(done)
        if len(self._waiting[account_id]) > 1:
            return done

        def reconciled(is_answered: bool | None) -> None:
            for waiting in self._waiting.pop(account_id):
                waiting.callback(bool(is_answered))

        self._reconciling[account_id] = Deferred.fromCoroutine(self._reconcile(guarded))
        self._reconciling[account_id].addErrback(_log_failure, account_id).addBoth(reconciled)
        return done

    async def _reconcile(self, guarded: GuardedAccount) -> bool:
        """Reconcile an account; return whether the broker said what it holds."""
        account_id = guarded.account.account_id
        verifying = self._verifying.pop(account_id, [])

        def hand_on(result: Any) -> Any:
            for each in verifying:
                each.callback(result if isinstance(result, Listing) else None)
            return result

        try:
            # Not in a finally clause: that also runs when an engine that was given up is collected.
            await Deferred.fromCoroutine(self._ask(guarded)).addBoth(hand_on)
        except GatewayError as error:
            if account_id in self._given_up:
                # It was given up while this request was under way.
                return False
            if account_id not in self._failing:
                # A long outage is not a line of the log every few seconds.
                _log.warn("reconciling account {id}: {error}", id=account_id, error=error)
            self._failing.add(account_id)
            guard = "Nothing guards" if self.is_feed_lost else "Only events guard"
            self._broker.report_problem(
                f"reconciliation {account_id}",
                f"{guard} account {account_id}, the broker does not say what it holds",
            )
            return False
        self._end_problems(account_id, ("reconciliation",))
        if self.is_feed_lost:
            guarded.risk_engine.visit()
        else:
            guarded.risk_engine.review()
        return True


def _log_failure(failure: Failure, account_id: int) -> None:
    if failure.check(CancelledError) is None:
        _log.failure("reconciling account {id}: internal error", failure, id=account_id)


class _Permission(NamedTuple):
    """What came of asking for an account's permission and balance.

    :ivar problem: why one of them is unknown; "" if both are known.
    :ivar is_answered: whether the gateway answered, be it by refusing.
    """

    problem: str = ""
    is_answered: bool = True


class _Answers(NamedTuple):
    """What the broker says of an account.

    :ivar began: when the first request was sent, in steady seconds.
    :ivar trades: ``None`` if they were not asked for, or not answered.
    """

    began: float
    permission: _Permission
    positions_at: float
    positions: Found[BrokerPosition]
    orders_at: float
    orders: Found[BrokerOrder]
    trades_at: float
    trades: Found[BrokerTrade] | None


async def reconcile(
    guarded: GuardedAccount, broker: Broker, trail: float, *, urgent: bool = False
) -> Listing:
    """Make an account's state what the gateway says, and evaluate each difference.

    :param trail: by how many seconds searches may trail events.
    :param urgent: whether to send all requests at once, for enforcement waits for the positions and orders; the
        other two are left out while the broker has no room for them.
    :return: what the broker lists as open.
    :raises GatewayError: a request was refused or not answered; the answers before it are applied.
    """
    ask = _ask_at_once if urgent else _ask_in_turn
    answers = await ask(guarded.account, broker)
    await _apply(guarded, broker, answers, trail)
    trades = answers.trades
    if trades is not None:
        lists = (trades, answers.positions)
        is_complete = not any(each.unreadable or each.beyond for each in lists)
        guarded.balances.searched(answers.trades_at, is_complete=is_complete)
        guarded.account.is_week_listed |= is_complete
    return Listing(
        answers.began,
        answers.positions,
        answers.orders,
        answers.trades is not None,
        answers.permission.is_answered,
    )


async def _ask_in_turn(account: TrackedAccount, broker: Broker) -> _Answers:
    account_id, gateway, seconds = account.account_id, broker.gateway, broker.clock.seconds
    began = seconds()
    permission = await _reconcile_permission(account, broker)
    positions_at = seconds()
    held = await broker.ask("Position/searchOpen", gateway.search_open_positions(account_id))
    orders_at = seconds()
    working = await broker.ask("Order/searchOpen", gateway.search_open_orders(account_id))
    trades_at = seconds()
    trades = await _search_trades(account, broker)
    return _Answers(began, permission, positions_at, held, orders_at, working, trades_at, trades)


async def _ask_at_once(account: TrackedAccount, broker: Broker) -> _Answers:
    account_id, gateway, began = account.account_id, broker.gateway, broker.clock.seconds()
    positions: Any = broker.ask(
        "Position/searchOpen", gateway.search_open_positions(account_id, urgent=True)
    )
    orders: Any = broker.ask(
        "Order/searchOpen", gateway.search_open_orders(account_id, urgent=True)
    )
    if not broker.gateway.has_room(REQUESTS):
        held, working = await together(positions, orders)
        return _Answers(began, _Permission(), began, held, began, working, began, None)
    permission, held, working, trades = await together(
        _reconcile_permission(account, broker), positions, orders, _trades_if_any(account, broker)
    )
    return _Answers(began, permission, began, held, began, working, began, trades)


async def _search_trades(account: TrackedAccount, broker: Broker) -> Found[BrokerTrade]:
    # A time window of a rule may have begun before the trading day, and trades of then may be voided now.
    day_ago = broker.now() - _DAY
    since = min(account.state.day_began or day_ago, day_ago)
    if not account.is_week_listed:
        # What was executed in this week before riskd knew the account.
        since = min(since, schedule_of(account.state).week_start(broker.now()))
    if account.is_balance_open or account.state.balance.other is not None:
        # A void of any trade that is remembered may explain the balance, and no event may have told of it.
        since = min([since, *(each.at for each in account.state.risk.results.values())])
    answer = broker.gateway.search_trades(account.account_id, since)
    return await broker.ask("Trade/search", answer)


async def _trades_if_any(account: TrackedAccount, broker: Broker) -> Found[BrokerTrade] | None:
    """Return the trades; ``None`` without an answer: what is open is more urgent."""
    try:
        return await _search_trades(account, broker)
    except GatewayError as error:
        _log.warn("account {id}: {error}", id=account.account_id, error=error)
        return None


class _Pace:
    """Lets the reactor go on while a long answer is applied.

    It counts what was done and not the time: a recorded day must take the same turns again.
    """

    def __init__(self, account: TrackedAccount, broker: Broker) -> None:
        self._account = account
        self._clock = broker.clock
        self._before = account.state
        self._work = 0

    async def applied(self) -> None:
        """Count what was applied; if that is enough for a turn, wait for the next."""
        state = self._account.state
        # What changes the state is copied into it and evaluated; what is known is compared.
        if state is self._before:
            self._work += 1
        else:
            things = len(state.orders) + len(state.positions) + len(state.risk.charges) // 8
            self._work += 20 + things
            self._before = state
        if self._work >= _WORK_A_TURN:
            self._work = 0
            await deferLater(self._clock, 0)


async def _apply(guarded: GuardedAccount, broker: Broker, answers: _Answers, trail: float) -> None:
    account, account_id, truth = guarded.account, guarded.account.account_id, guarded.account.truth
    trades = Found[BrokerTrade](()) if answers.trades is None else answers.trades
    held, working = answers.positions, answers.orders
    if not (held.unreadable or held.beyond):
        truth.listed("position", answers.positions_at)
    if not (working.unreadable or working.beyond):
        truth.listed("order", answers.orders_at)
    pace = _Pace(account, broker)
    with guarded.balances.listing(answers.began):
        is_evaluated = await _apply_trades_and_positions(guarded, broker, answers, trail, pace)
    vanished = [
        order
        for order in missing_orders(account.state, working)
        if truth.covers(thing_of(order), answers.orders_at, trail)
    ]
    for order in vanished[MOST_LOOKED_UP:]:
        # An event may have reported its end meanwhile.
        if account.state.orders.get(order.id) is order:
            account.end_vanished(order, answers.orders_at)
        await pace.applied()
    if len(vanished) > MOST_LOOKED_UP:
        _log.warn(
            "account {id}: {number} orders are gone, and all but {most} count as canceled unasked",
            id=account_id,
            number=len(vanished),
            most=MOST_LOOKED_UP,
        )
    if vanished:
        # The answers may be late or fail, and limits on the net P&L have waited for the trades and positions.
        guarded.risk_engine.review()
    ends = [
        await _reconcile_vanished(account, order, broker) for order in vanished[:MOST_LOOKED_UP]
    ]
    for order in working.items:
        broker.apply(account_id, order, answers.orders_at, is_evaluated=is_evaluated)
        await pace.applied()
    if not is_evaluated:
        guarded.risk_engine.review()
    if answers.trades is None:
        return
    truth.settled(answers.began, trail)
    broker.report_problem(f"permission {account_id}", answers.permission.problem)
    broker.report_problem(
        f"number {account_id}",
        f"The broker lists more of account {account_id} than riskd follows ({MOST_POSITIONS} open positions, "
        f"{MOST_ORDERS} working orders, {MOST_TRADES:,} trades), and the rules do not see the rest"
        if any(each.beyond for each in (held, working, trades))
        else "",
    )
    unreadable = (*held.unreadable, *working.unreadable, *trades.unreadable)
    is_all_read = all(ends) and not unreadable
    broker.report_problem(
        f"reading {account_id}",
        ""
        if is_all_read
        else f"Not all that the gateway says of account {account_id} can be read, and the rules "
        "do not see the rest; the log says what",
    )


async def _apply_trades_and_positions(
    guarded: GuardedAccount, broker: Broker, answers: _Answers, trail: float, pace: _Pace
) -> bool:
    """Apply what is listed; return whether rules are evaluated on each thing."""
    account, account_id, truth = guarded.account, guarded.account.account_id, guarded.account.truth
    held = answers.positions
    for trade in answers.trades.items if answers.trades is not None else ():
        broker.apply(account_id, trade, answers.trades_at)
        await pace.applied()
    closed = [
        account.close_vanished(position, answers.positions_at)
        for position in missing_positions(account.state, held)
        if truth.covers(thing_of(position), answers.positions_at, trail)
    ]
    # Of very many, the rules see all at once.
    is_evaluated = len(closed) + len(held.items) + len(answers.orders.items) <= MOST_EVALUATED
    # Only when all are closed: the rules must not see a position that is gone.
    for position in closed:
        guarded.risk_engine.receive(position, is_evaluated=is_evaluated)
    for position in held.items:
        broker.apply(account_id, position, answers.positions_at, is_evaluated=is_evaluated)
        await pace.applied()
    return is_evaluated


async def _reconcile_permission(account: TrackedAccount, broker: Broker) -> _Permission:
    """Apply permission and balance.

    An account that the broker listed once and does not list any more goes on being guarded.

    :raises GatewayError: the gateway does not say, and never has.
    """
    account_id = account.account_id
    sent_at = broker.clock.seconds()
    try:
        found = await broker.ask("Account/search", broker.gateway.search_account(account_id))
    except GatewayUnreadableError:
        return _Permission(
            f"What the gateway says of account {account_id} itself cannot be read; see the log"
        )
    except GatewayError as error:
        if account.state.risk.can_trade is None:
            raise
        return _Permission(
            f"The gateway does not say whether account {account_id} may trade: {error}",
            is_answered=not isinstance(error, GatewayUnansweredError),
        )
    broker.apply(account_id, found, sent_at)
    if found.unreadable:
        return _Permission(
            f"The broker's balance of account {account_id} cannot be read: {found.unreadable}"
        )
    return _Permission()


async def _reconcile_vanished(account: TrackedAccount, order: BrokerOrder, broker: Broker) -> bool:
    """Apply what became of a vanished order; return whether that could be read.

    :raises GatewayError: the gateway does not say.
    """
    sent_at, is_read = broker.clock.seconds(), True
    try:
        found = await broker.ask(
            "Order/searchById", broker.gateway.search_order(account.account_id, order.id)
        )
    except GatewayUnreadableError as error:
        is_read = False
        _log.error("order {id} counts as canceled: {error}", id=order.id, error=error)
    except GatewayRefusedError as refusal:
        if refusal.code != UNKNOWN_ORDER:
            raise
        _log.warn(
            "order {id} is unknown to the gateway and counts as canceled: {refusal}",
            id=order.id,
            refusal=refusal,
        )
    else:
        broker.apply(account.account_id, found, sent_at)
        return True
    # However it ended, an order that is gone protects nothing.
    if account.state.orders.get(order.id) is order:
        account.end_vanished(order, sent_at)
    return is_read
