"""The figures of trades: sums, the best and the worst, by instrument and by hour.

All of them are exact.  A trade is an execution that closed contracts; a voided one counts nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from riskd.journal.history import TradeReport
from riskd.model.money import CENT, ZERO


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What executions have made, in dollars.

    :ivar gross: the P&L of the trades, before fees.
    :ivar fees: of all executions, with commissions.
    :ivar trades: how many there were; ``winners`` and ``losers`` leave out those that made nothing.
    :ivar best: the trade with the highest P&L; ``None`` without trades, as ``worst``.
    :ivar entries: the executions that opened contracts.
    :ivar held: how long trades were open on average, of those whose opening is known; ``None`` without any.
    """

    gross: Decimal
    fees: Decimal
    trades: int
    winners: int
    losers: int
    won: Decimal
    lost: Decimal
    best: TradeReport | None
    worst: TradeReport | None
    entries: int
    entry_fees: Decimal
    held: timedelta | None

    @property
    def net(self) -> Decimal:
        """The P&L after fees."""
        return self.gross - self.fees

    @property
    def win_rate(self) -> Decimal | None:
        """The winners in per cent of all trades, to a tenth."""
        return _part(Decimal(self.winners * 100), self.trades, Decimal("0.1"))

    @property
    def average_win(self) -> Decimal | None:
        """What a winner has made on average, to the cent."""
        return _part(self.won, self.winners, CENT)

    @property
    def average_loss(self) -> Decimal | None:
        """What a loser has lost on average, to the cent; negative."""
        return _part(self.lost, self.losers, CENT)

    @property
    def profit_factor(self) -> Decimal | None:
        """What winners have made for each dollar that losers have lost, to the cent."""
        return None if not self.lost else (self.won / -self.lost).quantize(CENT)


def _part(amount: Decimal, of: int, to: Decimal) -> Decimal | None:
    return (amount / of).quantize(to) if of else None


def figures_of(executions: Iterable[TradeReport]) -> Figures:
    """Return the figures of executions, without those that were voided."""
    counted = [each for each in executions if not each.is_voided]
    exits = [(each, each.pnl) for each in counted if each.pnl is not None]
    pnls = [pnl for _each, pnl in exits]
    openings = [each for each in counted if each.pnl is None]
    times = [each.at - each.opened_at for each, _ in exits if each.opened_at is not None]
    return Figures(
        gross=sum(pnls, ZERO),
        fees=sum((each.fees for each in counted), ZERO),
        trades=len(pnls),
        winners=sum(pnl > 0 for pnl in pnls),
        losers=sum(pnl < 0 for pnl in pnls),
        won=sum((pnl for pnl in pnls if pnl > 0), ZERO),
        lost=sum((pnl for pnl in pnls if pnl < 0), ZERO),
        best=max(exits, key=lambda each: each[1], default=(None, ZERO))[0],
        worst=min(exits, key=lambda each: each[1], default=(None, ZERO))[0],
        entries=sum(each.what == "entry" for each in openings),
        entry_fees=sum((each.fees for each in openings), ZERO),
        held=sum(times, timedelta()) / len(times) if times else None,
    )


class Group(msgspec.Struct, frozen=True):
    """Executions that have something in common.

    :ivar name: what that is, for a person.
    """

    name: str
    figures: Figures


def by_instrument(executions: Sequence[TradeReport]) -> list[Group]:
    """Return the figures of each contract, by its name."""
    return sorted(_grouped(executions, lambda each: each.contract), key=lambda each: each.name)


def by_hour(
    executions: Sequence[TradeReport], local: Callable[[datetime], datetime]
) -> list[Group]:
    """Return the figures of each hour that had an execution, earliest first.

    :param local: returns a moment in the time zone of the clock.
    """
    return _grouped(executions, lambda each: f"{local(each.at):%H}:00")


def _grouped(
    executions: Sequence[TradeReport],
    name_of: Callable[[TradeReport], str],
) -> list[Group]:
    groups: dict[str, list[TradeReport]] = {}
    for each in executions:
        if not each.is_voided:
            groups.setdefault(name_of(each), []).append(each)
    return [Group(name, figures_of(group)) for name, group in groups.items()]
