"""RULE-014: the largest loss of an account."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.values import convert
from riskd.model.account import AccountState, Limit, begin_day, with_risk
from riskd.model.balance import Balance, after_firm_floor
from riskd.model.equity import with_closed_days
from riskd.model.events import LockoutSet
from riskd.rules.builtin.maximum_loss import (
    RULE,
    Settings,
    check,
    floor_now,
    floor_of,
    gauges,
    nearest_floor,
    published_floor,
)
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import NOTHING, Gauge, Lock, RuleResult
from riskd.rules.settings import StopsAt
from tests.support.rules import (
    MNQ,
    NOON,
    RESET,
    at,
    flatten_of,
    in_stage,
    position,
    quote,
    review,
    settings_of,
    state_after,
    without_headroom,
)


def account(balance: str, *, opened: int = 0, last: str = "21000", **known: Any) -> AccountState:
    """Return an account that began at 50,000 and has this balance at the day's start."""
    state = state_after(position(MNQ, opened), quote(MNQ, last, 1)) if opened else state_after()
    quotes = {
        key: msgspec.structs.replace(each, bid=each.last, ask=each.last)
        for key, each in state.quotes.items()
    }
    fields = {name: Decimal(value) for name, value in known.items()}
    figures = {"agreed": Decimal(balance), "first": Decimal(50000), "is_settled": True, **fields}
    return msgspec.structs.replace(state, quotes=quotes, balance=Balance(**figures))


def during_day(balance: str, net: str, **known: Any) -> AccountState:
    """Return a flat account with a net P&L of the day."""
    return msgspec.structs.replace(account(balance, **known), realized_pnl=Decimal(net))


def with_figure(state: AccountState, amount: str, **since: str) -> AccountState:
    """Return the account after an operator has given the firm's figure, an hour after noon."""
    balance = after_firm_floor(state.balance, Decimal(amount), at(3600))
    figure = {name: Decimal(value) for name, value in since.items()}
    firm = msgspec.structs.replace(balance.firm_floor, **figure)
    balance = msgspec.structs.replace(balance, firm_floor=firm)
    return msgspec.structs.replace(state, balance=balance, day_began=NOON)


def next_day(state: AccountState) -> AccountState:
    """Return a flat account after the next daily reset."""
    return begin_day(with_closed_days(state, ()), RESET)


def checked(state: AccountState, **settings: object) -> RuleResult:
    return without_headroom(check(state, settings_of(Settings, **settings), review()))


def is_breach(state: AccountState, **settings: object) -> bool:
    return bool(checked(state, **settings).commands)


def floor(state: AccountState, **settings: object) -> Decimal | None:
    return floor_of(state, settings_of(Settings, **settings))


class EndOfDayTests(SynchronousTestCase):
    """The floor of Topstep's 50K: 2,000 below the highest end of a day, until it reaches 50,000."""

    def test_the_first_floor_is_below_the_starting_balance(self) -> None:
        self.assertEqual(floor(account("50000")), Decimal(48000))
        self.assertEqual(floor(account("49000")), Decimal(48000))

    def test_it_moves_only_at_the_end_of_a_day(self) -> None:
        self.assertEqual(floor(during_day("51000", "1000")), Decimal(48000))
        self.assertEqual(floor(account("51000")), Decimal(49000))
        self.assertEqual(floor(account("50200", earlier_close="51000")), Decimal(49000))

    def test_it_stops_at_the_starting_balance_or_where_the_settings_say(self) -> None:
        rich = account("53000.50")
        for stops_at, expected in (
            ("start", "50000"),
            ("50100.00", "50100"),
            ("never", "51000.50"),
            # An amount for another account must not take the floor away from this one.
            ("48000", "48000"),
            ("0", "48000"),
        ):
            self.assertEqual(floor(rich, stops_at=stops_at), Decimal(expected))
        self.assertEqual(floor(account("5000"), starting_balance="0", stops_at="0"), 0)

    def test_a_breach_is_at_once_and_at_the_floor(self) -> None:
        self.assertFalse(is_breach(during_day("48000.01", "-1999.99")))
        flatten = flatten_of(checked(during_day("48000", "-2000")))
        self.assertEqual(
            (flatten.reason, flatten.lock),
            ("Maximum loss hit: equity $48,000.00 (floor $48,000.00)", Lock(until=None)),
        )

    def test_another_starting_balance_and_drawdown(self) -> None:
        self.assertEqual(
            floor(account("150000"), starting_balance="150000", drawdown="4500"), Decimal(145500)
        )
        self.assertEqual(floor(account("0"), starting_balance="0"), Decimal(-2000))


class OtherFloorTests(SynchronousTestCase):
    """The floors that trail at each moment, and that do not trail."""

    def test_the_intraday_floor_follows_the_highest_equity(self) -> None:
        """A 100,000 account at a high of 105,000 with a drawdown of 3,000 has a floor of 102,000."""
        settings = {
            "trailing": "intraday",
            "starting_balance": "100000",
            "drawdown": "3000",
            "stops_at": "never",
        }
        high = account("104000", peak="105000")
        self.assertEqual(floor(high, **settings), Decimal(102000))
        self.assertFalse(is_breach(account("102000.01", peak="105000"), **settings))
        self.assertTrue(is_breach(account("102000", peak="105000"), **settings))
        self.assertEqual(floor(high, **{**settings, "stops_at": "100100"}), Decimal(100100))

    def test_the_static_floor_stays(self) -> None:
        self.assertEqual(floor(account("53000", peak="54000"), trailing="static"), Decimal(48000))

    def test_a_payout_keeps_the_floor_or_raises_it(self) -> None:
        paid = account("49500", earlier_close="51500", flows="-1000", payouts="1000")
        self.assertEqual(floor(paid), Decimal(49500))
        self.assertTrue(is_breach(paid))
        self.assertEqual(floor(paid, after_payout="start"), Decimal(50000))
        from_zero = account("1000", payouts="500", first="0")
        self.assertEqual(floor(from_zero, after_payout="zero", starting_balance="0"), 0)
        self.assertEqual(floor(from_zero, starting_balance="0"), Decimal(-1000))

    def test_the_firms_figure_takes_the_place_of_the_estimate(self) -> None:
        for trailing in ("end_of_day", "intraday", "static"):
            for amount in ("48500", "50500"):
                state = with_figure(account("51500", peak="52000"), amount)
                self.assertEqual(floor(state, trailing=trailing), Decimal(amount))

    def test_it_goes_on_from_the_firms_figure_when_days_end(self) -> None:
        """The first day's balance at its beginning was there before."""
        figure = with_figure(account("52000"), "48500")
        ended = next_day(figure)
        self.assertEqual(floor(figure), Decimal(48500))
        self.assertEqual(floor(ended), Decimal(50000))
        self.assertEqual(floor(ended, stops_at="never"), Decimal(50000))
        self.assertEqual(floor(next_day(with_figure(account("50400"), "48500"))), Decimal(48500))
        self.assertEqual(floor(next_day(with_figure(account("50501"), "48500"))), Decimal(48501))
        self.assertEqual(floor(ended, trailing="static"), Decimal(48500))
        self.assertEqual(floor(ended, drawdown="3000"), Decimal(49000))

    def test_it_goes_on_from_the_firms_figure_with_the_equity(self) -> None:
        settings = {"trailing": "intraday", "stops_at": "never"}
        state = with_figure(account("50000", peak="52000"), "48500")
        self.assertEqual(floor(state, **settings), Decimal(48500))
        for peak, expected in (("50400", "48500"), ("51000.25", "49000.25")):
            self.assertEqual(
                floor(with_figure(state, "48500", peak=peak), **settings), Decimal(expected)
            )

    def test_payouts_after_the_figure_count_as_before(self) -> None:
        paid = account("49500", payouts="1000")
        self.assertEqual(floor(with_figure(paid, "48500"), after_payout="start"), Decimal(48500))
        again = with_figure(paid, "48500", payouts="400")
        self.assertEqual(floor(again, after_payout="start"), Decimal(50000))
        self.assertEqual(floor(again), Decimal(48500))

    @given(
        st.sampled_from(["end_of_day", "intraday", "static"]),
        st.lists(st.integers(-3_000, 3_000), min_size=2, max_size=8),
    )
    def test_no_floor_falls_while_closes_and_peaks_rise(
        self, trailing: str, moves: list[int]
    ) -> None:
        balance = highest = 50_000
        floors = []
        for move in moves:
            balance += move
            highest = max(highest, balance)
            state = account(str(balance), earlier_close=str(highest), peak=str(highest))
            floors.append(floor(state, trailing=trailing) or 0)
        self.assertEqual(floors, sorted(floors))


class BufferTests(SynchronousTestCase):
    """Positions are closed before the floor, since closing costs money."""

    def test_by_default_it_is_a_tick_and_the_fees_of_each_contract(self) -> None:
        # Two MNQ: each $0.50 a tick and $2.50.
        for last, breach in (("21001.75", False), ("21001.50", True)):
            state = account("48000", opened=2, last=last)
            self.assertEqual(is_breach(state), breach, last)
        self.assertEqual(
            flatten_of(checked(state)).reason,
            "Maximum loss hit: equity $48,006.00 (floor $48,000.00, buffer $6.00)",
        )

    def test_an_own_one_counts_only_while_something_is_held(self) -> None:
        self.assertFalse(is_breach(account("48000.01"), buffer="100"))
        self.assertTrue(is_breach(account("48100", opened=1), buffer="100"))
        self.assertFalse(is_breach(account("48100.01", opened=1), buffer="100"))
        self.assertFalse(is_breach(account("48000.01", opened=1), buffer="0"))


class ReduceOnlyTests(SynchronousTestCase):
    """``reduce_only_at``: a share of the drawdown from which on the account may only close what it holds."""

    REASON = "the loss has reached 80 % of the drawdown of $2,000.00"

    def reason(self, balance: str, **known: Any) -> str | None:
        return checked(account(balance, **known), reduce_only_at=80).reduce_only

    def test_the_share_is_exact_to_the_cent(self) -> None:
        self.assertEqual(self.reason("48400.01"), "")
        self.assertEqual(self.reason("48400"), self.REASON)
        self.assertEqual(checked(account("48400"), reduce_only_at=80).commands, ())
        # 48,500 and a loss of 100 on the position.
        self.assertEqual(self.reason("48500", opened=1, last="20950.25"), "")
        self.assertEqual(self.reason("48500", opened=1, last="20950"), self.REASON)

    def test_it_follows_the_floor(self) -> None:
        self.assertEqual(self.reason("49900.01", earlier_close="51500"), "")
        self.assertEqual(self.reason("49900", earlier_close="51500"), self.REASON)

    def test_it_lasts_until_the_loss_is_clearly_smaller(self) -> None:
        for balance, lasts in (("48400.01", True), ("48560", True), ("48560.01", False)):
            state = in_stage(account(balance), RULE.rule_id, self.REASON)
            result = checked(state, reduce_only_at=80)
            self.assertEqual(result.reduce_only, self.REASON if lasts else "", balance)

    def test_what_it_cannot_tell_it_leaves(self) -> None:
        unknown = state_after(position(MNQ, 1), state=account("49000"))
        result = checked(in_stage(unknown, RULE.rule_id, self.REASON), reduce_only_at=80)
        self.assertIsNone(result.reduce_only)

    def test_without_the_key_nothing_is_asked_for(self) -> None:
        self.assertEqual(checked(account("48000.01")), NOTHING)


class UncertainTests(SynchronousTestCase):
    """What is not known."""

    def test_the_lower_of_two_balances_counts(self) -> None:
        self.assertTrue(is_breach(account("50000", other="47999")))

    def test_without_a_balance_it_warns(self) -> None:
        self.assertEqual(
            checked(AccountState(account_id=1)),
            RuleResult(warnings=("no balance yet, the floor is unknown",), reduce_only=None),
        )

    def test_while_an_answer_is_applied_the_rule_waits(self) -> None:
        state = with_risk(account("1"), is_listing=True)
        self.assertEqual(checked(state), RuleResult(reduce_only=None))

    def test_while_its_own_lock_is_in_force_it_does_nothing(self) -> None:
        lock = LockoutSet(reason="", locked_until=None, rule_id=RULE.rule_id, locked_at=NOON)
        state = msgspec.structs.replace(account("1"), lockouts={RULE.rule_id: lock})
        self.assertEqual(checked(state), NOTHING)


class SettingsTests(SynchronousTestCase):
    """The keys with values of their own."""

    def test_stops_at_takes_two_words_and_amounts(self) -> None:
        for value, expected in (
            ("start", "start"),
            ("never", "never"),
            (0, "0"),
            (Decimal("50100.00"), "50100.00"),
        ):
            self.assertEqual(convert(value, StopsAt), expected)
        for value in ("50100", "end", -1, True, Decimal("NaN"), None):
            with self.assertRaises((ValueError, ArithmeticError)):
                convert(value, StopsAt)

    def test_a_floor_never_stops_below_where_it_begins(self) -> None:
        settings_of(Settings, starting_balance="50000", stops_at="48000")
        settings_of(Settings, starting_balance="50000", drawdown="50000", stops_at="0")
        for amount in ("47999.99", "100"):
            with self.assertRaisesRegex(
                ValueError, f"^stops_at: expected at least 48000.00, .* got {amount}$"
            ):
                settings_of(Settings, starting_balance="50000", stops_at=amount)

    def test_settings_survive_the_journal(self) -> None:
        settings = settings_of(Settings, starting_balance="0", stops_at="50100", buffer="0")
        text = msgspec.json.encode(settings)
        self.assertEqual(msgspec.json.decode(text, type=Settings), settings)


class GaugeTests(SynchronousTestCase):
    """How far the floor is."""

    def test_the_headroom_is_equity_less_floor(self) -> None:
        (gauge,) = gauges(account("49500.25"), Settings(), NOON)
        self.assertEqual(
            gauge,
            Gauge(
                name="maximum loss",
                limit=Decimal(2000),
                current=Decimal("499.75"),
                floor=Decimal(48000),
                unit="$",
                words="floor $48,000.00 by riskd's estimate; $48,000.00 if the day ended now",
            ),
        )
        (gauge,) = gauges(with_figure(account("49500.25"), "48500"), Settings(), NOON)
        self.assertEqual(
            gauge.words,
            "floor $48,500.00 by the firm's figure; $48,500.00 if the day ended now",
        )
        self.assertEqual(gauge.current, Decimal("999.75"))

    def test_without_a_balance_it_says_so(self) -> None:
        (gauge,) = gauges(AccountState(account_id=1), Settings(), NOON)
        self.assertEqual(
            (gauge.current, gauge.words), (None, "no balance yet, the floor is unknown")
        )


class CloseTests(SynchronousTestCase):
    """What the end of the day would do to the floor."""

    def close(self, state: AccountState, **settings: object) -> str:
        found = floor_now(state, settings_of(Settings, **settings))
        assert found is not None
        self.assertEqual((found.amount, found.source), (floor(state, **settings), "estimate"))
        return found.close_words

    def test_a_day_in_profit_raises_it_by_the_equity(self) -> None:
        """A day that began at 50,000, made 600 and has 200 open would end at 50,800."""
        state = msgspec.structs.replace(
            account("50600", opened=1, last="21100"), realized_pnl=Decimal(600)
        )
        self.assertEqual(self.close(state), "today's close would raise the floor to $48,800.00")

    def test_it_is_raised_no_further_than_it_stops(self) -> None:
        self.assertEqual(
            self.close(during_day("53000", "3000")),
            "today's close would raise the floor to $50,000.00",
        )
        self.assertEqual(
            self.close(account("53000")), "today's close would leave the floor at $50,000.00"
        )

    def test_a_day_in_loss_leaves_it(self) -> None:
        self.assertEqual(
            self.close(during_day("49000", "-1000")),
            "today's close would leave the floor at $48,000.00",
        )

    def test_the_firms_figure_is_raised_by_what_has_been_made_since(self) -> None:
        """Days before the figure count no more, so only a close above 50,500 raises 48,500."""
        for balance, after in (("50500", "48500"), ("50500.25", "48500.25"), ("53000", "50000")):
            found = floor_now(
                with_figure(during_day(balance, "500", earlier_close="51000"), "48500"), Settings()
            )
            assert found is not None
            self.assertEqual(
                (found.amount, found.source, found.after_close),
                (Decimal(48500), "firm", Decimal(after)),
            )

    def test_the_nearest_of_two_floors_counts(self) -> None:
        """A locked account keeps earlier limits beside the new ones."""
        rules = [
            RuleInForce(RULE, settings_of(Settings, drawdown=drawdown), is_held=is_held)
            for drawdown, is_held in (("2000", True), ("1500", False), ("3000", False))
        ]
        found = nearest_floor(account("50000"), rules)
        self.assertEqual(found and found.amount, Decimal(48500))
        self.assertIsNone(nearest_floor(AccountState(account_id=1), rules))

    def test_other_floors_are_not_moved_by_a_close(self) -> None:
        for trailing in ("intraday", "static"):
            self.assertEqual(
                self.close(during_day("51000", "1000"), trailing=trailing),
                "today's close does not move the floor",
            )

    @given(
        st.decimals(40000, 60000, places=2),
        st.decimals(-5000, 5000, places=2),
        st.sampled_from(["start", "never", "50100"]),
        st.none() | st.decimals(38000, 55000, places=2),
    )
    def test_the_close_has_that_floor(
        self, balance: Decimal, net: Decimal, stops_at: str, figure: Decimal | None
    ) -> None:
        state = during_day(str(balance), str(net))
        if figure is not None:
            state = with_figure(state, str(figure))
        settings = settings_of(Settings, stops_at=stops_at)
        found = floor_now(state, settings)
        assert found is not None
        closed = next_day(state)
        self.assertEqual(floor_of(closed, settings), found.after_close)

    def test_it_is_read_from_the_limits_in_force(self) -> None:
        limits = {"RULE-014": Limit("maximum_loss", '{"drawdown": "3000"}')}
        found = published_floor(msgspec.structs.replace(account("50500"), limits=limits))
        self.assertEqual(
            (found and found.amount, found and found.headroom), (Decimal(47500), Decimal(3000))
        )
        for broken in ({}, {"RULE-014": Limit("maximum_loss", "{")}):
            state = msgspec.structs.replace(account("50500"), limits=broken)
            self.assertIsNone(published_floor(state))
