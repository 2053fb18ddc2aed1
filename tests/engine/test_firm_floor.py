"""The firm's own figure for the floor of RULE-014 in a daemon: days, highs, kills, locks."""

from __future__ import annotations

from decimal import Decimal

from riskd.engine.guarded_account import GuardedAccount
from riskd.journal.audit_log import read_log
from riskd.model.events import Action, DaemonStatus
from riskd.rules.builtin.maximum_loss import nearest_floor
from tests.support.guarded_account import GuardTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, MNQ, SELL, settings_of

MAXIMUM_LOSS = """
[rules.maximum_loss]
drawdown = 2000
"""


class FirmFloorTestCase(GuardTestCase):
    config = MAXIMUM_LOSS

    @property
    def brokers(self) -> Decimal:
        found: Decimal = self.daemon.gateway.exchange.store.account(ACCOUNT)["balance"]
        return found

    @property
    def floor(self) -> Decimal | None:
        found = nearest_floor(self.daemon.state, self.account.rules)
        return None if found is None else found.amount

    @property
    def account(self) -> GuardedAccount:
        return self.daemon.engine.accounts[ACCOUNT]

    @property
    def notices(self) -> list[str]:
        messages = [each.message for each in self.daemon.news(DaemonStatus)]
        return [each for each in messages if "floor" in each]

    def give(self, amount: str) -> None:
        self.account.set_floor(Decimal(amount), "jane")
        self.daemon.advance(1)

    def win(self, points: int) -> None:
        """Win with 2 MNQ, $4 a point."""
        self.daemon.trade(BUY, 2)
        self.daemon.move(MNQ, str(21000 + points))
        self.daemon.trade(SELL, 2)
        self.daemon.move(MNQ, "21000")
        self.daemon.advance(2)

    def pass_a_day(self) -> None:
        """Let the daily reset, five hours after the start, come and go."""
        self.daemon.stopped_for(hours=24)
        self.daemon.advance(2)

    def restart(self) -> None:
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(2)


class EndOfDayTests(FirmFloorTestCase):
    def test_the_figure_is_told_journaled_and_survives_a_kill(self) -> None:
        self.daemon.advance(3)
        self.give("48500.25")
        told = (
            "The floor of account 123 is $48,500.25 by the firm's figure; it was $48,000.00 by "
            "riskd's estimate"
        )
        self.assertEqual(self.notices, [told])
        (command,) = [
            each for each in read_log(self.daemon.directory, ACCOUNT) if each.kind == "operator"
        ]
        self.assertEqual(
            (command.data["command"], command.data["reason"], command.data["operator"]),
            ("floor", told, "jane"),
        )
        for _ in range(2):
            self.assertEqual(self.floor, Decimal("48500.25"))
            self.restart()

    def test_it_goes_on_from_there_when_a_day_ends_and_no_earlier(self) -> None:
        self.win(300)
        self.pass_a_day()
        self.assertGreater(self.floor or 0, 49000)
        # The firm's figure is lower than riskd's estimate, whatever balances riskd has seen.
        self.give("48500")
        self.win(100)
        self.assertEqual(self.floor, 48500)
        close = self.brokers
        self.assertGreater(close, 51000)
        self.restart()
        self.assertEqual(self.floor, 48500)
        self.pass_a_day()
        self.assertEqual(self.floor, close - 2000)
        self.lose(100)
        self.pass_a_day()
        self.restart()
        self.assertEqual(self.floor, close - 2000)

    def test_days_without_a_daemon_move_it_too(self) -> None:
        self.daemon.advance(3)
        self.give("48100")
        self.daemon.kill()
        closes = []
        for last in ("21500", "20900"):
            self.daemon.stopped_for(hours=24)
            self.daemon.move(MNQ, "21000")
            self.daemon.trade_unseen(BUY, 1)
            self.daemon.move(MNQ, last)
            self.daemon.trade_unseen(SELL, 1)
            closes.append(self.brokers)
        self.daemon.stopped_for(hours=24)
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual(self.floor, max(closes) - 2000)

    def test_a_figure_above_the_equity_closes_and_locks_at_once(self) -> None:
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.give("50010")
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {})
        (action,) = self.daemon.actions
        self.assertEqual(
            (action.rule_id, action.action), ("RULE-014", Action.CLOSE_ALL_AND_LOCKOUT)
        )
        self.assertEqual([each.rule_id for each in self.daemon.locks], ["RULE-014"])

    def test_a_higher_figure_locks_again_what_an_operator_has_unlocked(self) -> None:
        self.daemon.advance(3)
        self.give("50010")
        self.assertEqual(len(self.daemon.locks), 1)
        self.account.unlock("I know", "jane")
        self.daemon.advance(3)
        self.assertEqual((len(self.daemon.locks), self.daemon.state.lockouts), (1, {}))
        self.give("50020")
        self.assertEqual(len(self.daemon.locks), 2)

    def test_a_lower_figure_ends_the_breach_of_an_unlocked_account(self) -> None:
        self.daemon.advance(3)
        self.give("50010")
        self.account.unlock("a slip of the finger", "jane")
        self.give("48500")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual((len(self.daemon.locks), self.daemon.held), (1, {MNQ: 1}))


class IntradayTests(FirmFloorTestCase):
    config = f'{MAXIMUM_LOSS}trailing = "intraday"\nstops_at = "never"\n'

    def test_it_goes_on_from_there_with_the_equity_and_survives_a_kill(self) -> None:
        self.daemon.advance(70)
        self.daemon.trade(BUY, 2)
        self.daemon.move(MNQ, "21200")
        self.daemon.advance(1)
        self.assertGreater(self.floor or 0, 48500)
        self.daemon.move(MNQ, "21000")
        self.give("48200")
        self.assertEqual(self.floor, 48200)
        self.daemon.move(MNQ, "21100")
        self.daemon.advance(1)
        # At 21,099.75, an exit of 2 from 21,000.25 brings $398.
        peak = self.brokers + 398
        self.assertEqual(self.floor, peak - 2000)
        self.daemon.move(MNQ, "21000")
        self.restart()
        self.assertEqual(self.floor, peak - 2000)


class LoosenedTests(FirmFloorTestCase):
    def test_a_reload_keeps_the_figure(self) -> None:
        self.daemon.advance(3)
        self.give("48500")
        self.daemon.engine.reload(settings_of("[rules.maximum_loss]\ndrawdown = 1000\n"))
        self.assertEqual(self.floor, 48500)
        self.daemon.engine.reload(settings_of(""))
        self.daemon.engine.reload(settings_of(MAXIMUM_LOSS))
        self.assertEqual(self.floor, 48500)
