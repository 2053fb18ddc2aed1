"""What the journal keeps for reports: executions, and the equity of each minute."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from riskd.journal.content import KEPT_HISTORY
from riskd.journal.history import EquityLine, TradeReport, read_equity, read_trades
from riskd.model.account import AccountState, with_risk
from riskd.model.balance import Execution, Leg, Result
from riskd.model.equity import EquityMark
from riskd.model.events import OrderSide
from tests.support.journal import (
    EXECUTION,
    MNQ,
    NOON,
    StoreTestCase,
    full_state,
    write_version_1,
)

LOSS = TradeReport(
    at=NOON,
    id=1,
    what="exit",
    contract="MNQU5",
    side="long",
    size=1,
    entry=Decimal(21000),
    exit=Decimal("20977.25"),
    pnl=Decimal("-45.50"),
    fees=Decimal("1.48"),
    opened_at=NOON - timedelta(minutes=5),
    is_voided=False,
)
ENTRY = Execution(contract_id=MNQ, size=1, side=OrderSide.SELL, price=Decimal("20990.5"))


def with_results(results: dict[int, Result]) -> AccountState:
    return with_risk(full_state(), results=results)


def result(execution: Execution | None, leg: Leg | None, at: datetime = NOON) -> Result:
    return Result(at, Decimal(0), None, leg, execution)


class TradeTests(StoreTestCase):
    """Executions, of which a restart needs only those of eight days."""

    def read(self, since: datetime | None = None) -> list[TradeReport]:
        return read_trades(self.directory, 123, since)

    def test_an_exit_has_entry_exit_fees_and_times(self) -> None:
        self.write(full_state())
        self.assertEqual(self.read(), [LOSS])
        self.assertEqual(read_trades(self.directory, 456), [])

    def test_a_short_position_is_bought_back(self) -> None:
        bought = msgspec.structs.replace(EXECUTION, side=OrderSide.BUY)
        self.write(with_results({1: result(bought, Leg.BUY_TO_CLOSE)}))
        (trade,) = self.read()
        self.assertEqual((trade.side, trade.entry), ("short", Decimal("20954.5")))

    def test_an_entry_has_a_price_and_no_exit(self) -> None:
        self.write(with_results({1: result(ENTRY, Leg.SELL_TO_OPEN)}))
        (trade,) = self.read()
        self.assertEqual(
            (trade.what, trade.side, trade.entry, trade.exit, trade.pnl),
            ("entry", "short", Decimal("20990.5"), None, None),
        )

    def test_the_entry_that_the_broker_reports_again_with_an_exit_is_none(self) -> None:
        opened = msgspec.structs.replace(ENTRY, side=OrderSide.BUY)
        charged = msgspec.structs.replace(opened, fees=Decimal("0.37"))
        reversed_to = msgspec.structs.replace(ENTRY, price=Decimal("20977.25"))
        legs = (
            (6, opened, Leg.BUY_TO_OPEN),
            (7, opened, Leg.BUY_TO_OPEN),
            (7, opened, None),
            (7, charged, Leg.BUY_TO_OPEN),
            (7, EXECUTION, Leg.SELL_TO_CLOSE),
            # What the same order sold beyond the position.
            (7, reversed_to, Leg.SELL_TO_OPEN),
            (None, opened, Leg.BUY_TO_OPEN),
        )
        self.write(
            with_results(
                {
                    number: Result(NOON, Decimal(0), order, leg, execution)
                    for number, (order, execution, leg) in enumerate(legs)
                }
            )
        )
        self.assertEqual(
            [(each.id, each.what) for each in self.read()],
            [(0, "entry"), (3, "again"), (4, "exit"), (5, "entry"), (6, "entry")],
        )

    def test_what_the_broker_does_not_say_is_unknown(self) -> None:
        unknown = Execution(contract_id="CON.F.US.XYZ.U25", size=1, pnl=Decimal(5))
        self.write(with_results({1: result(unknown, Leg.BUY_TO_CLOSE)}))
        (trade,) = self.read()
        self.assertEqual(
            (trade.contract, trade.side, trade.entry, trade.exit),
            ("CON.F.US.XYZ.U25", "", None, None),
        )

    def test_they_end_before_a_moment(self) -> None:
        self.write(full_state())
        self.assertEqual(read_trades(self.directory, 123, None, NOON), [])
        later = NOON + timedelta(milliseconds=1)
        self.assertEqual(read_trades(self.directory, 123, NOON, later), [LOSS])

    def test_a_void_marks_the_trade(self) -> None:
        self.write(full_state())
        self.write(with_results({1: result(EXECUTION, None)}))
        self.assertEqual(self.read(), [msgspec.structs.replace(LOSS, is_voided=True)])

    def test_they_stay_when_the_state_forgets_them_and_are_not_recovered(self) -> None:
        early = NOON - timedelta(days=30)
        self.write(
            with_results(
                {
                    1: result(EXECUTION, Leg.SELL_TO_CLOSE),
                    2: result(ENTRY, Leg.SELL_TO_OPEN, early),
                }
            )
        )
        self.write(with_results({}))
        self.assertEqual([each.id for each in self.read()], [2, 1])
        self.assertEqual([each.id for each in self.read(NOON)], [1])
        self.store.close()
        self.open()
        self.assertEqual(set(self.recovery.accounts[123].risk.results), {1})

    def test_after_two_years_they_are_deleted(self) -> None:
        old = NOON - KEPT_HISTORY - timedelta(seconds=1)
        state = with_results(
            {
                1: result(ENTRY, Leg.SELL_TO_OPEN, old),
                2: result(ENTRY, Leg.SELL_TO_OPEN, NOON - timedelta(days=730)),
            }
        )
        self.write(state)
        # Without the broker's time nothing is.
        self.assertEqual(len(self.read()), 2)
        self.store.write(
            [msgspec.structs.replace(state, orders={})], "practice", NOON, clock_offset="0.0"
        )
        self.assertEqual([each.id for each in self.read()], [2])

    def test_rows_of_an_earlier_riskd_have_no_details(self) -> None:
        self.write(with_results({1: result(None, Leg.SELL_TO_CLOSE)}))
        self.assertEqual(self.read(), [])

    def test_a_journal_of_an_earlier_riskd_has_no_history(self) -> None:
        self.store.close()
        self.journal.unlink()
        write_version_1(self.journal)
        self.assertEqual((self.read(), read_equity(self.directory, 123)), ([], []))


class EquityTests(StoreTestCase):
    """Balance and equity, once a minute."""

    def mark(self, equity: int, seconds: float, offset: str | None = "0.0") -> None:
        """Write a change and the figures of this moment."""
        state = msgspec.structs.replace(full_state(), trade_count=equity)
        figures = EquityMark(
            123, Decimal(50000), Decimal(equity), Decimal(equity - 50000), Decimal(12)
        )
        moment = NOON + timedelta(seconds=seconds)
        self.store.write([state], "practice", moment, clock_offset=offset, marks=[figures])

    def read(self, since: datetime | None = None) -> Iterable[tuple[float, Decimal]]:
        lines = read_equity(self.directory, 123, since)
        return [((each.at - NOON).total_seconds(), each.equity) for each in lines]

    def test_the_first_figures_of_each_minute_are_kept(self) -> None:
        for equity, seconds in ((50001, 2), (50002, 30), (50003, 60), (50004, 185.5)):
            self.mark(equity, seconds)
        self.assertEqual(self.read(), [(0, 50001), (60, 50003), (180, 50004)])
        self.assertEqual(self.read(NOON + timedelta(seconds=61)), [(180, 50004)])
        self.assertEqual(
            read_equity(self.directory, 123)[0],
            EquityLine(NOON, Decimal(50000), Decimal(50001), Decimal(1), Decimal(12)),
        )

    def test_the_minute_is_the_brokers(self) -> None:
        self.mark(50001, 2, offset="120.5")
        self.assertEqual(self.read(), [(120, 50001)])
        self.mark(50002, 600, offset=None)
        self.assertEqual(self.read(), [(120, 50001)])

    def test_after_two_years_they_are_deleted(self) -> None:
        self.mark(50001, 0)
        self.mark(50002, KEPT_HISTORY.total_seconds() + 61)
        self.assertEqual([equity for _at, equity in self.read()], [50002])

    def test_the_copy_has_the_figures_of_the_last_write(self) -> None:
        self.mark(50001, 0)
        self.mark(50002, 30)
        self.store.publish()
        with closing(sqlite3.connect(self.published)) as copy:
            rows = copy.execute("SELECT account_id, at, equity FROM equity").fetchall()
        self.assertEqual(rows, [(123, int((NOON.timestamp() + 30) * 1000), "50002")])
