"""RULE-016 and RULE-018 in a daemon on the practice exchange: days, weeks, restarts and dry runs."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import NO_FAULTS, Faults
from riskd.engine.intake import Intake
from riskd.model.broker import BrokerNews, BrokerTrade
from riskd.model.ended_days import week_entries_and_exits, week_net
from riskd.model.events import Action, DaemonStatus
from riskd.model.reduce_only import reduce_only_stage
from riskd.recording.format import Recording
from riskd.recording.what_if import what_if
from riskd.rules.registry import RULES
from tests.support.guarded_account import NetLimitTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, CATALOGUE, MNQ, SELL
from tests.support.practice_daemon import settings_of as account_settings
from tests.support.recorded_daemon import RecordedDaemon, broadcasts_of, replayed

LOSS = """
[rules.weekly_limits]
loss_limit = 500
"""

COUNT = """
[rules.weekly_limits]
max_entries_and_exits = { day = 4, week = 6 }
"""

STOP = """
[rules.consistency]
stop_for_today = true
"""

SUNDAY = datetime(2026, 11, 29, 23, 0, tzinfo=UTC)
"""The end of the week; the daemon starts on Monday, five hours before its daily reset."""


class WeekTestCase(NetLimitTestCase):
    @property
    def week(self) -> tuple[Decimal, int]:
        return week_net(self.daemon.state), week_entries_and_exits(self.daemon.state)

    def lose_unseen(self, points: int) -> None:
        """Lose while no daemon runs."""
        self.daemon.move(MNQ, "21000")
        self.daemon.trade_unseen(BUY, 1)
        self.daemon.move(MNQ, str(21000 - points))
        self.daemon.trade_unseen(SELL, 1)


class LossTests(WeekTestCase):
    """``loss_limit``: the losses of all days of the week."""

    config = LOSS

    def test_days_add_up_and_the_lock_ends_with_the_week(self) -> None:
        self.lose(100)
        self.pass_a_day()
        self.assertEqual(self.week, (self.brokers - 50000, 2))
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(2)
        self.lose(100)
        self.assertEqual(self.daemon.locks, [])
        self.daemon.trade(BUY, 1)
        self.fall("20950")
        self.assert_flat_and_locked("RULE-016")
        self.assertEqual(self.daemon.locks[0].locked_until, SUNDAY)
        self.assertEqual(self.week, (self.brokers - 50000, 6))
        # To Sunday at noon; Thursday is a holiday.
        for _ in range(5):
            self.pass_a_day()
            self.daemon.trade(BUY, 1)
            self.daemon.advance(3)
            self.assertEqual((self.daemon.held, self.daemon.cleared), ({}, []))
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(2)
        self.assertEqual(list(self.daemon.state.lockouts), ["RULE-016"])
        self.pass_a_day()
        self.assertEqual(len(self.daemon.cleared), 1)
        self.assertEqual(self.week, (0, 0))
        self.daemon.trade(BUY, 1)
        self.fall("20990")
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_a_kill_in_mid_breach_loses_no_lock(self) -> None:
        self.lose(100)
        self.pass_a_day()
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.fall("20920")
        self.assertEqual(self.daemon.held, {MNQ: 2})
        self.daemon.kill()
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.restart()
        self.daemon.advance(5)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(
            [each.locked_until for each in self.daemon.state.lockouts.values()], [SUNDAY]
        )

    def test_three_days_without_a_daemon_count_each_for_its_week(self) -> None:
        """Friday, Sunday evening and Monday: the first is of the week before."""
        self.daemon.stopped_for(hours=4 * 24)
        self.daemon.advance(2)
        self.daemon.kill()
        for hours, points in ((1, 300), (2 * 24 + 6, 100), (18, 90)):
            self.daemon.stopped_for(hours=hours)
            self.lose_unseen(points)
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual(self.daemon.locks, [])
        net, count = self.week
        self.assertEqual(count, 4)
        self.assertEqual(net, self.brokers - 50000 + Decimal("601.74"))
        days = self.daemon.state.days
        self.assertEqual(days[date(2026, 11, 27)].net, Decimal("-601.74"))
        self.assertEqual(days[date(2026, 11, 28)].net, 0)
        self.daemon.move(MNQ, "21000")
        self.lose(60)
        self.daemon.advance(3)
        self.assertEqual([lock.rule_id for lock in self.daemon.locks], ["RULE-016"])

    def test_a_week_that_riskd_sees_from_its_middle_on_is_read_from_the_broker(self) -> None:
        self.daemon.kill()
        self.lose_unseen(200)
        self.daemon.stopped_for(hours=48)
        self.daemon.lose_files()
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual(self.week, (self.brokers - 50000, 2))
        self.daemon.move(MNQ, "21000")
        self.lose(50)
        self.daemon.advance(3)
        self.assertEqual([lock.rule_id for lock in self.daemon.locks], ["RULE-016"])

    def test_a_void_of_an_earlier_day_moves_the_week_and_not_the_day(self) -> None:
        self.lose(100)
        self.pass_a_day()
        before, _count = self.week
        (trade,) = [
            each
            for each in self.daemon.gateway.exchange.store.trades(
                ACCOUNT, datetime.min.replace(tzinfo=UTC)
            )
            if each.get("profitAndLoss")
        ]
        self.daemon.payloads.user_event("GatewayUserTrade", {**trade, "voided": True})
        self.daemon.advance(1)
        net, count = self.week
        self.assertEqual((net - before, count), (Decimal("201.37"), 1))
        self.assertEqual(self.daemon.state.balance.charges, 0)

    def test_an_unlock_holds_until_something_is_opened(self) -> None:
        self.daemon.trade(BUY, 3)
        self.fall("20910")
        self.assert_flat_and_locked("RULE-016")
        self.daemon.engine.accounts[ACCOUNT].unlock("let me", "operator")
        self.daemon.advance(70)
        self.assertEqual(len(self.daemon.locks), 1)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual((self.daemon.held, len(self.daemon.locks)), ({}, 2))


class LateTradeTests(WeekTestCase):
    """The trade of an exit that comes after its position and the account's balance."""

    config = "[rules.weekly_limits]\nmax_entries_and_exits = { day = 2 }\n"

    def setUp(self) -> None:
        receive = Intake.receive

        def receive_trades_late(intake: Intake, account_id: int, news: BrokerNews) -> None:
            late = isinstance(news, BrokerTrade) and news.is_full_turn
            self.daemon.clock.callLater(0.5 * late, receive, intake, account_id, news)

        self.patch(Intake, "receive", receive_trades_late)
        super().setUp()

    def test_it_counts_when_it_comes(self) -> None:
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.daemon.trade(SELL, 1)
        self.daemon.advance(0.25)
        self.assertIsNone(reduce_only_stage(self.daemon.state))
        self.daemon.advance(0.75)
        self.assertIsNotNone(reduce_only_stage(self.daemon.state))
        self.daemon.trade(BUY, 2)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {})


class CountTests(WeekTestCase):
    """``max_entries_and_exits``: from there on only exits."""

    config = COUNT

    @property
    def notices(self) -> list[str]:
        statuses = self.daemon.news(DaemonStatus)
        return [each.message for each in statuses if "Account 123" in each.message]

    def test_at_the_limit_of_the_day_positions_stay_and_exits_work(self) -> None:
        self.lose(10)
        self.daemon.trade(BUY, 2)
        stop = self.daemon.trade(SELL, 2, stopPrice="20900")
        self.daemon.advance(1)
        self.assertEqual(self.week[1], 3)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {MNQ: 3})
        reason = "the day's limit of 4 entries and exits is reached (RULE-016)"
        self.assertEqual(self.notices, [f"Account 123 may only reduce its positions: {reason}"])
        self.daemon.trade(BUY, 1, limitPrice="20800")
        self.daemon.advance(3)
        self.assertEqual((self.daemon.held, self.daemon.working), ({MNQ: 3}, [stop]))
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual((self.daemon.held, self.daemon.working), ({MNQ: 3}, [stop]))
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(2)
        self.assertIsNotNone(reduce_only_stage(self.daemon.state))
        self.daemon.trade(SELL, 3)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(self.daemon.locks, [])

    def test_the_day_ends_it_and_the_week_goes_on(self) -> None:
        self.lose(1)
        self.lose(1)
        self.daemon.advance(3)
        self.assertEqual(len(self.notices), 1)
        self.daemon.advance(5 * 3600, step=60)
        self.assertEqual(self.notices[1:], ["Account 123 may open positions again"])
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(2)
        self.lose(1)
        self.daemon.advance(3)
        self.assertIn("the week's limit of 6 entries and exits is reached", self.notices[-1])
        # Each of the next resets leaves it, and that on Sunday ends it.
        for _ in range(5):
            self.pass_a_day()
            self.assertIsNotNone(reduce_only_stage(self.daemon.state))
        self.pass_a_day()
        self.assertIsNone(reduce_only_stage(self.daemon.state))

    def test_an_entry_in_parts_is_one_and_is_not_cut(self) -> None:
        self.daemon.gateway.faults = Faults(split_fills=1.0, position_delay_seconds=0.5)
        self.lose(1)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(2)
        self.assertEqual(self.week[1], 2)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(1)
        self.daemon.gateway.faults = Faults(split_fills=1.0, position_delay_seconds=0.5)
        self.daemon.trade(BUY, 4)
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, self.week[1]), ({MNQ: 5}, 4))
        self.assertEqual(self.daemon.actions, [])

    def test_the_half_that_an_exit_reports_again_does_not_count(self) -> None:
        self.daemon.gateway.faults = Faults(opening_half_again=True)
        self.lose(1)
        self.daemon.advance(2)
        self.assertEqual(self.week[1], 2)

    def test_no_quote_evaluates_it(self) -> None:
        self.daemon.trade(BUY, 1)
        self.daemon.advance(1)
        (rule,) = [each for each in RULES if each.rule_id == "RULE-016"]
        asked: list[object] = []
        self.patch(rule, "check", lambda *arguments: asked.append(arguments))
        self.daemon.move(MNQ, "20990")
        self.assertEqual(asked, [])


class DryRunTests(WeekTestCase):
    """Without enforcement the same breaches are reported."""

    config = f"enforce = false\n{LOSS}max_entries_and_exits = {{ day = 3 }}\n"

    def test_a_loss_is_reported_once_for_the_week(self) -> None:
        self.lose(260)
        self.pass_a_day()
        self.daemon.trade(BUY, 1)
        self.daemon.advance(70)
        self.assertEqual(
            [(each.rule_id, each.details.dry_run) for each in self.daemon.actions],
            [("RULE-016", True)],
        )

    def test_orders_beyond_the_limit_of_the_day_are_reported(self) -> None:
        self.lose(1)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.actions, [])
        self.daemon.trade(BUY, 1)
        self.daemon.advance(70)
        self.assertEqual(self.daemon.held, {MNQ: 2})
        self.assertEqual([each.rule_id for each in self.daemon.actions], ["RULE-016"])


class ConsistencyTests(WeekTestCase):
    """``stop_for_today``, after a day that has made some $199."""

    config = STOP

    def test_a_day_ends_when_it_has_made_as_much_as_it_may(self) -> None:
        self.daemon.trade(BUY, 1)
        self.fall("21400")
        self.daemon.trade(SELL, 1)
        self.daemon.advance(1)
        # The first day has nothing to compare with.
        self.assertEqual(self.daemon.actions, [])
        earlier = self.brokers - 50000
        self.pass_a_day()
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(2)
        self.daemon.move(MNQ, "21000")
        self.daemon.trade(BUY, 2)
        last = Decimal("21000.50") + (earlier + (earlier + 50000 - self.brokers)) / 4
        last += (Decimal("0.25") - last % Decimal("0.25")) % Decimal("0.25")
        self.fall(str(last - Decimal("0.25")))
        self.assertEqual(self.daemon.locks, [])
        self.fall(str(last))
        self.assert_flat_and_locked("RULE-018")
        self.pass_a_day()
        self.assertEqual(len(self.daemon.cleared), 1)


class ConsistencyDryRunTests(WeekTestCase):
    config = f"enforce = false\n{STOP}"

    def test_a_breach_is_reported_once(self) -> None:
        self.lose(-100)
        self.pass_a_day()
        self.daemon.trade(BUY, 2)
        self.fall("21100", "21101", "21102")
        self.daemon.advance(5)
        self.assertEqual([each.rule_id for each in self.daemon.actions], ["RULE-018"])


class RecordingTests(SynchronousTestCase):
    """A recorded day replays to the same bytes, and what-if finds what would have been enforced."""

    def recorded(self, config: str) -> bytes:
        daemon = RecordedDaemon(f"{config}\n[[accounts]]\nid = {ACCOUNT}\n", is_open=False)
        self.addCleanup(daemon.clean_up)
        daemon.gateway.move_market(MNQ, Decimal(21000))
        daemon.advance(3)
        order = {"contractId": MNQ, "type": 2, "size": 2}
        for side, price in ((BUY, 20900), (SELL, 21000), (BUY, 20900)):
            daemon.gateway.place_order(ACCOUNT, {**order, "side": int(side)})
            daemon.advance(3)
            daemon.gateway.move_market(MNQ, Decimal(price))
            daemon.advance(3)
        text = daemon.end().read_bytes()
        _opened, turns = replayed(text)
        self.assertEqual(broadcasts_of(turns), daemon.broadcasts)
        return text

    def test_breaches_replay(self) -> None:
        for config in (LOSS, COUNT):
            self.assertIn(b"RULE-016" if config is LOSS else b"", self.recorded(config))

    def test_what_if(self) -> None:
        text = self.recorded("")
        for config, action in (
            (LOSS, Action.CLOSE_ALL_AND_LOCKOUT),
            (COUNT.replace("day = 4", "day = 2"), Action.CLOSE_ALL_POSITIONS),
        ):
            recording = Recording(io.BytesIO(text), "day.jsonl")
            enforced = list(what_if(recording, account_settings(config), CATALOGUE))
            self.assertEqual(
                [(one.action.rule_id, one.action.action) for one in enforced],
                [("RULE-016", action)],
            )
