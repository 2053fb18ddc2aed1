"""The reduce-only stage of RULE-003 on the practice exchange, over restarts, kills, unlocks and days."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import NO_FAULTS, Faults
from riskd.engine.reduce_only import ReduceOnlyStage
from riskd.gateway.interface import GatewayRefusedError
from riskd.journal.reader import read_published
from riskd.model.events import Action, DaemonStatus, OrderState, Status
from riskd.model.reduce_only import ReduceOnly, reduce_only_stage
from riskd.rules.interface import Flatten, Trigger
from tests import examples
from tests.support import rules as rule_cases
from tests.support.guarded_account import FAULTS, FEED_LOST, ONE_ROUND, GuardTestCase
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    M2K,
    MNQ,
    SELL,
    PracticeDaemon,
    settings_of,
)

STAGE = """
[rules.daily_realized_loss]
loss_limit = 500
reduce_only_at = 80
"""

BEGUN = (
    "Account 123 may only reduce its positions: the day's loss has reached 80 % of its limit of "
    "$500.00 (RULE-003)"
)
ENDED = "Account 123 may open positions again"


class StageTestCase(GuardTestCase):
    config = STAGE

    def setUp(self) -> None:
        super().setUp()
        self.daemon.move(M2K, "2250")

    @property
    def stage(self) -> ReduceOnly | None:
        return reduce_only_stage(self.daemon.state)

    @property
    def notices(self) -> list[str]:
        return [
            status.message
            for status in self.daemon.news(DaemonStatus)
            if "Account 123" in status.message
        ]

    def begin(self, *, holds: int = 0) -> None:
        """Lose $402 of $500, with some M2K held, so that the stage begins."""
        if holds:
            self.daemon.trade(BUY, holds, M2K)
        # Two contracts, over 100 points and a spread of a quarter of a point each.
        self.lose(100, 2)
        self.daemon.advance(2)
        assert self.stage is not None

    def actions(self) -> list[tuple[Action, bool]]:
        return [(each.action, each.success) for each in self.daemon.actions]


class BoundaryTests(StageTestCase):
    def test_it_begins_at_its_share_and_not_a_cent_before(self) -> None:
        self.daemon.trade(BUY, 1)
        # Bought at 21000.25, sold at 20800.75.
        self.daemon.move(MNQ, "20801")
        self.daemon.trade(SELL, 1)
        self.daemon.advance(1)
        self.assertEqual((str(self.daemon.state.realized_pnl), self.stage), ("-399.00", None))
        self.daemon.move(MNQ, "21000")
        self.daemon.trade(BUY, 1)
        self.daemon.trade(SELL, 1)
        self.daemon.advance(1)
        self.assertEqual(str(self.daemon.state.realized_pnl), "-400.00")
        assert self.stage is not None
        self.assertEqual(self.notices, [BEGUN])
        self.assertIs(self.daemon.news(DaemonStatus)[-1].status, Status.RUNNING)
        self.assertEqual((self.daemon.locks, self.daemon.actions), ([], []))

    def test_without_the_key_there_is_no_stage(self) -> None:
        self.daemon.engine.reload(settings_of("[rules.daily_realized_loss]\nloss_limit = 500\n"))
        self.lose(100, 2)
        self.daemon.advance(1)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(1)
        self.assertEqual((self.daemon.held, self.stage, self.notices), ({MNQ: 1}, None, []))


class EnforcementTests(StageTestCase):
    def test_orders_that_open_or_reverse_are_canceled_and_exits_work(self) -> None:
        self.begin(holds=1)
        stop = self.daemon.trade(SELL, 1, M2K, stopPrice="2200")
        target = self.daemon.trade(SELL, 1, M2K, limitPrice="2300")
        for side, size, contract_id, price in (
            (BUY, 1, M2K, {"limitPrice": "2200"}),
            (SELL, 5, M2K, {"limitPrice": "2300"}),
            (BUY, 1, MNQ, {"limitPrice": "20000"}),
        ):
            self.daemon.trade(side, size, contract_id, **price)
            self.daemon.advance(2)
        self.assertEqual(self.daemon.working, [stop, target])
        self.assertEqual(self.actions(), [(Action.REJECT_ORDER, True)] * 3)
        self.assertEqual({each.rule_id for each in self.daemon.actions}, {"RULE-003"})
        self.assertEqual(self.daemon.held, {M2K: 1})

    def test_orders_that_work_when_it_begins_are_canceled(self) -> None:
        self.daemon.trade(BUY, 1, M2K)
        stop = self.daemon.trade(SELL, 1, M2K, stopPrice="2200")
        self.daemon.trade(BUY, 1, M2K, limitPrice="2200")
        self.daemon.trade(SELL, 1, limitPrice="22000")
        self.begin()
        self.assertEqual(self.daemon.working, [stop])
        self.assertEqual(len(self.daemon.actions), 2)

    def test_an_exit_that_its_position_has_outgrown_may_be_reduced_for_a_moment(self) -> None:
        for is_reduced in (True, False):
            with self.subTest(is_reduced=is_reduced):
                self.daemon.close()
                self.setUp()
                self.begin(holds=3)
                stop = self.daemon.trade(SELL, 3, M2K, stopPrice="2200")
                # The exchange reduces the stop, and sends that with the next quote.
                self.daemon.trade(SELL, 1, M2K)
                self.resize(stop, 3)
                self.daemon.advance(1.75)
                self.assertEqual((self.daemon.working, self.daemon.actions), ([stop], []))
                if is_reduced:
                    self.resize(stop, 2)
                self.daemon.advance(1)
                self.assertEqual(self.daemon.working, [stop] if is_reduced else [])
                self.assertEqual(
                    self.actions(), [] if is_reduced else [(Action.REJECT_ORDER, True)]
                )
                self.assertEqual(self.daemon.held, {M2K: 2})

    def resize(self, order_id: int, size: int) -> None:
        exchange = self.daemon.gateway.exchange
        exchange.modify_order(ACCOUNT, order_id, {"size": size}, self.daemon.now())
        self.daemon.move(M2K, "2250")

    def test_an_order_that_was_never_an_exit_has_no_such_moment(self) -> None:
        self.begin(holds=1)
        self.daemon.trade(SELL, 5, M2K, stopPrice="2200")
        self.daemon.advance(0.5)
        self.assertEqual(self.daemon.working, [])

    def test_what_is_filled_is_closed_back_to_what_was_held(self) -> None:
        self.begin(holds=2)
        for side, size, contract_id, left in (
            (BUY, 3, M2K, {M2K: 2}),
            (SELL, 2, MNQ, {M2K: 2}),
            (SELL, 1, M2K, {M2K: 1}),
            # What was closed may not be opened again.
            (BUY, 1, M2K, {M2K: 1}),
            (SELL, 5, M2K, {}),
        ):
            self.daemon.trade(side, size, contract_id)
            self.daemon.advance(3)
            self.assertEqual(self.daemon.held, left, (side, size))
        self.assertEqual(self.actions(), [(Action.CLOSE_ALL_POSITIONS, True)] * 4)
        self.assertFalse(self.daemon.locks)

    def test_what_was_filled_before_it_began_may_stay(self) -> None:
        # The event of this position comes after the trade with which the stage begins.
        self.daemon.gateway.faults = Faults(position_delay_seconds=0.5)
        self.daemon.trade(BUY, 2)
        self.daemon.move(MNQ, "20899")
        self.daemon.advance(1)
        self.daemon.trade(BUY, 1, M2K)
        self.daemon.trade(SELL, 2)
        self.daemon.advance(4)
        assert self.stage is not None
        self.assertEqual((self.daemon.held, self.stage.held), ({M2K: 1}, {M2K: 1}))
        self.assertEqual(self.daemon.actions, [])

    def test_a_position_that_its_exit_has_closed_is_not_closed_again(self) -> None:
        # The events of positions come after those of orders and trades.
        self.daemon.gateway.faults = Faults(position_delay_seconds=0.5)
        self.daemon.trade(BUY, 2)
        self.daemon.move(MNQ, "20899")
        self.daemon.advance(1)
        self.daemon.trade(SELL, 2)
        self.daemon.trade(BUY, 1, limitPrice="20500")
        self.daemon.advance(4)
        assert self.stage is not None
        self.assertEqual((self.daemon.held, self.daemon.working), ({}, []))
        self.assertEqual(self.actions(), [(Action.REJECT_ORDER, True)])

    def test_what_a_reconciliation_finds_with_the_loss_may_stay(self) -> None:
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.engine.feed_lost(FEED_LOST)
        self.daemon.trade(BUY, 2, M2K)
        stop = self.daemon.trade(SELL, 2, M2K, stopPrice="2200")
        self.lose(100, 2)
        self.daemon.advance(ONE_ROUND)
        assert self.stage is not None
        self.assertEqual((self.daemon.held, self.stage.held), ({M2K: 2}, {M2K: 2}))
        self.assertEqual((self.daemon.working, self.daemon.actions), ([stop], []))

    def test_the_limit_itself_locks(self) -> None:
        self.begin(holds=1)
        self.daemon.move(M2K, "2220")
        self.daemon.trade(SELL, 1, M2K)
        self.daemon.advance(1)
        (lock,) = self.daemon.locks
        self.assertEqual(lock.rule_id, "RULE-003")

    def test_a_loss_beyond_the_limit_is_a_lock_and_no_stage(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(2)
        self.assertEqual(len(self.daemon.locks), 1)
        self.assertEqual(self.notices, [])


class EndTests(StageTestCase):
    def test_gains_end_it(self) -> None:
        self.begin(holds=1)
        self.daemon.move(M2K, "2260")
        self.daemon.trade(SELL, 1, M2K)
        self.daemon.advance(1)
        self.assertEqual((self.stage, self.notices), (None, [BEGUN, ENDED]))
        self.daemon.trade(BUY, 1)
        self.daemon.advance(1)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_the_day_ends_it(self) -> None:
        self.begin()
        self.daemon.stop()
        self.daemon.stopped_for(hours=4, minutes=59, seconds=50)
        self.daemon.restart()
        self.daemon.advance(1)
        assert self.stage is not None
        self.daemon.advance(20)
        self.assertEqual((self.stage, self.notices[-1]), (None, ENDED))

    def test_a_change_of_the_settings_ends_it_or_begins_it(self) -> None:
        self.begin()
        for text, is_stage in (
            (STAGE.replace("80", "81"), False),
            (STAGE, True),
            (STAGE.replace("500", "600"), False),
            (STAGE, True),
            ("", False),
        ):
            self.daemon.engine.reload(settings_of(text))
            self.assertEqual(self.stage is not None, is_stage, text)

    def test_its_reason_follows_the_settings(self) -> None:
        self.begin()
        self.daemon.engine.reload(settings_of(STAGE.replace("80", "60")))
        assert self.stage is not None
        self.assertIn("reached 60 % of its limit of $500.00", self.stage.reason)
        self.assertEqual(self.notices, [BEGUN])

    def test_an_unlock_beyond_the_limit_leaves_the_account_free(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(1)
        self.assertTrue(self.daemon.engine.accounts[ACCOUNT].unlock("back", "jane"))
        self.daemon.advance(1)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(2)
        self.assertEqual((self.daemon.held, self.stage), ({MNQ: 1}, None))

    def test_an_operators_lock_stands_beside_it(self) -> None:
        self.begin(holds=1)
        account = self.daemon.engine.accounts[ACCOUNT]
        account.lock("lunch", "jane", None)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {})
        account.unlock("back", "jane")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {})
        assert self.stage is not None


class RestartTests(StageTestCase):
    def test_it_is_published_and_survives_a_kill_with_the_sizes_of_its_beginning(self) -> None:
        self.begin(holds=2)
        published = read_published(self.daemon.directory).accounts[ACCOUNT]
        self.assertEqual(reduce_only_stage(published), self.stage)
        before = self.stage
        for stop in (self.daemon.kill, self.daemon.stop):
            stop()
            self.daemon.trade(BUY, 3, M2K)
            self.daemon.restart()
            self.daemon.advance(3)
            self.assertEqual((self.daemon.held, self.stage), ({M2K: 2}, before))
        # It was announced once: a client reads it in the copy.
        self.assertEqual(self.notices, [BEGUN])

    def test_it_goes_on_where_another_rule_acts_first_after_a_start(self) -> None:
        self.daemon.stop()
        self.daemon.settings = settings_of(f"{STAGE}[rules.max_contracts]\nlimit = 4\n")
        self.daemon.restart()
        self.begin(holds=2)
        before = self.stage
        self.daemon.kill()
        self.daemon.trade(BUY, 3, M2K)
        self.daemon.restart()
        self.daemon.advance(0.25)
        self.assertEqual(self.notices, [BEGUN])
        self.daemon.advance(3)
        assert before is not None
        assert self.stage is not None
        self.assertEqual((self.daemon.held, self.stage.since), ({}, before.since))

    def test_a_close_that_a_kill_interrupts_is_finished(self) -> None:
        self.begin(holds=2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.daemon.gateway.exchange.place_order(
            ACCOUNT, {"contractId": M2K, "type": 2, "side": 0, "size": 3}, self.daemon.now()
        )
        self.daemon.move(M2K, "2250")
        self.daemon.advance(1)
        self.assertEqual(self.daemon.held, {M2K: 5})
        self.daemon.kill()
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {M2K: 2})

    def test_a_stage_whose_loss_was_voided_while_riskd_was_down_ends(self) -> None:
        self.begin()
        self.daemon.advance(2)
        self.daemon.kill()
        for trade in tuple(self.daemon.state.trades):
            self.daemon.gateway.exchange.void_trade(ACCOUNT, trade)
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertIsNone(self.stage)


class FillWithoutPositionTests(SynchronousTestCase):
    def test_a_position_counts_again_when_the_fill_that_closed_it_stays_the_only_news(
        self,
    ) -> None:
        stage = ReduceOnlyStage(ACCOUNT, lambda _: None)
        stage.note({"daily_realized_loss": "the day's loss has reached 80 %"})
        rules = {"daily_realized_loss": "RULE-003"}
        state = rule_cases.state_after()

        def update(trigger: Trigger) -> list[object]:
            decisions = stage.update(state, trigger, lambda: rules, may_begin=True)
            return [each.command for each in decisions]

        update(rule_cases.review())
        state = rule_cases.state_after(rule_cases.position(MNQ, 1), state=state)
        sold = rule_cases.order(1, MNQ, rule_cases.SELL, 1, filled=1, state=OrderState.FILLED)
        state = rule_cases.state_after(sold, state=state)
        self.assertEqual(update(rule_cases.trigger_of(sold)), [])
        self.assertEqual(stage.wake_at(rule_cases.at(0)), rule_cases.at(2))
        (command,) = update(rule_cases.timer(2))
        assert isinstance(command, Flatten)
        self.assertEqual(command.keep, {MNQ: 0})
        self.assertIsNone(stage.wake_at(rule_cases.at(2)))


class DryRunTests(StageTestCase):
    config = f"enforce = false\n{STAGE}"

    def test_it_reports_each_breach_once_and_does_nothing(self) -> None:
        self.begin(holds=1)
        order = self.daemon.trade(BUY, 1, limitPrice="20000")
        self.daemon.trade(BUY, 1, M2K)
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, self.daemon.working), ({M2K: 2}, [order]))
        self.assertEqual(
            self.actions(), [(Action.REJECT_ORDER, False), (Action.CLOSE_ALL_POSITIONS, False)]
        )
        self.assertIn("dry run", self.notices[0])

    def test_its_sizes_do_not_bind_a_riskd_that_enforces(self) -> None:
        self.begin()
        self.daemon.trade(BUY, 1, M2K)
        self.daemon.advance(2)
        self.daemon.stop()
        self.daemon.settings = settings_of(STAGE)
        self.daemon.restart()
        self.daemon.advance(3)
        assert self.stage is not None
        self.assertEqual((self.daemon.held, self.stage.held), ({M2K: 1}, {M2K: 1}))


class InvariantTests(SynchronousTestCase):
    @settings(max_examples=examples(15), deadline=None)
    @given(
        FAULTS,
        st.integers(-3, 3),
        st.lists(
            st.tuples(st.sampled_from([MNQ, M2K]), st.integers(-4, 4).filter(bool)), max_size=8
        ),
        st.booleans(),
    )
    def test_whatever_fails_an_account_never_ends_with_more_than_it_held(
        self, faults: Faults, held: int, orders: list[tuple[str, int]], is_killed: bool
    ) -> None:
        daemon = PracticeDaemon(STAGE.replace("500", "5000").replace("80", "1"))
        self.addCleanup(daemon.close)

        def trade(contract_id: str, size: int) -> None:
            try:
                daemon.gateway.exchange.place_order(
                    ACCOUNT,
                    {
                        "contractId": contract_id,
                        "type": 2,
                        "side": int(BUY if size > 0 else SELL),
                        "size": abs(size),
                    },
                    daemon.now(),
                )
            except GatewayRefusedError:
                return
            daemon.move(contract_id, {MNQ: "21000", M2K: "2250"}[contract_id])

        daemon.move(MNQ, "21000")
        daemon.move(M2K, "2250")
        if held:
            trade(M2K, held)
        for size in (50, -50):
            trade(MNQ, size)
        daemon.advance(3)
        self.assertIsNotNone(reduce_only_stage(daemon.state))
        daemon.gateway.faults = faults
        for number, (contract_id, size) in enumerate(orders):
            trade(contract_id, size)
            daemon.advance(0.5 * number)
        if is_killed:
            daemon.kill()
            daemon.restart()
        daemon.gateway.faults = NO_FAULTS
        for _ in range(4):
            # A part of an order may wait for the next quote, also of a close.
            daemon.move(MNQ, "21000")
            daemon.move(M2K, "2250")
            daemon.advance(40)
        left = daemon.held
        self.assertIn(left.pop(M2K, 0), range(min(held, 0), max(held, 0) + 1))
        self.assertEqual(left, {})
        self.assertFalse(daemon.locks)
