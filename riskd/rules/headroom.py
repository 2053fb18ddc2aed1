"""Which rules need not be asked about a quote.

Most events are quotes, and most quotes change nothing.  A rule's result may say how far the open P&L may move before
the rule would return anything else (:class:`riskd.rules.interface.Headroom`).  From that follow the prices of each
held contract between which the rule is spared.

Prices alone are compared.  If anything but quotes has changed in the account's state, if time has reached what a rule
waits for, or if it takes a rule to judge a quote (it is old, its last price is not believed, its spread is wide), every
rule is asked.  So is a rule whose results name no headroom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter, is_
from typing import Final, NamedTuple

from riskd.model.account import AccountState, is_outdated
from riskd.model.broker import BrokerPosition
from riskd.model.events import MarketQuote, PositionType
from riskd.model.marks import FAR_TICKS, is_within_market
from riskd.model.money import CENT, ZERO
from riskd.model.open_pnl import STALE_AFTER
from riskd.rules.evaluation import Evaluation, RuleInForce, listening
from riskd.rules.interface import Headroom, Kind, RuleResult, Trigger

MOST_POSITIONS: Final = 16
"""With more open positions every rule is asked: the share of each in the headroom would be too small."""

# What is in a state is replaced and never changed, so identity tells whether it is the same.
_all_but_quotes: Final = attrgetter(
    *(name for name in AccountState.__struct_fields__ if name != "quotes")
)


class _Band(NamedTuple):
    """The prices of a contract between which nothing changes; ``None``: any.

    :ivar low_mark: the lowest last price.
    :ivar low_exit: the lowest price of an exit.
    """

    low_mark: Decimal | None
    high_mark: Decimal | None
    low_exit: Decimal | None
    high_exit: Decimal | None

    def has(self, mark: Decimal, exit_: Decimal) -> bool:
        """Return whether both prices lie in it."""
        low_mark, high_mark, low_exit, high_exit = self
        return (
            (low_mark is None or mark >= low_mark)
            and (high_mark is None or mark <= high_mark)
            and (low_exit is None or exit_ >= low_exit)
            and (high_exit is None or exit_ <= high_exit)
        )


_ANY: Final = _Band(None, None, None, None)


class _Held(NamedTuple):
    """An open position that quotes value.

    :ivar is_long: whether it is sold at the bid.
    :ivar widest: the widest spread whose bid and ask are prices of an exit.
    :ivar dollars: what it makes or loses when the price moves by 1.
    """

    is_long: bool
    widest: Decimal
    dollars: Decimal

    def exit_price(self, quote: MarketQuote) -> Decimal:
        """Return the price of an exit."""
        return quote.bid if self.is_long else quote.ask

    def is_plain(self, quote: MarketQuote) -> bool:
        """Return whether the last price is the mark, and bid or ask the price of an exit."""
        return is_within_market(quote) and quote.ask - quote.bid <= self.widest

    def band(self, headroom: Headroom, parts: int, quote: MarketQuote) -> _Band:
        """Return the prices that take no more than a part of a headroom.

        :param quote: of the moment that the headroom is of.
        """
        if headroom.down is None and headroom.up is None:
            return _ANY
        down, up = (
            None if each is None else max(each / parts - CENT, ZERO) / self.dollars
            for each in (headroom.down, headroom.up)
        )
        below, above = (down, up) if self.is_long else (up, down)
        mark, exit_ = quote.last, self.exit_price(quote)
        return _Band(
            None if below is None else mark - below,
            None if above is None else mark + above,
            None if below is None else exit_ - below,
            None if above is None else exit_ + above,
        )


UNLIMITED: Final = Headroom()

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

_HIGHS: Final = ""
"""The slot of the account's highs, which is none of a rule's."""


class SparedRules:
    """Knows for one account between which prices which rules need not be asked.

    P&L is rounded to the cent, so each position leaves a cent of its headroom unused.
    """

    def __init__(self) -> None:
        self._rules: Sequence[RuleInForce] = ()
        self._parts: tuple[object, ...] = ()
        self._since = self._until = _LONG_AGO
        self._held: dict[str, _Held] = {}
        # Of what is held: those that the rules know.
        self._quotes: dict[str, MarketQuote] = {}
        # By slot and contract id.
        self._bands: dict[str, dict[str, _Band]] = {}
        self._wakes: dict[str, datetime] = {}
        # What the bands of all rules have in common, by contract id.
        self._common: dict[str, _Band] = {}

    def are_all(self, state: AccountState, quote: MarketQuote, now: datetime) -> bool:
        """Return whether no rule need be asked about a quote, which the state has.

        Then the quote counts as one on which all have been asked.
        """
        band = self._common.get(quote.contract_id)
        if band is None:
            return False
        held = self._held[quote.contract_id]
        if not (
            band.has(quote.last, held.exit_price(quote))
            and self._are_comparable(state, held, quote, now)
        ):
            return False
        self._quotes[quote.contract_id] = quote
        return True

    def slots(self, state: AccountState, quote: MarketQuote, now: datetime) -> frozenset[str]:
        """Return the slots of the rules that need not be asked about a quote."""
        held = self._held.get(quote.contract_id)
        if held is None or not self._are_comparable(state, held, quote, now):
            return frozenset()
        prices = quote.last, held.exit_price(quote)
        return frozenset(
            [
                slot
                for slot, bands in self._bands.items()
                if (band := bands.get(quote.contract_id)) is not None and band.has(*prices)
            ]
        )

    def _are_comparable(
        self, state: AccountState, held: _Held, quote: MarketQuote, now: datetime
    ) -> bool:
        """Return whether nothing has changed but prices, and all of them are plain."""
        return (
            self._since <= now < self._until
            and held.is_plain(quote)
            and now - quote.timestamp <= STALE_AFTER
            and self._has_only_other_quotes(state)
            and self._are_fresh(state, now, but=quote.contract_id)
        )

    def _are_fresh(self, state: AccountState, now: datetime, but: str = "") -> bool:
        """Return whether the known quotes still value positions, and are not old.

        :param but: the contract whose quote does not matter.
        """
        latest = state.quotes
        for contract_id, known in self._quotes.items():
            if contract_id != but and (
                latest.get(contract_id) is not known or now - known.timestamp > STALE_AFTER
            ):
                return False
        return True

    def _has_only_other_quotes(self, state: AccountState) -> bool:
        return self._parts != () and all(map(is_, _all_but_quotes(state), self._parts))

    def note(
        self,
        checked: AccountState,
        after: AccountState,
        rules: Sequence[RuleInForce],
        trigger: Trigger,
        evaluation: Evaluation,
        highs: Headroom | None = UNLIMITED,
    ) -> None:
        """Note what rules have returned.

        :param checked: the state that they were asked about.
        :param after: the same with what they remember now.
        :param rules: the rules in force.
        :param highs: how far the open P&L may move before the account has new highs; ``None``: not at all.
        """
        quote = trigger.subject if isinstance(trigger.subject, MarketQuote) else None
        if quote is None and not self._held:
            # Nothing is known that could go on, and only a quote begins.
            return
        if evaluation.decisions or evaluation.faults or highs is None:
            self.forget()
            return
        if rules is self._rules and self._goes_on(checked, quote, trigger.now):
            self._parts = _all_but_quotes(after)
        elif quote is None or not self._begin(after, rules, trigger.now):
            self.forget()
            return
        self._since = trigger.now
        listening_slots = [slot for slot, _rule in listening(rules, Kind.QUOTE)]
        for slot in listening_slots:
            if slot in evaluation.results:
                self._note_result(slot, evaluation.results[slot])
        self._set_bands(_HIGHS, highs)
        self._until = min([trigger.next_reset, *self._wakes.values()])
        self._common = {}
        for contract_id in self._held:
            bands = [self._bands.get(slot, {}).get(contract_id) for slot in listening_slots]
            bands.append(self._bands[_HIGHS][contract_id])
            if None not in bands:
                self._common[contract_id] = _common([each for each in bands if each is not None])

    def _goes_on(self, checked: AccountState, quote: MarketQuote | None, now: datetime) -> bool:
        """Return whether what is known of other rules still holds after rules were asked."""
        if not self._has_only_other_quotes(checked):
            return False
        if quote is None:
            return self._are_fresh(checked, now)
        held = self._held.get(quote.contract_id)
        if held is None or not self._are_comparable(checked, held, quote, now):
            return False
        self._quotes[quote.contract_id] = quote
        return True

    def _begin(self, state: AccountState, rules: Sequence[RuleInForce], now: datetime) -> bool:
        """Begin anew; return whether prices alone decide."""
        self.forget()
        risk = state.risk
        if state.lockouts or risk.flattening or risk.unmatched or risk.is_listing:
            return False
        positions = state.open_positions
        if len(positions) > MOST_POSITIONS:
            return False
        for position in positions:
            held = _held(state, position, now)
            if held is None:
                return False
            self._held[position.contract_id] = held
            self._quotes[position.contract_id] = state.quotes[position.contract_id]
        self._rules, self._parts = rules, _all_but_quotes(state)
        return True

    def _note_result(self, slot: str, result: RuleResult) -> None:
        self._wakes.pop(slot, None)
        if result.headroom is None or result.commands or result.warnings:
            self._bands.pop(slot, None)
            return
        if result.wake_at is not None:
            self._wakes[slot] = result.wake_at
        self._set_bands(slot, result.headroom)

    def _set_bands(self, slot: str, headroom: Headroom | Mapping[str, Headroom]) -> None:
        if isinstance(headroom, Headroom):
            parts = len(self._held)
            self._bands[slot] = {
                key: held.band(headroom, parts, self._quotes[key])
                for key, held in self._held.items()
            }
            return
        known = self._bands.setdefault(slot, {})
        for contract_id, each in headroom.items():
            held = self._held.get(contract_id)
            if held is not None:
                known[contract_id] = held.band(each, 1, self._quotes[contract_id])

    def forget(self) -> None:
        """Have every rule asked about the next quote."""
        self._rules, self._parts, self._until = (), (), _LONG_AGO
        self._held, self._quotes = {}, {}
        self._bands, self._wakes, self._common = {}, {}, {}


def _held(state: AccountState, position: BrokerPosition, now: datetime) -> _Held | None:
    """Return a position that a plain quote values; ``None`` if none does."""
    contract_id = position.contract_id
    contract, quote = state.contract(contract_id), state.quotes.get(contract_id)
    if contract is None or quote is None or is_outdated(state, contract_id):
        return None
    held = _Held(
        position.type is PositionType.LONG,
        contract.tick_size * FAR_TICKS,
        position.size * contract.tick_value / contract.tick_size,
    )
    is_valued = held.dollars > 0 and held.is_plain(quote) and now - quote.timestamp <= STALE_AFTER
    return held if is_valued else None


def _common(bands: Sequence[_Band]) -> _Band:
    """Return the prices that lie in all bands."""
    bands = [each for each in bands if each is not _ANY]
    if not bands:
        return _ANY
    low_mark, high_mark, low_exit, high_exit = (
        [price for price in prices if price is not None] for prices in zip(*bands, strict=True)
    )
    return _Band(
        max(low_mark, default=None),
        min(high_mark, default=None),
        max(low_exit, default=None),
        min(high_exit, default=None),
    )
