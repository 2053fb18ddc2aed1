"""Rules at work on the practice exchange: breach, enforcement, locks, and what a restart remembers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.faults import Faults
from riskd.model.events import Action, ClearedBy, DaemonStatus, DailyReset, Status
from riskd.practice.records import Quote
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    M2K,
    MNQ,
    MONDAY_NOON,
    SELL,
    PracticeDaemon,
    settings_of,
)

COOLDOWN = """
[rules.cooldown_after_loss]
loss_threshold = 100
cooldown_seconds = 60
"""
DAILY_LOSS = """
[rules.daily_realized_loss]
loss_limit = 500
"""
MAX_CONTRACTS = """
[rules.max_contracts]
limit = 2
"""


class GuardTestCase(SynchronousTestCase):
    config = ""

    def setUp(self) -> None:
        self.daemon = PracticeDaemon(self.config)
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")

    def lose(self, points: int, size: int = 1) -> None:
        """Buy, let the market fall, and sell."""
        self.daemon.trade(BUY, size)
        self.daemon.move(MNQ, str(21000 - points))
        self.daemon.trade(SELL, size)
        self.daemon.move(MNQ, "21000")
        # What was opened and closed in an instant may not have reached the broker's searches yet.
        self.daemon.advance(0.25)


class BreachTests(GuardTestCase):
    config = MAX_CONTRACTS

    def test_a_breach_is_flat_at_once_and_told_once(self) -> None:
        daemon = self.daemon
        stop = daemon.trade(SELL, 3, stopPrice="20900")
        daemon.trade(BUY, 3)
        self.assertEqual((daemon.held, daemon.working), ({}, []))
        daemon.advance(10)
        (action,) = daemon.actions
        self.assertEqual(action.action, Action.CLOSE_ALL_POSITIONS)
        self.assertEqual((action.rule_id, action.success), ("RULE-001", True))
        self.assertEqual((action.details.positions_closed, action.details.orders_canceled), (1, 1))
        self.assertNotIn(stop, daemon.state.orders)
        self.assertEqual((daemon.state.open_positions, daemon.locks), ((), []))

    def test_what_is_within_the_limit_is_left_alone(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({MNQ: 2}, []))

    def test_reentry_is_legal(self) -> None:
        self.daemon.trade(BUY, 3)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({MNQ: 1}, 1))


class ReductionTests(GuardTestCase):
    config = """
    [rules.max_contracts_per_instrument]
    limits = { MNQ = 2 }
    """

    def test_what_is_too_much_is_closed_and_the_stop_cut_with_it(self) -> None:
        daemon = self.daemon
        stop = daemon.trade(SELL, 2, stopPrice="20900")
        daemon.trade(BUY, 2)
        daemon.gateway.modify_order(ACCOUNT, stop, {"size": 3})
        daemon.trade(BUY, 1)
        self.assertEqual(daemon.held, {MNQ: 2})
        (working,) = daemon.gateway.exchange.open_orders(ACCOUNT)
        self.assertEqual((working["id"], working["size"]), (stop, 2))
        daemon.advance(10)
        (action,) = daemon.actions
        self.assertEqual(action.details.contract_id, MNQ)
        (held,) = daemon.state.open_positions
        self.assertEqual(held.size, 2)
        self.assertFalse(daemon.engine.accounts[ACCOUNT].risk_engine._enforcer.is_flattening)

    def test_it_is_done_again_and_again(self) -> None:
        for _ in range(3):
            self.daemon.trade(BUY, 3)
            self.daemon.advance(1)
            self.assertEqual(self.daemon.held, {MNQ: 2})
        self.assertEqual(len(self.daemon.actions), 3)


class MarkTests(GuardTestCase):
    config = """
    [rules.daily_unrealized_loss]
    loss_limit = 300
    """

    def test_until_a_trade_is_seen_a_position_is_worth_what_is_bid_for_it(self) -> None:
        daemon = self.daemon
        for bid, held in (("4994.20", {M2K: 10}), ("4994.10", {})):
            daemon.gateway.exchange.move_market(
                M2K, Quote(Decimal(5000), Decimal("5000.10"), Decimal(5000)), daemon.now()
            )
            daemon.gateway.exchange.take_messages()
            if not daemon.held:
                daemon.trade(BUY, 10, M2K)
            daemon.engine.market_event("GatewayQuote", M2K, {"bestBid": Decimal(bid)})
            self.assertEqual(daemon.held, held)


class BreachWhileHeldToALockTests(GuardTestCase):
    """A breach that is seen while a locked account's position is closed."""

    config = COOLDOWN + DAILY_LOSS

    def test_it_is_remembered_and_breaches_once(self) -> None:
        self.lose(245, 1)
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        # Closing it costs a dollar a contract, which makes it more than 500.
        self.daemon.trade(BUY, 20)
        self.daemon.kill()
        self.daemon.gateway.faults = Faults()
        self.daemon.restart()
        flattening = self.daemon.state.risk.flattening
        assert flattening is not None
        self.assertEqual([lock.rule_id for lock in flattening.locks], ["RULE-003"])
        self.daemon.engine.accounts[ACCOUNT].unlock("a mistake", "trader")
        self.daemon.advance(120)
        self.assertEqual(self.daemon.state.lockouts, {})


class LockoutTests(GuardTestCase):
    config = DAILY_LOSS

    def breach(self) -> None:
        self.lose(125, 2)

    def test_the_account_is_locked_to_the_next_reset(self) -> None:
        self.breach()
        (action,), (lock,) = self.daemon.actions, self.daemon.locks
        self.assertEqual(action.action, Action.CLOSE_ALL_AND_LOCKOUT)
        self.assertEqual(lock.locked_until, datetime(2026, 11, 23, 23, tzinfo=UTC))
        self.assertEqual(action.details.locked_until, lock.locked_until)
        self.assertEqual((lock.rule_id, lock.locked_at), ("RULE-003", MONDAY_NOON))
        kinds = [type(data).__name__ for data in self.daemon.news()]
        self.assertLess(kinds.index("EnforcementAction"), kinds.index("LockoutSet"))

    def test_a_locked_account_that_trades_anyway_is_flattened_again(self) -> None:
        self.breach()
        self.daemon.trade(BUY, 1)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(len(self.daemon.actions), 2)
        self.assertEqual(len(self.daemon.locks), 1)

    def test_a_locked_account_works_no_order(self) -> None:
        self.breach()
        order = self.daemon.trade(BUY, 1, limitPrice="20000")
        self.assertEqual(self.daemon.working, [])
        action = self.daemon.actions[-1]
        self.assertEqual((action.action, action.success), (Action.REJECT_ORDER, True))
        self.assertEqual((action.details.order_id, action.details.orders_canceled), (order, 1))

    def test_what_is_opened_while_no_event_comes_is_closed_all_the_same(self) -> None:
        self.breach()
        self.daemon.advance(30)
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 1)
        self.daemon.trade(BUY, 1, limitPrice="20000")
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, self.daemon.working), ({}, []))

    def test_it_ends_with_the_day(self) -> None:
        self.breach()
        self.daemon.advance(5 * 3600, step=60)
        (reset,), (cleared,) = self.daemon.news(DailyReset), self.daemon.cleared
        self.assertEqual(reset.reset_time, datetime(2026, 11, 23, 23, tzinfo=UTC))
        self.assertEqual(str(reset.previous_pnl), "-502.00")
        self.assertEqual((reset.previous_trade_count, reset.lockouts_cleared), (1, True))
        self.assertEqual(cleared.cleared_by, ClearedBy.DAILY_RESET)
        self.assertEqual((self.daemon.state.lockouts, self.daemon.state.trade_count), ({}, 0))
        self.daemon.trade(BUY, 1)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_a_kill_forgets_neither_lock_nor_loss(self) -> None:
        self.breach()
        before = self.daemon.state
        self.daemon.kill()
        self.daemon.restart()
        self.assertEqual(self.daemon.state.lockouts, before.lockouts)
        self.assertEqual(self.daemon.state.realized_pnl, Decimal("-502.00"))
        self.daemon.trade(BUY, 1)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(len({lock.locked_at for lock in self.daemon.locks}), 1)

    def test_a_lock_of_an_operators_is_finished_after_a_kill(self) -> None:
        """No rule would set it again."""
        self.daemon.trade(BUY, 1)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.daemon.engine.accounts[ACCOUNT].lock("lunch", "trader", None)
        self.daemon.advance(1)
        self.assertEqual((self.daemon.held, self.daemon.locks), ({MNQ: 1}, []))
        self.daemon.kill()
        self.daemon.gateway.faults = Faults()
        self.daemon.restart()
        self.daemon.advance(1)
        (action,), (lock,) = self.daemon.actions, self.daemon.locks
        self.assertEqual(
            (action.rule_id, action.action), ("OPERATOR", Action.CLOSE_ALL_AND_LOCKOUT)
        )
        self.assertEqual((self.daemon.held, lock.locked_until), ({}, None))

    def test_an_operator_frees_the_account(self) -> None:
        self.breach()
        account = self.daemon.engine.accounts[ACCOUNT]
        self.assertTrue(account.unlock("a mistake", "trader"))
        (cleared,) = self.daemon.cleared
        self.assertEqual(cleared.cleared_by, ClearedBy.ADMIN_OVERRIDE)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.assertFalse(account.unlock("again", "trader"))

    def test_a_loss_after_an_operator_freed_it_locks_again(self) -> None:
        self.breach()
        self.daemon.engine.accounts[ACCOUNT].unlock("a mistake", "trader")
        self.lose(1)
        self.assertEqual(len(self.daemon.locks), 2)
        self.assertEqual(len(self.daemon.state.lockouts), 1)


class CooldownTests(GuardTestCase):
    config = COOLDOWN + DAILY_LOSS

    def test_it_comes_and_goes(self) -> None:
        self.lose(51, 1)
        (action,), (lock,) = self.daemon.actions, self.daemon.locks
        self.assertEqual(action.action, Action.COOLDOWN)
        self.assertEqual(action.details.cooldown_seconds, 60)
        self.assertEqual(lock.locked_until, MONDAY_NOON + timedelta(seconds=60))
        self.daemon.advance(59.74, step=0.01)
        self.assertEqual(self.daemon.cleared, [])
        self.daemon.advance(0.02, step=0.01)
        (cleared,) = self.daemon.cleared
        self.assertEqual(cleared.cleared_by, ClearedBy.TIMER_EXPIRY)
        self.assertLess(cleared.cleared_at - lock.locked_until, timedelta(milliseconds=20))

    def test_one_that_ended_before_the_day_did_was_not_ended_by_the_reset(self) -> None:
        """A machine that sleeps over both."""
        self.lose(51, 1)
        self.daemon.stopped_for(hours=6)
        self.daemon.advance(2)
        (reset,), (cleared,) = self.daemon.news(DailyReset), self.daemon.cleared
        self.assertFalse(reset.lockouts_cleared)
        self.assertEqual(cleared.cleared_by, ClearedBy.TIMER_EXPIRY)

    def test_a_loss_realized_in_a_cooldown_still_ends_the_day(self) -> None:
        daemon = self.daemon
        daemon.trade(BUY, 3)
        daemon.trade(BUY, 5)
        daemon.move(MNQ, "20940")
        daemon.trade(SELL, 3)
        self.assertEqual(daemon.held, {})
        daemon.advance(1)
        rules = {lock.rule_id for lock in daemon.locks}
        self.assertEqual(rules, {"RULE-003", "RULE-007"})
        self.assertEqual(daemon.locks[-1].rule_id, "RULE-003")
        daemon.advance(120)
        self.assertEqual(daemon.cleared, [])

    def test_whoever_keeps_the_last_lock_heard_of_has_the_longest(self) -> None:
        self.lose(125, 2)
        self.assertEqual(self.daemon.locks[-1], self.daemon.state.lockout)


class StubbornBrokerTests(GuardTestCase):
    config = MAX_CONTRACTS

    def breach_by_hand(self) -> None:
        """Buy one more at the exchange itself, where requests meet no faults."""
        self.daemon.gateway.exchange.place_order(
            ACCOUNT,
            {"contractId": MNQ, "type": 2, "side": 0, "size": 1},
            self.daemon.now(),
        )
        self.daemon.move(MNQ, "21000")

    def statuses(self) -> list[Status]:
        return [status.status for status in self.daemon.news(DaemonStatus)]

    def test_refusals_are_repeated_until_the_broker_gives_way(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.breach_by_hand()
        self.daemon.advance(3)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({MNQ: 3}, []))
        self.daemon.advance(4)
        (action,) = self.daemon.actions
        self.assertFalse(action.success)
        self.assertEqual(self.statuses()[-1], Status.ERROR)
        message = self.daemon.news(DaemonStatus)[-1].message
        self.assertIn("Account 123 is not flat yet (1 position open), riskd keeps", message)
        self.daemon.gateway.faults = Faults()
        self.daemon.advance(6)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({}, 1))
        self.assertEqual(self.statuses()[-1], Status.RUNNING)

    def test_a_broker_that_does_not_say_what_is_open_is_said_not_to(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.breach_by_hand()
        self.daemon.advance(10)
        told = "".join([status.message for status in self.daemon.news(DaemonStatus)])
        self.assertIn("not flat yet (the broker does not say what is open), riskd", told)

    def test_a_closing_that_was_done_but_not_answered_is_told_once(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(unanswered=1.0)
        self.breach_by_hand()
        self.daemon.advance(10)
        (action,) = self.daemon.actions
        self.assertEqual((action.success, action.details.positions_closed), (True, 1))
        self.assertEqual(self.daemon.held, {})

    def test_what_was_closed_is_known_to_be_closed_though_no_event_says_so(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.breach_by_hand()
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.advance(0.5)
        self.assertEqual((self.daemon.held, self.daemon.state.open_positions), ({}, ()))

    def test_a_kill_in_the_middle_is_finished_by_the_next_start(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.breach_by_hand()
        self.daemon.advance(1)
        self.daemon.kill()
        self.daemon.gateway.faults = Faults()
        self.daemon.restart()
        self.daemon.advance(1)
        (action,) = self.daemon.actions
        self.assertEqual((action.rule_id, action.success), ("RULE-001", True))
        self.assertEqual(self.daemon.held, {})


class SlowDiskTests(GuardTestCase):
    config = DAILY_LOSS

    def test_closing_does_not_wait_for_a_slow_disk_but_telling_does(self) -> None:
        self.daemon.trade(BUY, 3)
        self.daemon.move(MNQ, "20850")
        self.daemon.disk.is_slow = True
        self.daemon.trade(SELL, 2)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.daemon.clock.advance(0.006)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({}, []))


class ReloadTests(GuardTestCase):
    config = DAILY_LOSS

    def test_a_rule_is_loosened_only_after_the_lock_ends(self) -> None:
        self.lose(125, 2)
        looser = settings_of("[rules.daily_realized_loss]\nloss_limit = 5000\n")
        self.daemon.engine.reload(looser)
        self.assertIn("500", self.daemon.state.limits["RULE-003"].settings)
        self.assertNotIn("5000", self.daemon.state.limits["RULE-003"].settings)
        self.daemon.engine.accounts[ACCOUNT].unlock("enough", "trader")
        self.assertIn("5000", self.daemon.state.limits["RULE-003"].settings)

    def test_a_restart_with_looser_rules_does_not_loosen_them_either(self) -> None:
        self.lose(125, 2)
        self.daemon.kill()
        self.daemon.settings = settings_of("[rules.daily_realized_loss]\nloss_limit = 5000\n")
        self.daemon.restart()
        self.assertNotIn("5000", self.daemon.state.limits["RULE-003"].settings)

    def test_a_tighter_rule_holds_at_once(self) -> None:
        self.lose(50, 2)
        self.daemon.engine.reload(settings_of("[rules.daily_realized_loss]\nloss_limit = 100\n"))
        (lock,) = self.daemon.locks
        self.assertEqual(lock.rule_id, "RULE-003")


class DayTests(GuardTestCase):
    def test_a_reset_missed_in_a_three_day_stop_is_made_once(self) -> None:
        self.lose(10, 2)
        self.daemon.stop()
        self.daemon.told.clear()
        self.daemon.stopped_for(days=3)
        self.daemon.restart()
        self.daemon.advance(60)
        (reset,) = self.daemon.news(DailyReset)
        self.assertEqual(reset.reset_time, datetime(2026, 11, 25, 23, tzinfo=UTC))
        self.assertEqual((str(reset.previous_pnl), reset.previous_trade_count), ("-42.00", 1))
        self.assertEqual(self.daemon.state.realized_pnl, 0)

    def test_a_restart_within_the_day_resets_nothing(self) -> None:
        self.lose(10, 2)
        self.daemon.stop()
        self.daemon.stopped_for(hours=4)
        self.daemon.restart()
        self.assertEqual(self.daemon.news(DailyReset), [])
        self.assertEqual(str(self.daemon.state.realized_pnl), "-42.00")
