"""Map the gateway's messages, apply them to accounts, and evaluate the rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.guarded_account import GuardedAccount
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway import mapping
from riskd.gateway.fields import MappingError
from riskd.gateway.interface import GatewayError, IGateway, Payload
from riskd.gateway.quote_book import QuoteBook
from riskd.gateway.timeouts import answer_in_time
from riskd.model.events import MarketQuote, OrderState
from riskd.model.marks import Doubt, doubt_of
from riskd.model.money import ZERO

_log = Logger()

_KEYS: Final = {"GatewayUserPosition": "contractId", "GatewayUserOrder": "id"}
"""The field that identifies a position and an order; see :meth:`TrackedAccount.mark_received`."""

LOOKUP_RETRY_SECONDS: Final = 30.0
"""How long after a failure the gateway is asked for a contract again."""


@contextmanager
def errors_logged(what: str) -> Iterator[None]:
    """Log any error of the block, and go on.

    Neither an unreadable message nor an internal error may stop what follows.
    """
    try:
        yield
    except Exception:  # noqa: BLE001
        _log_dropped(what)


def _log_dropped(what: str) -> None:
    failure = Failure()
    if isinstance(failure.value, MappingError):
        _log.error("dropped a {what} that cannot be read: {error}", what=what, error=failure.value)
    else:
        _log.failure("dropped a {what}: internal error", failure, what=what)


class Intake:
    """Applies the gateway's messages to the accounts that they are about.

    :param accounts: by account id; messages about others are ignored.
    :param gateway: knows the tick size and tick value of the contracts that the messages mention.
    :param clock: times its answers.
    :param now: gives the time of day, aware.
    """

    def __init__(
        self,
        accounts: Mapping[int, GuardedAccount],
        gateway: IGateway,
        clock: IReactorTime,
        now: Callable[[], datetime],
    ) -> None:
        self._accounts = accounts
        self._gateway = gateway
        self._clock = clock
        self._now = now
        self._quotes = QuoteBook()
        self._doubted: set[tuple[str, Doubt]] = set()
        self._look_up_at: dict[str, float] = {}

    def user_event(self, target: str, payload: Payload) -> None:
        """Apply an event of an account; see ``IGatewayListener``."""
        self.apply(target, payload, is_event=True)

    def apply(self, target: str, payload: Payload, *, is_event: bool = False) -> bool:
        """Apply what the gateway sent or answered; return whether it could be read."""
        try:
            # Only GatewayUserAccount has its account under another name.
            account_id = payload.get("id" if target == "GatewayUserAccount" else "accountId")
            guarded = None if account_id is None else self._accounts.get(account_id)
            if guarded is not None:
                if is_event and target in _KEYS:
                    guarded.account.mark_received(payload.get(_KEYS[target]))
                self._apply(guarded, target, payload, is_event=is_event)
        except Exception:  # noqa: BLE001  # see errors_logged
            _log_dropped(target)
            return False
        return True

    def market_event(self, target: str, contract_id: str, payload: Payload) -> None:
        """Apply a quote; see :class:`~riskd.gateway.interface.IGatewayListener`.

        Quotes are most of riskd's work, so a quote passes through few functions: errors_logged alone
        would cost half as much as all that it encloses.
        """
        if target != "GatewayQuote":
            return
        try:
            quote = self._quotes.merge(contract_id, payload, self._now)
            if quote is None:
                self._apply_best_bid_ask(contract_id)
                return
        except Exception:  # noqa: BLE001  # see errors_logged
            _log_dropped(target)
            return
        if doubt_of(quote, ZERO) is not None:
            self._note_doubt(quote)
        for each in self._accounts.values():
            # An error with one account must not keep the quote from the next one.
            try:
                if each.account.wants_quotes(contract_id):
                    each.account.update_quote(quote)
                    each.risk_engine.receive(quote)
                    self._ensure_contract(contract_id)
            except Exception:  # noqa: BLE001  # see errors_logged
                _log_dropped(target)

    def _note_doubt(self, quote: MarketQuote) -> None:
        """Log once a contract and kind that a last price is not believed."""
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
        """Give an account the latest that the feed knows of a contract."""
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
        for each in self._accounts.values():
            if each.account.state.holds_or_works(contract_id):
                with errors_logged("GatewayQuote"):
                    each.account.update_best_bid_ask(contract_id, best_bid_ask)
                    each.risk_engine.receive_best_bid_ask()

    def _apply(
        self, guarded: GuardedAccount, target: str, payload: Payload, *, is_event: bool
    ) -> None:
        if target == "GatewayUserTrade":
            self._apply_trade(guarded, payload)
        elif target == "GatewayUserPosition":
            self._apply_position(guarded, payload, is_event=is_event)
        elif target == "GatewayUserOrder":
            self._apply_order(guarded, payload)
        elif target == "GatewayUserAccount":
            guarded.risk_engine.receive_account(may_trade=mapping.may_trade(payload))
        contract_id = payload.get("contractId")
        if contract_id is not None:
            self._ensure_contract(contract_id)

    def _apply_trade(self, guarded: GuardedAccount, payload: Payload) -> None:
        account = guarded.account
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
        charges = account.state.risk.charges
        number, charge = mapping.charge(payload)
        # The voided trade took its charges along, and a late copy does not bring them back.
        is_charged = charges.get(number) != charge and number not in account.state.risk.voided
        if is_charged:
            account.change_risk(charges={**charges, number: charge})
        trade = mapping.trade(payload, self._now())
        if trade is not None and account.update(trade):
            guarded.risk_engine.receive(trade)
        elif is_charged:
            # Half of a round turn is not broadcast as a trade, but its fees count.
            guarded.risk_engine.review()

    def _apply_position(
        self, guarded: GuardedAccount, payload: Payload, *, is_event: bool
    ) -> None:
        account = guarded.account
        last = account.state.positions.get(payload.get("contractId", ""))
        position = mapping.position(payload, last, self._now())
        if position.size:
            # Before the position: it is older, and the account must know that.
            self._give_latest(account, position.contract_id)
        if account.update(position) if is_event else account.update_found_position(position):
            guarded.risk_engine.receive(position)

    def _apply_order(self, guarded: GuardedAccount, payload: Payload) -> None:
        account = guarded.account
        if not mapping.has_known_type(payload):
            _log.warn(
                "order {id} is of unknown type {type}",
                id=payload.get("id"),
                type=payload.get("type"),
            )
        known = account.state.orders.get(payload.get("id", 0))
        order = mapping.order(payload, known, self._now())
        if known is not None and order.updated_at < known.updated_at:
            return
        is_news = account.update(order)
        if is_news and order.state is OrderState.ACTIVE:
            self._give_latest(account, order.contract_id)
        # What the wire does not carry of an order may be news to the rules.
        if account.update_order_detail(order, mapping.order_detail(payload)) or is_news:
            guarded.risk_engine.receive(order)

    # The contracts that messages mention.

    def _ensure_contract(self, contract_id: str) -> None:
        """Subscribe to the quotes of a contract and look it up, unless that was done."""
        if self._clock.seconds() < self._look_up_at.get(contract_id, 0.0):
            return
        # Before the gateway is asked: it may answer within the call.
        self._look_up_at[contract_id] = math.inf
        self._gateway.follow_quotes(contract_id)
        looked_up = Deferred.fromCoroutine(self._look_up(contract_id))
        looked_up.addErrback(self._lookup_failed, contract_id)

    async def _look_up(self, contract_id: str) -> None:
        payload = await answer_in_time(
            "Contract/searchById",
            self._gateway.search_contract(contract_id),
            self._clock,
            self._gateway.answer_seconds,
        )
        contract = mapping.contract(payload)
        for each in self._accounts.values():
            each.account.add_contract(contract)
            # Only now can the rules see what its positions are worth.
            each.risk_engine.review()

    def _lookup_failed(self, failure: Failure, contract_id: str) -> None:
        # A later mention asks again, but not every quote: the broker limits requests a minute.
        self._look_up_at[contract_id] = self._clock.seconds() + LOOKUP_RETRY_SECONDS
        if failure.check(GatewayError, MappingError) is not None:
            _log.error(
                "no tick size for {contract}, its P&L is unknown: {error}",
                contract=contract_id,
                error=failure.value,
            )
        elif failure.check(CancelledError) is None:
            # A request that waits while the daemon stops is canceled.
            _log.failure("looking up contract {id}: internal error", failure, id=contract_id)
