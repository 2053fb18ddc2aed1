"""Apply the gateway's messages to accounts, and evaluate the rules."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.corrections import Versions, amended_sentence, is_amended, voided_sentence
from riskd.engine.guarded_account import GuardedAccount
from riskd.engine.quote_audience import QuoteAudience
from riskd.engine.tracked_account import TrackedAccount, has_room_for
from riskd.gateway.interface import GatewayError, IGateway
from riskd.gateway.quote_book import QuoteBook
from riskd.gateway.timeouts import answer_in_time
from riskd.journal.audit_log import CORRECTION
from riskd.model.account import (
    AccountState,
    Charge,
    is_outdated,
    is_same_trade,
    with_earlier_trade,
)
from riskd.model.bounds import MOST_CONTRACTS, MOST_ORDERS, MOST_POSITIONS, MOST_TRADES
from riskd.model.broker import (
    BrokerAccount,
    BrokerNews,
    BrokerOrder,
    BrokerPosition,
    BrokerQuote,
    BrokerTrade,
)
from riskd.model.events import MarketQuote
from riskd.model.marks import Doubt, doubt_of
from riskd.model.moments import is_placeholder
from riskd.model.money import ZERO

_log = Logger()

LOOKUP_RETRY_SECONDS: Final = 30.0
"""How long after a failure the gateway is asked for a contract again."""

LOOKUPS: Final = 30
LOOKUP_SECONDS: Final = 60.0
"""How many contracts are looked up in how many seconds, each by a request."""

MAX_STAMP_AHEAD: Final = timedelta(minutes=1)
"""A stamp further ahead of the broker's time is no stamp: it would make all that follows look late.

The estimate of that time may be seconds off, and so may one of the broker's machines.
"""

_TOO_MANY: Final = (
    f"account {{id}}: the broker reports more than riskd follows, which is {MOST_POSITIONS} open positions, "
    f"{MOST_ORDERS} working orders and {MOST_TRADES} trades. Logged once"
)


@contextmanager
def errors_logged(what: str) -> Iterator[None]:
    """Log any error of the block, and go on.

    An internal error must not stop what follows.
    """
    try:
        yield
    except Exception:  # noqa: BLE001
        _log_dropped(what)


def _log_dropped(what: str) -> None:
    _log.failure("dropped a {what}: internal error", what=what)


def stamp_of(news: BrokerNews) -> datetime | None:
    """Return the broker's stamp of an event; ``None`` without one.

    In place of a missing stamp, it is the time of opening or placing, which may be much earlier.
    """
    if isinstance(news, BrokerTrade):
        return news.execution_time
    if isinstance(news, (BrokerOrder, BrokerPosition)):
        return news.stamp or news.created_at
    return None


def _without_future_stamp(news: BrokerNews, now: Callable[[], datetime]) -> BrokerNews:
    """Return news without a stamp that is too far ahead: later news would look late.

    :param now: gives the broker's time; not asked for a trade, of which an answer may list thousands.
    """
    if (
        isinstance(news, (BrokerOrder, BrokerPosition))
        and news.stamp is not None
        and news.stamp > now() + MAX_STAMP_AHEAD
    ):
        return msgspec.structs.replace(news, stamp=None)
    return news


def _dated(
    trade: BrokerTrade, known: BrokerTrade | None, now: Callable[[], datetime]
) -> BrokerTrade:
    """Return a trade with the time of its execution.

    A loss without a date belongs to the day in which it is reported.
    """
    if not is_placeholder(trade.execution_time):
        return trade
    executed = now() if known is None else known.execution_time
    return msgspec.structs.replace(trade, execution_time=executed)


def _adds_nothing(state: AccountState, trade: BrokerTrade) -> bool:
    """Return whether the state has all that a listed trade says.

    Each search lists the trades of a day again, and of the day before; all but the latest are known.
    """
    risk, trade_id = state.risk, trade.id
    result = risk.results.get(trade_id)
    if (
        result is None
        or result.amount != trade.net_pnl
        or trade.is_voided
        or trade_id in risk.voided
    ):
        return False
    known, charge = state.trades.get(trade_id), risk.charges.get(trade_id)
    executed = trade.execution_time
    if known is None and charge is None and not is_placeholder(executed):
        # Of a trade of an earlier day only the time is kept, for the windows of rules.
        return not state.is_of_trading_day(executed) and with_earlier_trade(state, trade) is state
    if trade.is_full_turn:
        return known is not None and is_same_trade(trade, known)
    # Half of a round turn is kept as its charges alone.
    return known is None and charge == Charge(executed, trade.charges)


class Intake:
    """Applies the gateway's messages to the accounts that they are about.

    :param accounts: by account id; messages about others are ignored.
    :param audience: knows which of them receive the quotes of a contract.
    :param gateway: knows the tick size and tick value of the contracts that the messages mention.
    :param clock: the steady clock.
    :param now: gives the broker's time, aware.
    :param report_correction: takes a sentence about a trade that is not what clients have received.
    :param stamped: receives the broker's stamp of each event as it arrives.
    """

    def __init__(
        self,
        accounts: Mapping[int, GuardedAccount],
        audience: QuoteAudience,
        gateway: IGateway,
        clock: IReactorTime,
        now: Callable[[], datetime],
        report_correction: Callable[[str], None],
        stamped: Callable[[datetime], None],
    ) -> None:
        self._accounts = accounts
        self._audience = audience
        self._stamped = stamped
        self._gateway = gateway
        self._clock = clock
        self._now = now
        self._report_correction = report_correction
        self._versions = Versions()
        self._quotes = QuoteBook()
        self._doubted: set[tuple[str, Doubt]] = set()
        self._look_up_at: dict[str, float] = {}
        self._looked_up: deque[float] = deque(maxlen=LOOKUPS)
        self._expected: dict[int, int] = {}
        self._all_expected = 0
        self._crowded: set[int] = set()

    def receive(self, account_id: int, news: BrokerNews) -> None:
        """Apply an event of an account; see ``IGatewayListener``."""
        guarded = self._accounts.get(account_id)
        if guarded is None:
            return
        account = guarded.account
        with errors_logged(type(news).__name__):
            stamp = stamp_of(news)
            if stamp is not None:
                self._stamped(stamp)
            news = _without_future_stamp(news, self._now)
            if account.truth.accepts_event(news, account.state, self._clock.seconds()):
                self._apply(guarded, news)

    def apply_answer(
        self, account_id: int, news: BrokerNews, sent_at: float, *, is_evaluated: bool = True
    ) -> None:
        """Apply what an answer says of an account, unless there is later news.

        :param sent_at: when the request was sent, in steady seconds.
        :param is_evaluated: whether the rules are evaluated on a position or an order; if not, the caller does
            that once for many.
        """
        guarded = self._accounts.get(account_id)
        if guarded is None:
            return
        try:
            news = _without_future_stamp(news, self._now)
            if not guarded.account.truth.accepts_answer(news, sent_at):
                return
            if isinstance(news, BrokerTrade) and _adds_nothing(guarded.account.state, news):
                self._ensure_contract(news.contract_id)
            else:
                self._apply(guarded, news, sent_at, is_evaluated=is_evaluated)
        except Exception:  # noqa: BLE001  # see errors_logged, which would cost a fifth of a known trade
            _log_dropped(type(news).__name__)

    def receive_quote(self, update: BrokerQuote) -> None:
        """Apply a quote; see :class:`~riskd.gateway.interface.IGatewayListener`.

        Quotes are most of riskd's work, so a quote passes through few functions: errors_logged alone
        would cost half as much as all that it encloses.
        """
        contract_id = update.contract_id
        try:
            known = self._quotes.latest(contract_id)
            quote = self._quotes.merge(update, self._now)
            if quote is None:
                self._apply_best_bid_ask(contract_id)
                return
        except Exception:  # noqa: BLE001  # see errors_logged
            _log_dropped("quote")
            return
        if quote is known:
            return
        if doubt_of(quote, ZERO) is not None:
            self._note_doubt(quote)
        has_prices, is_ensured = update.has_prices, False
        for each in self._audience.of(contract_id):
            # An error with one account must not keep the quote from the next one.
            try:
                # The hub repeats prices from before a position, while newer ones may be on their way.
                if not has_prices and is_outdated(each.account.state, contract_id):
                    if each.account.has_just_entered(contract_id):
                        continue
                    each.account.confirm_quote(contract_id)
                each.account.update_quote(quote)
                each.risk_engine.receive(quote)
                if not is_ensured:
                    self._ensure_contract(contract_id)
                    is_ensured = True
            except Exception:  # noqa: BLE001  # see errors_logged
                _log_dropped("quote")

    def _note_doubt(self, quote: MarketQuote) -> None:
        """Log that a last price is not believed, once a contract and kind of doubt."""
        contracts = (
            each.account.state.contract(quote.contract_id) for each in self._accounts.values()
        )
        contract = next(filter(None, contracts), None)
        doubt = doubt_of(quote, ZERO if contract is None else contract.tick_size)
        if doubt is None or (quote.contract_id, doubt) in self._doubted:
            return
        self._doubted.add((quote.contract_id, doubt))
        _log.warn(
            "{contract}: the last price {last} is {doubt} and not believed; bid {bid} and ask {ask} "
            "value its positions. Logged once",
            contract=quote.contract_id,
            last=quote.last,
            doubt=doubt.value,
            bid=quote.bid,
            ask=quote.ask,
        )

    def _give_latest(self, account: TrackedAccount, contract_id: str) -> None:
        """Give an account the latest quote of a contract, or its bid and ask."""
        quote = self._quotes.latest(contract_id)
        if quote is not None:
            account.update_quote(quote)
            return
        best_bid_ask = self._quotes.best_bid_ask(contract_id)
        if best_bid_ask.at is not None:
            account.update_best_bid_ask(contract_id, best_bid_ask)

    def _apply_best_bid_ask(self, contract_id: str) -> None:
        """Apply bid and ask of a contract that has no last price yet.

        ``MarketQuote`` needs a last price; a loss can be seen without one.
        """
        best_bid_ask = self._quotes.best_bid_ask(contract_id)
        for each in self._audience.of(contract_id):
            if each.account.state.holds_or_works(contract_id):
                with errors_logged("GatewayQuote"):
                    each.account.update_best_bid_ask(contract_id, best_bid_ask)
                    each.risk_engine.receive_best_bid_ask()

    def _apply(
        self,
        guarded: GuardedAccount,
        news: BrokerNews,
        sent_at: float | None = None,
        *,
        is_evaluated: bool = True,
    ) -> None:
        """Apply an event, or what an answer says, whose request was sent at ``sent_at``."""
        is_event = sent_at is None
        if isinstance(news, (BrokerOrder, BrokerPosition, BrokerTrade)):
            if not has_room_for(guarded.account.state, news, is_event=is_event):
                self._note_too_many(guarded.account)
                return
            if isinstance(news, BrokerTrade):
                self._apply_trade(guarded, news, is_event=is_event)
            elif isinstance(news, BrokerPosition):
                self._apply_position(guarded, news, is_event=is_event, is_evaluated=is_evaluated)
            else:
                self._apply_order(guarded, news, is_evaluated=is_evaluated)
            self._ensure_contract(news.contract_id)
        elif isinstance(news, BrokerAccount):
            if news.balance is not None:
                guarded.balances.reported(news.balance, sent_at)
            elif news.unreadable and is_event:
                guarded.account.truth.doubt(self._clock.seconds())
            guarded.risk_engine.receive_account(may_trade=news.can_trade)
        if not isinstance(news, BrokerTrade):
            self._expect_commands(guarded.account)

    def _note_too_many(self, account: TrackedAccount) -> None:
        """Log once that the broker reports more than riskd follows; ask it what there is."""
        account.truth.doubt(self._clock.seconds())
        if account.account_id not in self._crowded:
            self._crowded.add(account.account_id)
            _log.error(_TOO_MANY, id=account.account_id)

    def _apply_trade(self, guarded: GuardedAccount, trade: BrokerTrade, *, is_event: bool) -> None:
        account = guarded.account
        known = account.state.trades.get(trade.id)
        if trade.is_voided:
            self._void_trade(guarded, known, trade, is_event=is_event)
            return
        trade = _dated(trade, known, self._now)
        # Each reconciliation lists the trades of a day.
        is_same = known is not None and is_same_trade(trade, known)
        if not is_same and not self._is_last_word(account, known, trade, is_event=is_event):
            return
        guarded.balances.count(trade, is_event=is_event)
        if is_same:
            return
        is_of_day = account.state.is_of_trading_day(trade.execution_time)
        if known is None and not is_of_day and not is_event:
            # Searches go back further than the day; clients have had those trades.
            after = with_earlier_trade(account.state, trade)
            if after is not account.state:
                account.change_risk(earlier_trades=after.risk.earlier_trades)
            return
        charges = account.state.risk.charges
        charge = Charge(trade.execution_time, trade.charges)
        # The voided trade took its charges along, and a late copy does not bring them back.
        is_charged = charges.get(trade.id) != charge and trade.id not in account.state.risk.voided
        if is_charged:
            account.change_risk(charges={**charges, trade.id: charge})
        is_news = trade.is_full_turn and account.update(trade)
        if is_news or is_charged:
            guarded.balances.order_day()
            self._evaluate_trade(guarded, known, trade, is_news=is_news)

    def _evaluate_trade(
        self,
        guarded: GuardedAccount,
        known: BrokerTrade | None,
        trade: BrokerTrade,
        *,
        is_news: bool,
    ) -> None:
        if not is_news:
            # Half of a round turn is not broadcast as a trade, but its fees count.
            guarded.risk_engine.review()
            return
        if known is not None:
            sentence = amended_sentence(guarded.account.account_id, known, trade)
            self._correct(guarded.account, known, sentence)
        guarded.risk_engine.receive(trade)

    def _void_trade(
        self,
        guarded: GuardedAccount,
        known: BrokerTrade | None,
        trade: BrokerTrade,
        *,
        is_event: bool,
    ) -> None:
        account = guarded.account
        is_balance_moved = guarded.balances.void(trade, is_event=is_event)
        if account.void_trade(trade.id):
            guarded.balances.order_day()
            if known is not None:
                self._correct(account, known, voided_sentence(account.account_id, known))
            guarded.risk_engine.review()
        elif is_balance_moved:
            guarded.risk_engine.review()

    def _is_last_word(
        self,
        account: TrackedAccount,
        known: BrokerTrade | None,
        trade: BrokerTrade,
        *,
        is_event: bool,
    ) -> bool:
        """Return whether a trade is new or replaces the known version of it."""
        if known is None or not is_amended(known, trade):
            return True
        if is_event:
            # Nothing orders two versions of a trade; the next answer does.
            account.truth.doubt(self._clock.seconds())
            if self._versions.is_late_copy(trade):
                return False
        self._versions.amend(known, trade)
        return True

    def _correct(self, account: TrackedAccount, known: BrokerTrade, sentence: str) -> None:
        """Journal and report that clients have received an outdated version of a trade."""
        account.note(CORRECTION, message=sentence)
        if account.state.is_of_trading_day(known.execution_time):
            self._report_correction(sentence)
        else:
            _log.warn("{sentence}", sentence=sentence)

    def _apply_position(
        self,
        guarded: GuardedAccount,
        position: BrokerPosition,
        *,
        is_event: bool,
        is_evaluated: bool,
    ) -> None:
        account = guarded.account
        if position.size:
            # Before the position: it is older, and the account must know that.
            self._give_latest(account, position.contract_id)
        if account.update(position) if is_event else account.update_found_position(position):
            guarded.risk_engine.receive(position, is_evaluated=is_evaluated)

    def _apply_order(
        self, guarded: GuardedAccount, order: BrokerOrder, *, is_evaluated: bool
    ) -> None:
        if guarded.account.update(order):
            if not order.has_ended:
                self._give_latest(guarded.account, order.contract_id)
            guarded.risk_engine.receive(order, is_evaluated=is_evaluated)

    def _expect_commands(self, account: TrackedAccount) -> None:
        """Let the gateway prepare for the commands that would flatten all accounts.

        :param account: the one that has changed.
        """
        number = len(account.state.open_positions) + len(account.state.orders)
        before = self._expected.get(account.account_id, 0)
        if number != before:
            self._expected[account.account_id] = number
            self._all_expected += number - before
            self._gateway.expect_commands(self._all_expected)

    # The contracts that messages mention.

    def _ensure_contract(self, contract_id: str) -> None:
        """Subscribe to the quotes of a contract and look it up, unless that was done."""
        known = self._look_up_at.get(contract_id)
        if known is None and len(self._look_up_at) >= MOST_CONTRACTS:
            return
        if known is not None and self._clock.seconds() < known:
            return
        # Before the gateway is asked: it may answer within the call.
        self._look_up_at[contract_id] = math.inf
        self._gateway.follow_quotes(contract_id)
        now = self._clock.seconds()
        if len(self._looked_up) == LOOKUPS and now < self._looked_up[0] + LOOKUP_SECONDS:
            # Enforcement needs the requests; the contract will be mentioned again.
            self._look_up_at[contract_id] = self._looked_up[0] + LOOKUP_SECONDS
            return
        self._looked_up.append(now)
        looked_up = Deferred.fromCoroutine(self._look_up(contract_id))
        looked_up.addErrback(self._lookup_failed, contract_id)

    async def _look_up(self, contract_id: str) -> None:
        contract = await answer_in_time(
            "Contract/searchById",
            self._gateway.search_contract(contract_id),
            self._clock,
            self._gateway.answer_seconds,
        )
        for each in self._accounts.values():
            each.account.add_contract(contract)
            # Only now can the rules see what its positions are worth.
            each.risk_engine.review()

    def _lookup_failed(self, failure: Failure, contract_id: str) -> None:
        # A later mention asks again, but not every quote: the broker limits requests a minute.
        self._look_up_at[contract_id] = self._clock.seconds() + LOOKUP_RETRY_SECONDS
        if failure.check(GatewayError) is not None:
            _log.error(
                "no tick size for {contract}, its P&L is unknown: {error}",
                contract=contract_id,
                error=failure.value,
            )
        elif failure.check(CancelledError) is None:
            # A request that waits while the daemon stops is canceled.
            _log.failure("looking up contract {id}: internal error", failure, id=contract_id)
