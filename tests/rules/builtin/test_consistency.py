"""RULE-018: how much of the total profit the best day may be."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.toml import ConfigError
from riskd.model.account import AccountState, with_risk
from riskd.model.balance import Balance
from riskd.model.day_figures import DayFigures
from riskd.rules.builtin.consistency import Settings, check, gauges, most_today
from riskd.rules.interface import NOTHING, Lock, RuleResult
from tests.support.configuration import parse
from tests.support.rules import (
    MNQ,
    NOON,
    RESET,
    day,
    flatten_of,
    position,
    review,
    settings_of,
    state_after,
    without_headroom,
)


def after(today: AccountState, *nets: str, paid_on: int = 0) -> AccountState:
    """Return the account after days that have made ``nets``, from 2025-07-01 on.

    :param paid_on: the day of July with a payout, if there was one.
    """
    days = {
        date(2025, 7, number): DayFigures(
            net=Decimal(net), flows=Decimal(-500 if number == paid_on else 0)
        )
        for number, net in enumerate(nets, 1)
    }
    return msgspec.structs.replace(today, days=days)


def checked(state: AccountState, **settings: object) -> RuleResult:
    return without_headroom(
        check(state, settings_of(Settings, stop_for_today=True, **settings), review())
    )


def most(*nets: str, paid_on: int = 0, **settings: object) -> Decimal:
    state = after(day(), *nets, paid_on=paid_on)
    return most_today(state, settings_of(Settings, **settings))


class MostTests(SynchronousTestCase):
    """What today may make, to the cent."""

    def test_what_the_share_allows_beside_the_earlier_days(self) -> None:
        self.assertEqual(most("300", "300", "400"), 1000)
        self.assertEqual(most("300", "300", "400", strict=True), Decimal("999.99"))
        # 40 %: 400 of 1,000 in all; 30 % of 1,000 beside it: 428.571...
        self.assertEqual(most("300", "300", share=40), 400)
        self.assertEqual(most("300", "300", "400", share=30), Decimal("428.57"))
        self.assertEqual(most("300", "300", "400", share=30, strict=True), Decimal("428.57"))

    def test_up_to_the_best_day_today_is_not_the_best(self) -> None:
        self.assertEqual(most("1000", "-900"), 1000)
        self.assertEqual(most("500", "-600"), 500)

    def test_without_an_earlier_profit_there_is_nothing_to_compare_with(self) -> None:
        self.assertEqual((most(), most("-100")), (0, 0))
        self.assertEqual(checked(after(day("9000"))), NOTHING)

    def test_days_count_from_the_last_payout_on(self) -> None:
        self.assertEqual(most("9000", "300", "400", paid_on=2), 700)
        # A payout of today begins anew.
        paid = msgspec.structs.replace(after(day(), "300"), balance=Balance(flows=Decimal(-5)))
        self.assertEqual(most_today(paid, Settings()), 0)

    @given(
        st.lists(st.integers(-50_000, 100_000), min_size=1, max_size=6),
        st.integers(1, 99),
        st.booleans(),
    )
    def test_a_cent_more_would_delay_the_payout(
        self, cents: list[int], share: int, strict: bool
    ) -> None:
        nets = [str(Decimal(each).scaleb(-2)) for each in cents]
        found = int(most(*nets, share=share, strict=strict) * 100)

        def is_fine(today: int) -> bool:
            """Whether today is not the best day, or is within the share."""
            total = sum(cents) + today
            ratio, limit = today * 100, share * total
            return today <= max(cents) or ratio < limit or (ratio == limit and not strict)

        if found:
            self.assertTrue(is_fine(found))
        self.assertFalse(is_fine(max(found, 0) + 1))


class StopTests(SynchronousTestCase):
    """``stop_for_today`` ends a day that has made as much as it may."""

    def test_both_sides(self) -> None:
        for strict, pnl, stops in (
            (False, "999.99", False),
            (False, "1000", True),
            (True, "999.98", False),
            (True, "999.99", True),
        ):
            result = checked(after(day(pnl), "300", "300", "400"), strict=strict)
            self.assertEqual(bool(result.commands), stops, (strict, pnl))
        state = after(day("700", charges="4.50", opened=1, last="21152.25"), "600", "400")
        flatten = flatten_of(checked(state))
        self.assertEqual(
            (flatten.reason, flatten.lock),
            (
                (
                    "Enough for today by consistency: $1,000.00 (today may make $1,000.00, the best "
                    "day 50 % of the total)"
                ),
                Lock(until=RESET),
            ),
        )

    def test_without_it_nothing_ever_happens_and_no_quote_is_needed(self) -> None:
        state = after(day("5000"), "600", "400")
        self.assertEqual(check(state, Settings(), review()), NOTHING)
        self.assertFalse(Settings().needs_quotes)
        self.assertTrue(Settings(stop_for_today=True).needs_quotes)

    def test_it_waits_while_the_profit_is_uncertain(self) -> None:
        state = after(day("5000"), "600", "400")
        self.assertEqual(checked(with_risk(state, is_listing=True)), RuleResult(reduce_only=None))
        self.assertEqual(checked(state_after(position(MNQ, 1), state=state)).commands, ())


class GaugeTests(SynchronousTestCase):
    """The share of the best day, and what today may still make."""

    def test_the_share_of_the_best_day(self) -> None:
        (share, today) = gauges(after(day("200"), "1000", "300"), Settings(), NOON)
        self.assertEqual(
            (share.limit, share.current, share.unit, share.words),
            (50, Decimal("66.7"), "%", "$2,000.00 needed in all"),
        )
        self.assertEqual((today.limit, today.current), (1300, 200))

    def test_a_share_above_the_limit_never_looks_like_it(self) -> None:
        state = after(day("0"), "1000", "999.99")
        self.assertEqual(gauges(state, Settings(), NOON)[0].current, Decimal("50.1"))
        (share, _today) = gauges(after(day(), "1000", "1000"), Settings(strict=True), NOON)
        self.assertEqual(share.words, "more than $2,000.00 needed in all")

    def test_without_a_profit_it_says_so(self) -> None:
        (share, today) = gauges(after(day("-5"), "-100"), Settings(), NOON)
        self.assertEqual(
            (share.current, share.words, today.limit, today.words),
            (None, "no profit yet", None, "no earlier day to compare with"),
        )


class SettingsTests(SynchronousTestCase):
    def test_a_share_is_in_per_cent(self) -> None:
        for value in ("0.5", "0", "100", "true"):
            text = f"[rules.consistency]\nshare = {value}\n[[accounts]]\nid = 1\n"
            problems = self.assertRaises(ConfigError, parse, text).problems
            expected = "expected a whole number above 0 and below 100"
            self.assertEqual(
                problems,
                (f"riskd.toml, line 2: rules.consistency.share: {expected}, got {value}",),
            )
