"""The account's state: what each event changes, and that a repeated event changes nothing."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import (
    AccountState,
    BestBidAsk,
    Charge,
    Flattening,
    Limit,
    LogEntry,
    RiskState,
    apply,
    begin_day,
    current_quotes,
    is_repeat,
    merge,
    with_risk,
    without_trade,
)
from riskd.model.events import (
    Action,
    ClearedBy,
    Event,
    OrderState,
    PositionType,
)
from riskd.testing import make_event
from tests.support import strategies
from tests.support.rules import state_after

MNQ = "CON.F.US.MNQ.U25"
ES = "CON.F.US.EP.U25"
NOON = datetime(2025, 1, 17, 12, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat()


def event(event_type: str, **data: object) -> Event:
    return make_event(event_type, data)


def position(size: int, seconds: float = 0, **data: object) -> Event:
    return event(
        "GatewayUserPosition",
        **{"id": 1, "size": size, "createdAt": at(0), "updatedAt": at(seconds), **data},
    )


def order(state: OrderState, seconds: float = 0, **data: object) -> Event:
    return event(
        "GatewayUserOrder",
        **{"id": 7, "state": state, "createdAt": at(0), "updatedAt": at(seconds), **data},
    )


def trade(identifier: int, pnl: str, seconds: float = 0) -> Event:
    return event(
        "GatewayUserTrade", id=identifier, profitAndLoss=Decimal(pnl), executionTime=at(seconds)
    )


def quote(last: str, seconds: float = 0, contract_id: str = MNQ) -> Event:
    price = Decimal(last)
    return event(
        "MarketQuote",
        contractId=contract_id,
        bid=price,
        ask=price + Decimal("0.25"),
        last=price,
        timestamp=at(seconds),
    )


def reset(seconds: float, *, lockouts_cleared: bool = True) -> Event:
    return event("daily_reset", reset_time=at(seconds), lockouts_cleared=lockouts_cleared)


def lockout(rule_id: str, until: float | None) -> Event:
    return event(
        "lockout_set",
        rule_id=rule_id,
        locked_until=None if until is None else at(until),
        locked_at=at(0),
    )


class TradeTests(SynchronousTestCase):
    """The realized P&L and the trade count of the trading day."""

    def test_trades_add_up_exactly(self) -> None:
        state = state_after(trade(1, "0.10"), trade(2, "0.20"), trade(3, "-45.50"))
        self.assertEqual((str(state.realized_pnl), state.trade_count), ("-45.20", 3))

    def test_a_trade_counts_once(self) -> None:
        state = state_after(trade(1, "10.00"))
        self.assertIs(apply(state, trade(1, "10.00")), state)

    def test_a_trade_executed_before_the_day_began_does_not_count_but_is_known(self) -> None:
        state = state_after(reset(100), trade(1, "10.00", seconds=99))
        self.assertEqual((state.realized_pnl, state.trade_count), (Decimal(0), 0))
        self.assertIs(apply(state, trade(1, "10.00", seconds=99)), state)

    def test_a_trade_executed_at_the_reset_is_of_the_new_day(self) -> None:
        state = state_after(trade(1, "10.00", seconds=100), reset(100))
        self.assertEqual((state.realized_pnl, state.trade_count), (Decimal(10), 1))


class PositionTests(SynchronousTestCase):
    """Positions, one for each contract."""

    def test_a_position_is_opened_changed_and_closed(self) -> None:
        state = state_after(position(2, 0))
        self.assertEqual([held.size for held in state.open_positions], [2])
        state = apply(state, position(3, 1))
        self.assertEqual([held.size for held in state.open_positions], [3])
        state = apply(state, position(0, 2))
        self.assertEqual(state.open_positions, ())

    def test_an_older_event_changes_nothing(self) -> None:
        state = state_after(position(2, 0), position(0, 2))
        self.assertIs(apply(state, position(2, 1)), state)

    def test_of_two_events_of_one_millisecond_the_later_arrival_counts(self) -> None:
        state = state_after(position(2, 1), position(3, 1))
        self.assertEqual(state.open_positions[0].size, 3)

    def test_states_that_are_asked_in_turn_have_their_own_open_positions(self) -> None:
        one, two = state_after(position(1)), state_after(position(2))
        sizes = [each.open_positions[0].size for each in (one, two, one, two, two)]
        self.assertEqual(sizes, [1, 2, 1, 2, 2])

    def test_each_contract_has_a_position_of_its_own(self) -> None:
        state = state_after(position(2), position(1, contractId=ES))
        self.assertEqual({held.contract_id for held in state.open_positions}, {MNQ, ES})
        self.assertTrue(state.holds_or_works(ES))
        state = apply(state, position(0, 1, contractId=ES))
        self.assertFalse(state.holds_or_works(ES))

    def test_an_event_with_nothing_new_but_the_time_is_a_repeat(self) -> None:
        state = state_after(position(2, 0))
        self.assertTrue(is_repeat(state, position(2, 5)))
        self.assertFalse(is_repeat(state, position(3, 5)))
        self.assertFalse(is_repeat(AccountState(account_id=123), position(2, 5)))


class OrderTests(SynchronousTestCase):
    """Working orders."""

    def test_an_order_works_until_it_is_final(self) -> None:
        for final in (OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED):
            state = state_after(order(OrderState.ACTIVE))
            self.assertEqual([working.id for working in state.working_orders], [7])
            self.assertEqual(apply(state, order(final, 1)).working_orders, ())

    def test_a_changed_order_is_replaced(self) -> None:
        state = state_after(
            order(OrderState.ACTIVE, 0, size=2), order(OrderState.ACTIVE, 1, size=5)
        )
        self.assertEqual([working.size for working in state.working_orders], [5])
        self.assertIs(apply(state, order(OrderState.ACTIVE, 0, size=2)), state)

    def test_a_final_order_never_works_again_whatever_its_time_says(self) -> None:
        state = state_after(order(OrderState.FILLED, 1))
        self.assertIs(apply(state, order(OrderState.ACTIVE, 99)), state)

    def test_only_the_last_256_final_orders_are_remembered(self) -> None:
        state = state_after(*(order(OrderState.CANCELED, id=number) for number in range(1000)))
        self.assertEqual(len(state.final_orders), 256)
        self.assertIn(999, state.final_orders)

    def test_a_working_order_makes_its_contract_active(self) -> None:
        state = state_after(order(OrderState.ACTIVE, contractId=ES), position(1))
        self.assertEqual(state.active_contracts, (MNQ, ES))
        state = state_after(order(OrderState.ACTIVE, contractId=ES))
        self.assertTrue(state.holds_or_works(ES))
        self.assertFalse(state.holds_or_works(MNQ))


class QuoteTests(SynchronousTestCase):
    """Quotes, one for each contract."""

    def test_the_newest_quote_counts(self) -> None:
        state = state_after(quote("21000", 1), quote("21001", 2))
        self.assertIs(apply(state, quote("20000", 1)), state)
        self.assertEqual(state.quotes[MNQ].last, Decimal(21001))


class LockoutTests(SynchronousTestCase):
    """Lockouts of several rules at the same time."""

    def rule_of(self, state: AccountState) -> str | None:
        return state.lockout.rule_id if state.lockout else None

    def test_the_lock_that_ends_last_is_the_one_shown(self) -> None:
        state = state_after(lockout("RULE-007", 300), lockout("RULE-003", 3600))
        self.assertEqual(self.rule_of(state), "RULE-003")
        state = state_after(lockout("RULE-003", 3600), lockout("RULE-007", 300))
        self.assertEqual(self.rule_of(state), "RULE-003")

    def test_a_permanent_lock_outlasts_all(self) -> None:
        state = state_after(lockout("RULE-003", 3600), lockout("RULE-010", None))
        self.assertEqual(self.rule_of(state), "RULE-010")

    def test_a_cleared_account_has_no_lock(self) -> None:
        cleared = event("lockout_cleared", cleared_by=ClearedBy.ADMIN_OVERRIDE)
        state = state_after(lockout("RULE-003", 3600), lockout("RULE-010", None), cleared)
        self.assertEqual(state.lockout, None)
        self.assertIs(apply(state, cleared), state)

    def test_a_repeated_lock_changes_nothing(self) -> None:
        state = state_after(lockout("RULE-003", 3600))
        self.assertIs(apply(state, lockout("RULE-003", 3600)), state)


class ResetTests(SynchronousTestCase):
    """The daily reset."""

    def test_a_reset_zeroes_the_day_and_leaves_positions_and_orders(self) -> None:
        state = state_after(
            trade(1, "-50.00"),
            position(2),
            order(OrderState.ACTIVE),
            event("enforcement_action", timestamp=at(1)),
            lockout("RULE-003", 3600),
            reset(100),
        )
        self.assertEqual((str(state.realized_pnl), state.trade_count), ("0.00", 0))
        self.assertEqual((state.enforcement, state.lockout), ((), None))
        self.assertEqual((len(state.open_positions), len(state.working_orders)), (1, 1))

    def test_a_reset_that_clears_no_lockouts_leaves_them(self) -> None:
        state = state_after(lockout("RULE-010", None), reset(100, lockouts_cleared=False))
        self.assertNotEqual(state.lockout, None)

    def test_a_repeated_reset_changes_nothing(self) -> None:
        state = state_after(trade(1, "-50.00"), reset(100), trade(2, "5.00", seconds=101))
        again = apply(state, state_reset := reset(100))
        self.assertEqual(again.realized_pnl, Decimal(5))
        self.assertIs(apply(again, state_reset), again)

    def test_a_repeated_trade_of_the_day_before_changes_nothing(self) -> None:
        late = (reset(100), trade(1, "5.00", seconds=50))
        state = state_after(*late)
        self.assertEqual(apply(apply(state, late[0]), late[1]), state)

    def test_an_older_reset_does_not_begin_a_day(self) -> None:
        state = state_after(trade(1, "5.00", seconds=150), reset(100))
        self.assertEqual(apply(state, reset(50)).realized_pnl, Decimal(5))


class DayTests(SynchronousTestCase):
    """The trading day, which also begins by the clock without an event."""

    def moment(self, seconds: float) -> datetime:
        return NOON + timedelta(seconds=seconds)

    def test_a_day_begins_with_the_events_that_arrived_before_it_was_announced(self) -> None:
        state = state_after(
            trade(1, "-50.00", seconds=99),
            trade(2, "5.00", seconds=100),
            event("enforcement_action", timestamp=at(99)),
            event("enforcement_action", timestamp=at(100)),
            position(2),
            lockout("RULE-003", 3600),
        )
        charges = {
            1: Charge(self.moment(99), Decimal("0.74")),
            2: Charge(self.moment(100), Decimal("1.48")),
        }
        risk = RiskState(charges=charges, memory={"RULE-006": "[]"})
        after = begin_day(msgspec.structs.replace(state, risk=risk), self.moment(100))
        self.assertEqual(after.day_began, self.moment(100))
        self.assertEqual((after.realized_pnl, after.trade_count), (Decimal(5), 1))
        self.assertEqual(set(after.trades), {2})
        self.assertEqual([done.timestamp for done in after.enforcement], [self.moment(100)])
        self.assertEqual(
            after.risk,
            msgspec.structs.replace(
                risk, charges={2: charges[2]}, earlier_trades={1: self.moment(99)}
            ),
        )
        # Neither a lock nor a position ends with the day.
        self.assertEqual((after.positions, after.lockouts), (state.positions, state.lockouts))
        self.assertEqual(after.last_reset, None)

    def test_a_reset_begins_a_day(self) -> None:
        state = state_after(reset(100))
        self.assertEqual(state.day_began, self.moment(100))

    def test_a_reset_before_the_day_does_not_begin_it(self) -> None:
        began = begin_day(state_after(trade(1, "5.00", seconds=150)), self.moment(100))
        state = apply(began, reset(50))
        self.assertEqual((state.day_began, state.last_reset), (self.moment(100), None))
        self.assertEqual(state.realized_pnl, Decimal(5))

    def test_the_reset_of_a_day_that_began_by_the_clock_is_kept(self) -> None:
        state = apply(begin_day(state_after(), self.moment(100)), reset(100))
        assert state.last_reset is not None
        self.assertEqual(state.last_reset.reset_time, state.day_began)

    def test_a_trade_before_the_day_is_kept_and_does_not_count(self) -> None:
        began = begin_day(state_after(), self.moment(100))
        state = apply(began, trade(1, "5.00", seconds=99))
        self.assertEqual((set(state.trades), state.trade_count), ({1}, 0))

    def test_a_voided_trade_does_not_count(self) -> None:
        state = without_trade(state_after(trade(1, "-50.00"), trade(2, "5.00")), 1)
        self.assertEqual((set(state.trades), state.trade_count), ({2}, 1))
        self.assertEqual(state.realized_pnl, Decimal(5))
        self.assertIs(without_trade(state, 1), state)

    def test_a_trade_voided_after_its_day_changes_no_sum(self) -> None:
        began = begin_day(state_after(trade(2, "5.00", seconds=100)), self.moment(100))
        state = apply(began, trade(1, "-50.00", seconds=99))
        self.assertEqual(with_risk(without_trade(state, 1), voided=()), began)

    def test_a_voided_trade_takes_its_charges_along(self) -> None:
        state = state_after(trade(1, "-50.00"), trade(2, "5.00", seconds=1))
        charge = Charge(self.moment(0), Decimal("1.24"))
        state = with_risk(state, charges={1: charge, 2: charge, 7: charge})
        after = without_trade(without_trade(state, 1), 7)
        self.assertEqual(after.risk.charges, {2: charge})
        self.assertEqual((after.realized_pnl, after.trade_count), (Decimal("5.00"), 1))
        self.assertIs(without_trade(after, 1), after)

    def test_a_voided_trade_of_the_day_before_is_in_no_window(self) -> None:
        state = begin_day(state_after(trade(1, "-50.00", seconds=99)), self.moment(100))
        self.assertEqual(list(state.risk.earlier_trades), [1])
        self.assertEqual(dict(without_trade(state, 1).risk.earlier_trades), {})

    def test_a_void_that_comes_before_its_trade_counts(self) -> None:
        state = without_trade(AccountState(account_id=123), 1)
        self.assertIs(apply(state, trade(1, "-50.00")), state)

    def test_voids_of_both_runs_are_known_after_a_merge(self) -> None:
        one = without_trade(state_after(trade(1, "-50.00"), trade(2, "-5.00")), 1)
        other = without_trade(state_after(trade(1, "-50.00"), trade(2, "-5.00")), 2)
        merged = merge(one, other)
        self.assertEqual(merged.risk.voided, (1, 2))
        self.assertEqual(dict(merged.trades), {})


class OtherTests(SynchronousTestCase):
    """Enforcement actions, status, and events of other accounts."""

    def test_an_enforcement_action_counts_once(self) -> None:
        done = event("enforcement_action", timestamp=at(1))
        state = state_after(done, event("enforcement_action", timestamp=at(2)), done)
        self.assertEqual(len(state.enforcement), 2)

    def test_the_latest_status_counts(self) -> None:
        state = state_after(event("daemon_status"), event("daemon_status", status="STOPPING"))
        assert state.daemon is not None
        self.assertEqual(state.daemon.status, "STOPPING")

    def test_an_event_of_another_account_raises(self) -> None:
        state = AccountState(account_id=456)
        error = self.assertRaises(ValueError, apply, state, trade(1, "1.00"))
        self.assertIn("123", str(error))


def without_outdated(state: AccountState) -> AccountState:
    """Return ``state`` without what depends on the order of two positions within a millisecond."""
    return msgspec.structs.replace(state, outdated_quotes={})


class OutdatedQuoteTests(SynchronousTestCase):
    """A quote that was known before contracts were opened does not value them."""

    def test_a_quote_from_before_an_entry_is_outdated(self) -> None:
        for before, after, expected in (
            (position(0, 1), position(1, 2), True),
            (position(2, 1), position(3, 2), True),
            (position(2, 1), position(1, 2), False),
            (position(2, 1), position(2, 2), False),
            (position(2, 1), position(0, 2), False),
            (position(2, 1), position(2, 2, type=int(PositionType.SHORT)), True),
            (position(2, 1), position(1, 2, createdAt=at(2)), True),
        ):
            state = state_after(before, quote("21000", 1), after)
            self.assertEqual(bool(state.outdated_quotes), expected, after)
            self.assertEqual(MNQ in current_quotes(state), not expected)
            self.assertEqual(state.quotes[MNQ].last, 21000)

    def test_the_next_quote_is_current_and_the_same_one_again_is_not(self) -> None:
        state = state_after(quote("21000", 1), position(1, 2))
        self.assertEqual(current_quotes(apply(state, quote("21000", 1))), {})
        for last, seconds in (("21000", 1.001), ("21001", 1)):
            later = apply(state, quote(last, seconds))
            self.assertEqual(current_quotes(later), later.quotes)

    def test_a_feed_may_come_back_to_a_price_within_a_millisecond(self) -> None:
        state = state_after(quote("21000"), position(1), quote("21001"), quote("21000"))
        self.assertEqual(current_quotes(state), state.quotes)

    def test_a_replay_from_before_an_entry_values_nothing(self) -> None:
        history = [quote("20999", 1), quote("21000", 2), position(1, 2)]
        state = state_after(*history, *history)
        self.assertEqual(current_quotes(state), {})
        self.assertEqual(len(current_quotes(apply(state, quote("21001", 3)))), 1)

    def test_best_bid_and_ask_from_before_an_entry_are_forgotten(self) -> None:
        best = {MNQ: BestBidAsk(Decimal(1), Decimal(2))}
        state = with_risk(state_after(), best_bid_asks=best)
        self.assertEqual(apply(state, position(1)).risk.best_bid_asks, {})

    def test_the_journals_quote_is_outdated_by_a_position_that_this_run_found(self) -> None:
        known = state_after(position(1, 1), quote("21000", 1))
        for found, expected in ((position(2, 2), 1), (position(1, 2), 0)):
            both = merge(known, state_after(found))
            self.assertEqual(len(both.outdated_quotes), expected)


class PropertyTests(SynchronousTestCase):
    """Properties of any history of events."""

    @given(strategies.histories())
    def test_applying_the_last_event_twice_changes_nothing(self, history: list[Event]) -> None:
        state = state_after(*history)
        for each in history[-1:]:
            self.assertIs(apply(state, each), state)

    @given(strategies.histories(), st.data())
    def test_a_snapshot_and_a_replay_from_before_it_end_on_the_same_state(
        self, history: list[Event], data: st.DataObject
    ) -> None:
        snapshot_at = data.draw(st.integers(0, len(history)))
        replay_from = data.draw(st.integers(0, snapshot_at))
        state = state_after(*history[:snapshot_at])
        for each in history[replay_from:]:
            state = apply(state, each)
        self.assertEqual(without_outdated(state), without_outdated(state_after(*history)))

    @given(strategies.histories())
    def test_realized_pnl_is_the_sum_of_the_trades_of_the_day(self, history: list[Event]) -> None:
        state = state_after(*history)
        began = state.day_began
        counted = [
            each.profit_and_loss
            for each in state.trades.values()
            if began is None or each.execution_time >= began
        ]
        self.assertEqual((state.realized_pnl, state.trade_count), (sum(counted), len(counted)))


class MergedRiskStateTests(SynchronousTestCase):
    """Of an earlier run's state and that of this run: the part that only the daemon needs."""

    def merged(self, known: RiskState, since: RiskState) -> RiskState:
        before, after = (AccountState(account_id=123, risk=risk) for risk in (known, since))
        return merge(before, after).risk

    def flattening(self, rule_id: str) -> Flattening:
        action = Action.CLOSE_ALL_POSITIONS
        return Flattening(action=action, rule_id=rule_id, reason="Too many", begun=NOON)

    def test_known_values_are_kept(self) -> None:
        known = RiskState(
            can_trade=False,
            charges={1: Charge(NOON, Decimal("0.74"))},
            memory={"RULE-006": "[1]"},
            flattening=self.flattening("RULE-001"),
            day_key=date(2025, 1, 17),
        )
        self.assertEqual(self.merged(known, RiskState()), known)
        self.assertEqual(self.merged(RiskState(), known), known)

    def test_later_values_replace_known_ones(self) -> None:
        known = RiskState(
            can_trade=False,
            charges={1: Charge(NOON, Decimal(1)), 2: Charge(NOON, Decimal(2))},
            memory={"RULE-006": "[1]", "RULE-007": "[2]"},
            flattening=self.flattening("RULE-001"),
            day_key=date(2025, 1, 16),
        )
        since = RiskState(
            can_trade=True,
            charges={2: Charge(NOON, Decimal(3))},
            memory={"RULE-006": "[3]"},
            flattening=self.flattening("RULE-002"),
            day_key=date(2025, 1, 17),
        )
        both = RiskState(
            can_trade=True,
            charges={1: Charge(NOON, Decimal(1)), 2: Charge(NOON, Decimal(3))},
            memory={"RULE-006": "[3]", "RULE-007": "[2]"},
            flattening=self.flattening("RULE-002"),
            day_key=date(2025, 1, 17),
        )
        self.assertEqual(self.merged(known, since), both)

    def test_the_later_trading_day_counts(self) -> None:
        later, earlier = (RiskState(day_key=date(2025, 1, day)) for day in (17, 16))
        self.assertEqual(self.merged(later, earlier).day_key, date(2025, 1, 17))

    def test_the_log_is_that_of_this_run(self) -> None:
        known, since = (
            RiskState(log=(LogEntry(NOON, "operator", f'{{"reason":"{number}"}}'),))
            for number in (1, 2)
        )
        self.assertEqual(self.merged(known, since), since)

    def test_only_trades_since_the_later_beginning_of_the_day_count(self) -> None:
        trades = (trade(1, "-50.00", seconds=50), trade(2, "5.00", seconds=150))
        early = state_after(*trades)
        late = begin_day(state_after(), NOON + timedelta(seconds=100))
        for known, since in ((early, late), (late, early)):
            both = merge(known, since)
            self.assertEqual(both.day_began, late.day_began)
            self.assertEqual((both.realized_pnl, both.trade_count), (Decimal(5), 1))


def without_final(state: AccountState) -> AccountState:
    return msgspec.structs.replace(state, final_orders={})


class MergedStateTests(SynchronousTestCase):
    """Of an earlier run's state and that of this run: the part that the console shares."""

    @given(strategies.histories(), strategies.histories())
    def test_nothing_that_either_state_knows_is_lost(
        self, before: list[Event], since: list[Event]
    ) -> None:
        known, fresh = state_after(*before), state_after(*since)
        both = merge(known, fresh)
        self.assertLessEqual(set(known.lockouts) | set(fresh.lockouts), set(both.lockouts))
        self.assertLessEqual(set(known.trades) | set(fresh.trades), set(both.trades))
        self.assertEqual(merge(known, AccountState(account_id=123)), without_final(known))
        self.assertEqual(merge(AccountState(account_id=123), fresh), fresh)

    def test_known_limits_stay_until_there_are_others(self) -> None:
        limits = [{rule: Limit("max_contracts", "{}")} for rule in ("RULE-001", "RULE-002")]
        before, since = (AccountState(account_id=123, limits=each) for each in limits)
        self.assertEqual(merge(before, AccountState(account_id=123)).limits, limits[0])
        self.assertEqual(merge(before, since).limits, limits[1])


class PurityTests(SynchronousTestCase):
    """The core is plain Python."""

    def test_importing_the_core_installs_no_reactor(self) -> None:
        program = (
            "import sys, riskd.model.formatting, riskd.model.wire\n"
            "import riskd.config.settings, riskd.gateway.mapping, riskd.engine.enforcement.flattening\n"
            "import riskd.practice.exchange, riskd.practice.market, riskd.practice.traders\n"
            "import riskd.rules.registry, riskd.rules.evaluation\n"
            "sys.exit('twisted.internet.reactor' in sys.modules)"
        )
        self.assertEqual(
            subprocess.run([sys.executable, "-c", program], check=False).returncode, 0
        )
