"""The risk engine enforces breaches, and nothing else, though events are lost."""

from __future__ import annotations

from decimal import Decimal

from riskd.config.settings import Faults
from riskd.model.events import (
    Action,
)
from riskd.practice.records import Quote
from tests.support.guarded_account import (
    COOLDOWN,
    DAILY_LOSS,
    MAX_CONTRACTS,
    ONE_ROUND,
    FeedTestCase,
    GuardTestCase,
)
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    M2K,
    MNQ,
    SELL,
)


class BreachTests(GuardTestCase):
    config = MAX_CONTRACTS

    def test_a_breach_is_flattened_at_once_and_announced_once(self) -> None:
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

    def test_a_position_within_the_limit_is_left_alone(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({MNQ: 2}, []))

    def test_a_position_opened_after_a_flatten_is_left_alone(self) -> None:
        self.daemon.trade(BUY, 3)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({MNQ: 1}, 1))


class ReductionTests(GuardTestCase):
    config = """
    [rules.max_contracts_per_instrument]
    limits = { MNQ = 2 }
    """

    def test_the_excess_is_closed_and_the_stop_reduced_with_it(self) -> None:
        daemon = self.daemon
        stop = daemon.trade(SELL, 2, stopPrice="20900")
        daemon.trade(BUY, 2)
        daemon.gateway.modify_order(ACCOUNT, stop, {"size": 3})
        daemon.trade(BUY, 1)
        self.assertEqual(daemon.held, {MNQ: 2})
        (working,) = daemon.gateway.exchange.store.open_orders(ACCOUNT)
        self.assertEqual((working["id"], working["size"]), (stop, 2))
        daemon.advance(10)
        (action,) = daemon.actions
        self.assertEqual(action.details.contract_id, MNQ)
        (held,) = daemon.state.open_positions
        self.assertEqual(held.size, 2)
        self.assertFalse(daemon.engine.accounts[ACCOUNT].risk_engine._enforcer.is_flattening)

    def test_each_further_excess_is_closed(self) -> None:
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

    def test_without_a_last_price_a_position_is_marked_at_the_bid(self) -> None:
        daemon = self.daemon
        for bid, held in (("4994.20", {M2K: 10}), ("4994.10", {})):
            daemon.gateway.exchange.move_market(
                M2K, Quote(Decimal(5000), Decimal("5000.10"), Decimal(5000)), daemon.now()
            )
            daemon.gateway.exchange.take_messages()
            if not daemon.held:
                daemon.trade(BUY, 10, M2K)
            daemon.payloads.market_event("GatewayQuote", M2K, {"bestBid": Decimal(bid)})
            self.assertEqual(daemon.held, held)


class BreachDuringEnforcementTests(GuardTestCase):
    """A breach that occurs while a locked account's position is closed."""

    config = COOLDOWN + DAILY_LOSS

    def test_a_breach_seen_while_a_lock_is_enforced_locks_once(self) -> None:
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


class LostTradesTests(FeedTestCase):
    """A trade is evaluated once, when it becomes known."""

    config = """
    [rules.trade_frequency_limit]
    max_trades = 2
    time_window_minutes = 60
    cooldown_seconds = 600
    """

    def test_trades_without_an_event_are_evaluated_when_they_are_found(self) -> None:
        self.lose_feed()
        for _ in range(3):
            self.lose(1)
        self.assertEqual(self.daemon.locks, [])
        self.daemon.advance(ONE_ROUND)
        (lock,) = self.daemon.locks
        self.assertEqual(lock.rule_id, "RULE-006")

    def test_trades_without_an_event_are_evaluated_when_the_feed_is_restored(self) -> None:
        self.lose_feed()
        for _ in range(3):
            self.lose(1)
        self.restore_feed()
        self.daemon.advance(0.25)
        self.assertEqual([lock.rule_id for lock in self.daemon.locks], ["RULE-006"])

    def test_trades_are_evaluated_once(self) -> None:
        self.lose_feed()
        for _ in range(3):
            self.lose(1)
        self.daemon.advance(ONE_ROUND)
        self.daemon.engine.accounts[ACCOUNT].unlock("enough", "trader")
        self.restore_feed()
        self.daemon.advance(ONE_ROUND)
        self.assertEqual((len(self.daemon.locks), len(self.daemon.cleared)), (1, 1))


class LostTimeTests(FeedTestCase):
    """Deadlines and locks end while events are lost, too."""

    config = """
    [rules.no_stop_loss_grace]
    grace_period_seconds = 30
    [rules.cooldown_after_loss]
    loss_threshold = 100
    cooldown_seconds = 60
    """

    def test_a_position_without_a_stop_is_closed(self) -> None:
        self.lose_feed()
        self.daemon.trade(BUY, 1)
        self.daemon.advance(29)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.daemon.advance(1 + ONE_ROUND)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual([action.rule_id for action in self.daemon.actions], ["RULE-008"])

    def test_a_cooldown_ends(self) -> None:
        self.lose(60)
        self.assertEqual(len(self.daemon.locks), 1)
        self.lose_feed()
        self.daemon.advance(60 + ONE_ROUND)
        self.assertEqual(len(self.daemon.cleared), 1)

    def test_a_locked_account_is_flattened(self) -> None:
        self.lose(60)
        self.lose_feed()
        self.daemon.trade(BUY, 1)
        self.daemon.advance(ONE_ROUND)
        self.assertEqual(self.daemon.held, {})


class UnfinishedTests(FeedTestCase):
    config = MAX_CONTRACTS

    def test_an_interrupted_flatten_goes_on_without_a_feed(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        order = {"contractId": MNQ, "type": 2, "side": 0, "size": 1}
        self.daemon.gateway.exchange.place_order(ACCOUNT, order, self.daemon.now())
        self.daemon.move(MNQ, "21000")
        self.daemon.advance(1)
        self.lose_feed()
        self.daemon.advance(ONE_ROUND)
        self.assertEqual(self.daemon.held, {})
