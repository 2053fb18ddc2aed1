"""Apply, journal and broadcast each change of one account's state.

What the broker can send again is applied and broadcast at once, and journaled within a second.  What only
riskd knows, such as a lock, must be on the disk before a client learns of it.  In between it is pending,
and so there are two states:

- ``state`` is what clients know: all that was applied and broadcast.
- ``state_with_pending`` is what riskd has decided: ``state`` with the pending announcements applied.  The
  journal writes this state, and the rules are evaluated on it.  Otherwise a slow disk would delay a lock,
  and the rules would decide the same again until it was written.

Code that asks whether the account is locked reads ``state_with_pending``; code that handles the broker's
positions, orders and trades may read ``state``, which is cheaper: of all announcements only a daily reset
changes those.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from riskd.engine.corrections import is_amended
from riskd.engine.order_of_truth import OrderOfTruth
from riskd.gateway.interface import Found
from riskd.journal.audit_log import SETTINGS
from riskd.journal.interface import IJournal
from riskd.model.account import (
    AccountState,
    BestBidAsk,
    Limit,
    LogEntry,
    Unmatched,
    apply,
    apply_quote,
    begin_day,
    is_entry,
    is_opened,
    merge,
    says_the_same,
    with_day_figures,
    with_risk,
    without_trade,
)
from riskd.model.balance import Balance, gathered_since
from riskd.model.bounds import (
    MORE_BY_EVENTS,
    MOST_CONTRACTS,
    MOST_ORDERS,
    MOST_POSITIONS,
    MOST_TRADES,
)
from riskd.model.broker import (
    BrokerOrder,
    BrokerPosition,
    BrokerTrade,
    is_same_on_wire,
    on_wire,
)
from riskd.model.commitment import COMMITMENT
from riskd.model.contracts import Contract
from riskd.model.day_figures import DayFigures
from riskd.model.equity import (
    after_exit_trade,
    after_increase,
    after_position,
    beyond_position,
    closed_contracts,
    with_highs,
    with_lasting_closes,
)
from riskd.model.events import (
    DailyReset,
    EnforcementAction,
    Event,
    EventData,
    LockoutCleared,
    LockoutSet,
    MarketQuote,
    OrderState,
)
from riskd.model.exact_json import encode_json
from riskd.model.moments import is_placeholder
from riskd.model.open_pnl import STALE_AFTER
from riskd.model.reduce_only import REDUCE_ONLY
from riskd.model.settings_changes import CHANGES
from riskd.model.unlocks import UNLOCKED, last_unlock, time_after
from riskd.model.wire import encode_data

_log = Logger()

_LOGGED: Final = (LockoutSet, LockoutCleared, DailyReset)
"""What goes to the journal's audit log; enforcement actions have a table of their own."""

_DURABLE_FIRST: Final[dict[type, str]] = {
    LockoutSet: "locked_at",
    LockoutCleared: "cleared_at",
    DailyReset: "reset_time",
    EnforcementAction: "timestamp",
}
"""What only riskd knows, and the field with its time; the journal has it before it is broadcast."""

_NO_LIMITS: Final = (UNLOCKED, REDUCE_ONLY, CHANGES, COMMITMENT)
"""Names among the limits in force of what is no setting."""

_MAX_REMEMBERED: Final = 4096
"""How many trades of earlier days are remembered, so that a late copy is not taken for news."""

_MAX_LOG: Final = 256
"""How many entries of the audit log are kept in memory, long after they were written."""

ENTRY_SECONDS: Final = 5.0
"""So long after an entry, a feed that still repeats the price of before has no other one."""

EARLY_SECONDS: Final = 1.0
"""How long after an exit the position that it has closed may be reported; it takes a tenth of a second."""


class TrackedAccount:
    """One account's state, and all ways to change it.

    :param account_id: the account.
    :param watch: tickers whose quotes are broadcast even while the account holds nothing in them.
    :param journal: what survives the daemon.
    :param broadcast: sends an event to all clients.
    :param now: gives the broker's time, aware.
    :param seconds: gives the seconds of the steady clock.
    :ivar state: what is known of the account, without pending announcements.
    :ivar truth: decides which news of the broker apply.
    :ivar is_balance_open: whether the broker's latest balance is neither confirmed nor explained yet, so that no
        equity is a high.
    :ivar is_week_listed: whether this run has read all trades of the week.
    :ivar unmatched_at: when an exit was last shown by a trade or a position alone, in steady seconds.
    :ivar wants_changed: called when :meth:`wants_quotes` may have changed.
    """

    def __init__(
        self,
        account_id: int,
        watch: Iterable[str],
        journal: IJournal,
        broadcast: Callable[[Event], None],
        now: Callable[[], datetime],
        seconds: Callable[[], float],
    ) -> None:
        self.account_id = account_id
        self._now = now
        self._seconds = seconds
        self.truth = OrderOfTruth()
        self._entered_at: dict[str, float] = {}
        self._journaled_quotes: dict[str, MarketQuote] = {}
        self._past_trades: dict[int, datetime | None] = {}
        self._cleared_at: datetime | None = None
        self.watch = frozenset(watch)
        self.wants_changed: Callable[[], None] = lambda: None
        self._journal = journal
        self._broadcast = broadcast
        self._pending: list[EventData] = []
        self.is_balance_open = self.is_week_listed = False
        self.unmatched_at = -math.inf
        # The contracts that trades have closed while no position was known, and when, by contract id.
        self._early: dict[str, tuple[int, float]] = {}
        # The published copy or the journal, as it was taken over last.
        self._recovered: AccountState | None = None
        self.state = AccountState(account_id=account_id)

    @property
    def state_with_pending(self) -> AccountState:
        """The state with all pending announcements applied; see the module's docstring."""
        state = self.state
        for data in self._pending:
            state = apply(state, Event(self.account_id, data))
        return state

    # What the gateway reports.

    def update_quote(self, quote: MarketQuote) -> None:
        """Apply a quote; broadcast it if it is news."""
        if self._entered_at and self._is_older_than_entry(quote):
            return
        if self._journaled_quotes:
            self._forget_journaled_quote(quote.contract_id)
        after = apply_quote(self.state, quote)
        if after is not self.state:
            self.state = after
            self._journal.changed(only_quotes=True)
            self._broadcast(Event(self.account_id, quote))

    def update(self, reported: BrokerTrade | BrokerPosition | BrokerOrder) -> bool:
        """Apply what the broker reported; return whether it is news to the rules.

        It is broadcast if it is news to the clients; the wire lacks some of the broker's fields.
        """
        if isinstance(reported, BrokerTrade):
            return self._update_trade(reported)
        state = self.state
        known: BrokerPosition | BrokerOrder | None
        if isinstance(reported, BrokerPosition):
            known = state.positions.get(reported.contract_id)
        else:
            known = state.orders.get(reported.id)
        data = _dated(reported, known, self._now())
        after = apply(state, Event(self.account_id, data))
        if after is state:
            return False
        if isinstance(data, BrokerPosition) and is_entry(
            state.positions.get(data.contract_id), data
        ):
            self._entered_at[data.contract_id] = self._seconds()
        # A repeat is applied, too: what the wire carries next must not be older.
        self._become(after)
        if isinstance(data, BrokerPosition):
            early = self._take_early(data.contract_id, closed_contracts(state, data))
            self._match_exits(after_position(state, data, early))
            self.note_in_memory(carried=after_increase(state, data))
        if len(after.positions) > MOST_CONTRACTS:
            self._become(_without_oldest_flat(self.state))
        self._journal.changed()
        if known is not None and says_the_same(known, data):
            return False
        if known is None or not is_same_on_wire(known, data):
            self._note_and_broadcast(on_wire(data))
        return True

    def update_found_position(self, position: BrokerPosition) -> bool:
        """Apply a position that the broker's answer lists, as :meth:`update` does.

        It may have been opened long before.  Then a quote that is stamped later is not outdated.
        """
        contract_id = position.contract_id
        known = self.state.positions.get(contract_id)
        is_news = self.update(position)
        quote = self.state.quotes.get(contract_id)
        if (
            quote is not None
            and quote is self.state.outdated_quotes.get(contract_id)
            and is_opened(known, position)
            and not is_placeholder(position.created_at)
            and position.created_at <= quote.timestamp
        ):
            self.confirm_quote(contract_id)
        return is_news

    def confirm_quote(self, contract_id: str) -> None:
        """Note that the quote of before a position is still that of now."""
        others = {
            key: old for key, old in self.state.outdated_quotes.items() if key != contract_id
        }
        self._change(outdated_quotes=others)

    def _update_trade(self, reported: BrokerTrade) -> bool:
        """Apply a full-turn trade, or the broker's last word on it; it is broadcast once.

        A change of a field that the wire lacks is no news to the rules; charges are kept apart.
        """
        if reported.id in self._past_trades:
            return False
        known = self.state.trades.get(reported.id)
        if known is None:
            received = time_after(last_unlock(self.state), self._now())
        else:
            received = known.timestamp
        trade = msgspec.structs.replace(reported, timestamp=received)
        after = apply(self.state, Event(self.account_id, trade))
        if after is self.state:
            return False
        before, self.state = self.state, after
        self._journal.changed()
        if known is None:
            self._note_early(before, trade)
            self._match_exits(after_exit_trade(before, trade))
            self._note_and_broadcast(on_wire(trade))
            return True
        return is_amended(known, trade)

    def _note_and_broadcast(self, data: EventData) -> None:
        event = Event(self.account_id, data)
        self._journal.note_event(event)
        self._broadcast(event)

    def _note_early(self, before: AccountState, trade: BrokerTrade) -> None:
        """Note an exit of a position that was opened just now and is not known yet."""
        contract_id = trade.contract_id
        position = before.positions.get(contract_id)
        if (position is None or not position.size) and (early := beyond_position(before, trade)):
            known = self._take_early(contract_id, MOST_CONTRACTS)
            self._early[contract_id] = known + early, self._seconds()

    def _take_early(self, contract_id: str, closed: int) -> int:
        """Use up early exits; return how many of so many closed contracts they show."""
        count, at = self._early.pop(contract_id, (0, -math.inf))
        if self._seconds() - at > EARLY_SECONDS:
            return 0
        taken = min(count, closed)
        if taken < count:
            self._early[contract_id] = count - taken, at
        return taken

    def _match_exits(self, unmatched: Mapping[str, Unmatched]) -> None:
        if unmatched != self.state.risk.unmatched:
            self.unmatched_at = self._seconds()
            self.note_in_memory(unmatched=unmatched)

    def raise_highs(self) -> None:
        """Raise the highs that trailing limits follow to what the equity is now."""
        after = with_highs(self.state, is_balance_open=self.is_balance_open)
        if after is not self.state:
            self.state = after
            self._journal.changed(only_quotes=True)

    def change_balance(
        self, balance: Balance, days: Mapping[date, DayFigures] | None = None, **risk: Any
    ) -> None:
        """Change the balance, the figures of ended days, and what only the daemon needs."""
        days = self.state.days if days is None else days
        if risk or balance != self.state.balance or days != self.state.days:
            self.state = with_risk(self.state, **risk)
            self._change(balance=balance, days=days)

    def note_in_memory(self, **changes: Any) -> None:
        """Change what is not journaled; see :class:`riskd.model.account.RiskState`."""
        self.state = with_risk(self.state, **changes)

    def update_best_bid_ask(self, contract_id: str, best_bid_ask: BestBidAsk) -> None:
        """Keep bid and ask of a contract without a last price."""
        if self.state.risk.best_bid_asks.get(contract_id) != best_bid_ask:
            self.change_risk(
                best_bid_asks={**self.state.risk.best_bid_asks, contract_id: best_bid_ask}
            )

    def close_vanished(self, position: BrokerPosition, sent_at: float) -> BrokerPosition:
        """Close a position that the broker does not list; return it as it is now.

        :param sent_at: when the request for the list was sent, in steady seconds.
        """
        self.truth.ended(("position", position.contract_id), sent_at, position.opening)
        self.update(msgspec.structs.replace(position, size=0, stamp=None))
        return self.state.positions[position.contract_id]

    def end_vanished(self, order: BrokerOrder, sent_at: float) -> None:
        """End an order that the broker does not list; it counts as canceled."""
        self.truth.ended(("order", order.id), sent_at)
        self.update(msgspec.structs.replace(order, state=OrderState.CANCELED, stamp=None))

    def _remember_past_trades(self, before: AccountState) -> None:
        """Remember the trades of the day that ended: late copies must not count."""
        for trade_id, trade in before.trades.items():
            if trade_id not in self.state.trades:
                self._past_trades[trade_id] = trade.execution_time
        while len(self._past_trades) > _MAX_REMEMBERED:
            del self._past_trades[next(iter(self._past_trades))]

    def void_trade(self, trade_id: int) -> bool:
        """Remove a trade that the broker voided; return whether it had counted."""
        self._past_trades[trade_id] = None
        before, self.state = self.state, without_trade(self.state, trade_id)
        if self.state is before:
            return False
        self._journal.changed()
        risk = before.risk
        return any(trade_id in each for each in (before.trades, risk.charges, risk.earlier_trades))

    def add_contract(self, contract: Contract) -> None:
        """Keep what the gateway says of a contract."""
        self._change(contracts={**self.state.contracts, contract.id: contract})

    def watch_for(self, tickers: Iterable[str]) -> None:
        """Watch other tickers from now on."""
        self.watch = frozenset(tickers)
        self.wants_changed()

    def wants_quotes(self, contract_id: str) -> bool:
        """Return whether this account's clients receive the contract's quotes."""
        contract = self.state.contract(contract_id)
        is_watched = contract is not None and contract.root in self.watch
        return is_watched or self.state.holds_or_works(contract_id)

    def _forget_journaled_quote(self, contract_id: str) -> None:
        """Forget a quote of an earlier run, if it is still the latest.

        What is received now is newer, whatever the two stamps say.
        """
        journaled = self._journaled_quotes.pop(contract_id, None)
        if journaled is not None and self.state.quotes.get(contract_id) is journaled:
            others = {key: each for key, each in self.state.quotes.items() if key != contract_id}
            self.state = msgspec.structs.replace(self.state, quotes=others)

    def has_just_entered(self, contract_id: str) -> bool:
        """Return whether prices from before a position may still be under way."""
        entered_at = self._entered_at.get(contract_id)
        return entered_at is not None and self._seconds() - entered_at < ENTRY_SECONDS

    def _is_older_than_entry(self, quote: MarketQuote) -> bool:
        """Return whether a quote is late: it is stamped before its position was opened.

        Their stamps may be those of two clocks, so they are compared only for a while.
        """
        entered_at = self._entered_at.get(quote.contract_id)
        if entered_at is None:
            return False
        if self._seconds() - entered_at > STALE_AFTER.seconds:
            del self._entered_at[quote.contract_id]
            return False
        position = self.state.positions[quote.contract_id]
        return bool(position.size) and quote.timestamp < position.created_at

    # What riskd announces.

    def announce(self, *news: EventData) -> Deferred[None]:
        """Apply and broadcast what riskd itself has found or done.

        If only riskd knows any of it, all of it is journaled first, in one write.  The Deferred fires when
        all is broadcast, and published if it was journaled first.
        """
        self._pending += news
        for data in news:
            self._journal.note_event(Event(self.account_id, data))
            if isinstance(data, _LOGGED) or _is_of_an_earlier_day(self.state, data):
                self.log(_moment(data), Event(self.account_id, data).type, encode_data(data))
        if not any(type(data) in _DURABLE_FIRST for data in news):
            self._broadcast_pending(news)
            return succeed(None)
        written = self._journal.make_durable()

        def broadcast(_why_not: str) -> Deferred[None]:
            self._broadcast_pending(news)
            return self._journal.published()

        return written.addCallback(broadcast).addErrback(
            lambda failure: _log.failure("announcing {news}: internal error", failure, news=news)
        )

    def _broadcast_pending(self, news: tuple[EventData, ...]) -> None:
        for data in news:
            # By identity: two may be equal, and each is broadcast.
            self._pending = [other for other in self._pending if other is not data]
            event = Event(self.account_id, data)
            self.apply(event)
            self._broadcast(event)

    def apply(self, event: Event) -> None:
        """Apply ``event`` without broadcasting it."""
        before = self.state
        self._become(apply(before, event))
        if isinstance(event.data, DailyReset):
            self._remember_past_trades(before)
            self.state = with_day_figures(self.state)
        if isinstance(event.data, LockoutCleared):
            self._cleared_at = event.data.cleared_at
        self._journal.changed()

    def log(self, at: datetime, kind: str, data: str) -> None:
        """Add an entry to the audit log; ``data`` is a JSON object."""
        entries = (*self.state.risk.log, LogEntry(at, kind, data))
        self.change_risk(log=entries[-_MAX_LOG:])

    def note(self, kind: str, **facts: Any) -> None:
        """Add an entry with the present time to the audit log.

        :param kind: see :class:`riskd.journal.audit_log.LogLine`.
        """
        self.log(self._now(), kind, encode_json(facts).decode())

    def change_risk(self, **changes: Any) -> None:
        """Change what only the daemon needs; see :class:`riskd.model.account.RiskState`."""
        self._change(risk=msgspec.structs.replace(self.state.risk, **changes))

    def set_limits(self, limits: Mapping[str, Limit], *, is_noted: bool = False) -> None:
        """Keep the limits in force, for the journal and the consoles.

        :param is_noted: whether a change of them is an entry of the audit log.
        """
        before = self.state.limits
        if before != limits:
            self._change(limits=limits)
            if is_noted:
                self._note_settings(before)

    def _note_settings(self, before: Mapping[str, Limit]) -> None:
        """Keep in the journal which settings in force have changed."""
        after = self.state.limits
        for rule_id in sorted({*before, *after}):
            old, new = before.get(rule_id), after.get(rule_id)
            if old != new and rule_id not in _NO_LIMITS:
                key = (new or old or Limit("", "")).key
                self.note(
                    SETTINGS, rule_id=rule_id, key=key, before=_settings(old), after=_settings(new)
                )

    def count_since(self, began: datetime) -> None:
        """Count the trades of the day that began at ``began``; announce no reset."""
        self.state = with_day_figures(begin_day(self.state, began))
        # A day that a wrong clock had begun is undone, and its trades may come again.
        self._past_trades = {
            number: at for number, at in self._past_trades.items() if at is None or at < began
        }
        self._journal.changed()

    def make_durable(self) -> Deferred[str]:
        """Journal the state; fires with why it is not on the disk, empty if it is."""
        return self._journal.make_durable()

    def recover(self, known: AccountState) -> None:
        """Take over the journaled state.

        What the gateway has reported since replaces all of it but locks.  While the journal cannot be read, the
        published copy takes its place, and the journal is taken over later.
        """
        cleared = self._cleared_at
        if cleared is not None:
            # A journal that opens late still has locks that were cleared meanwhile.
            locks = {key: lock for key, lock in known.lockouts.items() if lock.locked_at > cleared}
            known = msgspec.structs.replace(known, lockouts=locks)
        self._journaled_quotes = {
            key: quote for key, quote in known.quotes.items() if key not in self.state.quotes
        }
        news = [lock for rule, lock in known.lockouts.items() if rule not in self.state.lockouts]
        earlier, state = self._recovered, self.state
        if earlier is not None:
            is_same_day = earlier.day_began == state.day_began
            own = gathered_since(state.balance, earlier.balance, is_same_day=is_same_day)
            state = msgspec.structs.replace(state, balance=own)
        if state.day_began not in (None, known.day_began):
            # No daily reset will end the journaled day, whose flows and highs are none of this day's.
            known = begin_day(with_lasting_closes(known), state.day_began)
        self._recovered = known
        self._become(with_day_figures(merge(known, state)))
        # Clients that connected before could not read these in the published copy.
        for lockout in news:
            self._note_and_broadcast(lockout)

    def _change(self, **changes: Any) -> None:
        self._become(msgspec.structs.replace(self.state, **changes))
        self._journal.changed()

    def _become(self, after: AccountState) -> None:
        """Take a state in which positions, orders or contracts may be others."""
        before, self.state = self.state, after
        if (
            after.positions is not before.positions
            or after.orders is not before.orders
            or after.contracts is not before.contracts
        ):
            self.wants_changed()


def _settings(limit: Limit | None) -> object:
    """Return settings as plain values, with every fraction as a ``Decimal``."""
    if limit is None:
        return None
    try:
        return _SETTINGS_DECODER.decode(limit.settings)
    except (msgspec.MsgspecError, ValueError):
        # Of another version of riskd.
        return limit.settings


_SETTINGS_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)


def _dated(
    reported: BrokerPosition | BrokerOrder,
    known: BrokerPosition | BrokerOrder | None,
    now: datetime,
) -> BrokerPosition | BrokerOrder:
    """Return a position or an order with the time that the wire carries.

    The time of one position or one order never goes back.

    :param known: the same position or order before.
    """
    changes: dict[str, Any] = {"updated_at": reported.stamp or now}
    if known is not None:
        changes["updated_at"] = max(changes["updated_at"], known.updated_at)
    if (
        isinstance(reported, BrokerPosition)
        and isinstance(known, BrokerPosition)
        and not reported.size
    ):
        # The broker may leave out the side and the price of a closed position.
        changes["type"] = known.type
        # A position that is known to be closed is: a late event that has another price is no news.
        is_final = not known.size and known.opening == reported.opening
        if is_final or not reported.average_price:
            changes["average_price"] = known.average_price
    return msgspec.structs.replace(reported, **changes)


def _without_oldest_flat(state: AccountState) -> AccountState:
    """Return the state without the contract that has been flat for longest."""
    oldest = next(key for key, each in state.positions.items() if not each.size)
    kept = {key: each for key, each in state.positions.items() if key != oldest}
    return msgspec.structs.replace(state, positions=kept)


def _is_of_an_earlier_day(state: AccountState, data: EventData) -> bool:
    """Return whether this is an action of an earlier day.

    The state does not keep such an action, so the audit log must.
    """
    began = state.day_began
    return isinstance(data, EnforcementAction) and began is not None and data.timestamp < began


def _moment(data: EventData) -> datetime:
    moment: datetime = getattr(data, _DURABLE_FIRST[type(data)])
    return moment


def missing_positions(state: AccountState, held: Found[BrokerPosition]) -> list[BrokerPosition]:
    """Return the known open positions that the broker's answer does not list."""
    missing: set[int | str | None] = {each.contract_id for each in state.open_positions}
    missing.difference_update([each.contract_id for each in held.items])
    missing.difference_update([each.contract_id for each in held.unreadable])
    # A set of these would take longer: there may be very many.
    missing.difference_update(held.beyond)
    return [each for each in state.open_positions if each.contract_id in missing]


def missing_orders(state: AccountState, working: Found[BrokerOrder]) -> list[BrokerOrder]:
    """Return the known working orders that the broker's answer does not list."""
    missing: set[int | str | None] = set(state.orders)
    missing.difference_update([each.id for each in working.items])
    missing.difference_update([each.id for each in working.unreadable])
    missing.difference_update(working.beyond)
    return [order for order in state.working_orders if order.id in missing]


def has_room_for(
    state: AccountState, news: BrokerTrade | BrokerPosition | BrokerOrder, *, is_event: bool
) -> bool:
    """Return whether what is reported is known, or one of no more than riskd follows."""
    more = MORE_BY_EVENTS if is_event else 0
    if isinstance(news, BrokerTrade):
        if news.id in state.trades or news.id in state.risk.charges:
            return True
        risk = state.risk
        kept = max(len(risk.charges), len(risk.earlier_trades), len(risk.results) - MOST_TRADES)
        return kept < MOST_TRADES + more
    if isinstance(news, BrokerOrder):
        is_known = news.has_ended or news.id in state.orders
        return is_known or len(state.orders) < MOST_ORDERS + more
    known = state.positions.get(news.contract_id)
    is_known = known is not None and bool(known.size)
    return is_known or not news.size or len(state.open_positions) < MOST_POSITIONS + more
