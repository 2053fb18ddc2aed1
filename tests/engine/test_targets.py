"""RULE-015 in a daemon on the practice exchange: target, floor, restart, dry run and replay."""

from __future__ import annotations

import io
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import NO_FAULTS, Faults
from riskd.model.equity import net_pnl
from riskd.model.events import Action
from riskd.recording.format import Recording
from riskd.recording.what_if import what_if
from tests.support.guarded_account import NetLimitTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, CATALOGUE, MNQ, SELL
from tests.support.practice_daemon import settings_of as account_settings
from tests.support.recorded_daemon import RecordedDaemon, broadcasts_of, replayed

TARGET = """
[rules.daily_profit_target]
target = 500
"""

PROTECT = """
[rules.daily_profit_target]
protect = { arm_at = 500, floor = 300 }
"""

FLATTEN = 'action = "CLOSE_ALL_POSITIONS"\n'


class TargetTests(NetLimitTestCase):
    """``target``: realized and open profits, less fees, end the day."""

    config = TARGET

    def gain(self) -> str:
        """Gain $200, buy 2 MNQ; return the first price at which the net P&L is $500."""
        self.lose(-100)
        self.daemon.trade(BUY, 2)
        # In points of two MNQ, $4 a point; an exit is worth the bid, a tick below the last price.
        last = Decimal("21000.50") + (500 - (self.brokers - 50000)) / 4
        last += Decimal("0.25") - last % Decimal("0.25")
        self.fall(str(last - Decimal("0.25")))
        self.assertEqual(self.daemon.locks, [])
        return str(last)

    def test_realized_and_open_profits_and_fees_count_together(self) -> None:
        last = self.gain()
        self.fall(last)
        self.assert_flat_and_locked("RULE-015")
        # Only the fees of the exit are missing.
        self.assertGreater(self.brokers, 50495)
        self.assertLess(self.brokers, 50501)
        self.assertEqual(net_pnl(self.daemon.state), self.brokers - 50000)

    def test_the_lock_ends_with_the_day_and_the_next_one_begins_at_zero(self) -> None:
        self.fall(self.gain())
        self.assert_flat_and_locked("RULE-015")
        self.pass_a_day()
        self.assertEqual(len(self.daemon.cleared), 1)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_a_kill_in_mid_breach_loses_no_lock(self) -> None:
        last = self.gain()
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.fall(last)
        self.assertEqual(self.daemon.held, {MNQ: 2})
        self.daemon.kill()
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.restart()
        self.daemon.advance(5)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(list(self.daemon.state.lockouts), ["RULE-015"])

    def test_an_exit_whose_position_is_reported_late_does_not_count_twice(self) -> None:
        self.daemon.trade(BUY, 1)
        self.fall("21150")
        self.daemon.gateway.faults = Faults(position_delay_seconds=0.5)
        self.daemon.trade(SELL, 1)
        self.assertEqual(len(self.daemon.state.open_positions), 1)
        self.fall("21151", "21150")
        self.daemon.advance(3)
        self.assertEqual(self.daemon.actions, [])

    def test_an_unlock_holds_until_something_is_opened(self) -> None:
        self.fall(self.gain())
        self.assert_flat_and_locked("RULE-015")
        self.daemon.engine.accounts[ACCOUNT].unlock("let me", "operator")
        self.daemon.advance(70)
        self.assertEqual(len(self.daemon.locks), 1)
        self.daemon.trade(BUY, 1)
        self.fall("21200")
        self.daemon.advance(3)
        self.assertEqual((self.daemon.held, len(self.daemon.locks)), ({}, 2))


class ProtectTests(NetLimitTestCase):
    """``protect``: what the day has made once is not given back."""

    config = PROTECT

    def test_what_arms_it_survives_a_kill(self) -> None:
        self.daemon.trade(BUY, 2)
        self.fall("21126")
        self.daemon.advance(2)
        self.assertGreaterEqual(self.daemon.state.balance.high_net, 500)
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(1)
        self.fall("21077")
        self.assertEqual(self.daemon.locks, [])
        self.fall("21075")
        self.assert_flat_and_locked("RULE-015")
        self.assertGreater(self.brokers, 50290)

    def test_to_add_to_a_protected_profit_gives_nothing_back(self) -> None:
        self.daemon.trade(BUY, 2)
        self.fall("21130")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(2)
        self.assertEqual((self.daemon.held, self.daemon.locks), ({MNQ: 3}, []))


class FlattenTests(NetLimitTestCase):
    """Without a lock the trader may go on, also after a kill."""

    config = TARGET + FLATTEN

    def test_each_time_that_the_profit_reaches_it_the_target_acts_once(self) -> None:
        self.daemon.trade(BUY, 2)
        self.fall("21200")
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {})
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.trade(BUY, 1)
        self.fall("21201")
        self.daemon.advance(70)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.fall("21000", "21200")
        self.daemon.advance(3)
        self.assertEqual((self.daemon.held, self.daemon.locks), ({}, []))
        self.assertEqual(
            [each.action for each in self.daemon.actions], [Action.CLOSE_ALL_POSITIONS] * 2
        )


class DryRunTests(NetLimitTestCase):
    """Without enforcement the same breaches are reported."""

    config = f"enforce = false\n{TARGET}"

    def test_a_breach_is_reported_once(self) -> None:
        self.daemon.trade(BUY, 2)
        self.fall("21200", "21201", "21202")
        self.daemon.advance(5)
        self.assertEqual(self.daemon.held, {MNQ: 2})
        self.assertEqual(
            [(each.rule_id, each.details.dry_run) for each in self.daemon.actions],
            [("RULE-015", True)],
        )


class FlattenDryRunTests(NetLimitTestCase):
    config = f"enforce = false\n{TARGET}{FLATTEN}"

    def test_a_breach_is_reported_each_time_that_it_begins(self) -> None:
        self.daemon.trade(BUY, 2)
        self.fall("21200", "21201", "21000", "21200")
        self.daemon.advance(5)
        self.assertEqual([each.rule_id for each in self.daemon.actions], ["RULE-015"] * 2)


class RecordingTests(SynchronousTestCase):
    """A recorded day replays to the same bytes, and what-if finds what would have been enforced."""

    def recorded(self, config: str) -> bytes:
        daemon = RecordedDaemon(f"{config}\n[[accounts]]\nid = {ACCOUNT}\n", is_open=False)
        self.addCleanup(daemon.clean_up)
        daemon.gateway.move_market(MNQ, Decimal(21000))
        daemon.advance(3)
        order = {"contractId": MNQ, "type": 2, "size": 2, "side": int(BUY)}
        daemon.gateway.place_order(ACCOUNT, order)
        daemon.advance(2)
        daemon.gateway.move_market(MNQ, Decimal(21200))
        daemon.advance(5)
        text = daemon.end().read_bytes()
        _opened, turns = replayed(text)
        self.assertEqual(broadcasts_of(turns), daemon.broadcasts)
        self.assertEqual(b"RULE-015" in b"".join(daemon.broadcasts), config == TARGET)
        return text

    def test_a_breach_replays(self) -> None:
        self.recorded(TARGET)

    def test_what_if(self) -> None:
        recording = Recording(io.BytesIO(self.recorded("")), "day.jsonl")
        enforced = list(what_if(recording, account_settings(TARGET), CATALOGUE))
        self.assertEqual(
            [(one.action.rule_id, one.action.action) for one in enforced],
            [("RULE-015", Action.CLOSE_ALL_AND_LOCKOUT)],
        )
        self.assertTrue(enforced[0].action.reason.startswith("Daily profit target hit: $79"))
