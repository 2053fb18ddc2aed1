"""The watcher: the daemon's accounts, its troubles, and when all is well."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from riskd.model.account import Limit
from riskd.model.events import Event
from riskd.testing import make_event
from tests.support.console import at
from tests.support.watcher import WatcherTestCase
from trader.alerts.alert import Kind
from trader.alerts.settings import Settings

RUNNING = make_event("daemon_status", {"status": "RUNNING", "message": "In step"})
ERROR = make_event("daemon_status", {"status": "ERROR", "message": "no\x1b broker"})


class DaemonTests(WatcherTestCase):
    """News of the daemon itself."""

    def test_a_loss_and_the_return_are_news_once_each(self) -> None:
        self.publish(RUNNING)
        self.connect()
        self.sent.clear()
        self.lose("lost connection to daemon: it has not answered for 3 s")
        self.clock.advance(5)
        self.lose("cannot connect to daemon")
        self.clock.advance(7)
        self.connect()
        gone, back = self.sent
        self.assertEqual(
            gone.fields["text"],
            "riskd is GONE: lost connection to daemon: it has not answered for 3 s. "
            "Count on nothing to enforce your limits until it is back",
        )
        self.assertEqual(gone.fields["account"], "123")
        self.assertEqual((back.kind, back.fields["away"]), (Kind.BACK, "12 s"))

    def test_a_daemon_that_is_not_there_at_the_start_is_gone(self) -> None:
        self.lose("cannot connect to daemon (is it running?)")
        self.assertEqual(self.kinds, [Kind.GONE])
        self.publish(RUNNING)
        self.connect()
        self.assertEqual(self.kinds, [Kind.GONE, Kind.STARTED, Kind.BACK])

    def test_an_error_that_the_start_finds_is_news(self) -> None:
        self.publish(ERROR)
        self.connect()
        self.assertEqual(self.kinds, [Kind.STARTED, Kind.ERROR])

    def test_an_error_and_its_end_are_news_for_all_accounts_together(self) -> None:
        self.begin(123, 456)
        self.publish(RUNNING)
        self.connect()
        self.sent.clear()
        self.receive(ERROR)
        self.receive(RUNNING)
        self.assertEqual(self.kinds, [Kind.ERROR, Kind.RUNNING])
        self.assertEqual(self.sent[0].fields["account"], "123, 456")
        self.assertEqual(self.sent[0].fields["text"], r"riskd has an ERROR: no\x1b broker")

    def test_only_the_chosen_kinds_are_sent(self) -> None:
        self.begin(settings=Settings(send=(Kind.BACK,)))
        self.publish(RUNNING)
        for act in (self.connect, self.lose, self.connect):
            act()
        self.assertEqual(self.kinds, [Kind.BACK])

    def test_the_end_of_this_program_is_not_that_of_the_daemon(self) -> None:
        self.publish(RUNNING)
        self.connect()
        self.sent.clear()
        self.watcher.stop()
        self.lose("disconnected")
        self.assertEqual(self.sent, [])


class AccountTests(WatcherTestCase):
    """Which accounts are watched."""

    lock = make_event("lockout_set", {"locked_at": at(1)})

    def of(self, account_id: int) -> Event:
        return Event(account_id, self.lock.data)

    def test_without_a_choice_all_accounts_of_the_daemon_are_watched(self) -> None:
        self.followed.file.publish_accounts(123, 456)
        self.connect()
        self.assertEqual([alert.fields["account"] for alert in self.sent], ["123", "456"])
        self.receive(self.of(456))
        self.assertEqual(self.sent[-1].fields["account"], "456")

    def test_an_account_that_is_new_to_the_daemon_is_watched(self) -> None:
        self.followed.file.publish_accounts(123)
        self.connect()
        self.followed.file.publish_accounts(123, 456)
        self.receive(self.of(456))
        self.assertEqual(self.kinds, [Kind.STARTED, Kind.STARTED, Kind.LOCKOUT])

    def test_a_mistake_in_one_account_keeps_nothing_from_the_others(self) -> None:
        """Nor from the heartbeat, nor the news that the daemon is gone."""
        self.followed.file.publish_accounts(123, 456)
        self.connect()
        self.sent.clear()
        ticks: list[None] = []
        self.watcher.on_tick = lambda: ticks.append(None)
        session, _watch = self.watcher._sessions[123]
        self.patch(session, "view", lambda **_: 1 / 0)
        self.receive(self.of(456))
        self.receive(ERROR)
        self.watcher._tick()
        self.lose()
        self.assertEqual(self.kinds, [Kind.LOCKOUT, Kind.ERROR, Kind.GONE])
        self.assertEqual(len(ticks), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_only_chosen_accounts_are_watched(self) -> None:
        self.begin(456)
        self.followed.file.publish_accounts(123, 456)
        self.connect()
        self.sent.clear()
        self.receive(self.of(123))
        self.assertEqual(self.sent, [])
        self.receive(self.of(456))
        self.assertEqual(self.kinds, [Kind.LOCKOUT])

    def test_accounts_that_cannot_be_read_are_an_error_and_found_later(self) -> None:
        self.connect()
        self.watcher._tick()
        self.assertEqual(self.kinds, [Kind.ERROR])
        self.assertIn("the accounts of riskd are not known", self.sent[0].fields["text"])
        self.publish(RUNNING)
        self.watcher._tick()
        self.assertEqual(self.kinds, [Kind.ERROR, Kind.STARTED])

    def test_what_only_the_file_has_is_found_each_second(self) -> None:
        self.publish(RUNNING)
        self.connect()
        self.sent.clear()
        self.lose()
        self.publish(RUNNING, self.lock, seconds=2)
        self.clock.advance(2)
        self.watcher._tick()
        self.assertEqual(self.kinds, [Kind.GONE, Kind.LOCKOUT])


class DayTests(WatcherTestCase):
    """The day's last trades, and limits, between two looks."""

    def test_a_trade_of_the_last_second_is_in_the_summary(self) -> None:
        self.publish(RUNNING)
        self.connect()
        self.receive(
            make_event("GatewayUserTrade", {"profitAndLoss": 12.50, "executionTime": at(1)})
        )
        self.clock.advance(60)
        reset = {"reset_time": at(60), "previous_pnl": 12.50, "previous_trade_count": 1}
        self.receive(make_event("daily_reset", reset))
        for _ in range(5):
            self.watcher._tick()
        self.assertEqual(self.sent[-1].kind, Kind.SUMMARY)
        self.assertEqual(self.sent[-1].fields["best"], "+$12.50")

    def test_limits_are_looked_at_each_second(self) -> None:
        settings = msgspec.json.encode({"loss_limit": 500}).decode()
        self.publish(RUNNING, limits={"RULE-003": Limit("daily_realized_loss", settings)})
        self.connect()
        self.sent.clear()
        self.receive(
            make_event("GatewayUserTrade", {"profitAndLoss": -400, "executionTime": at(1)})
        )
        self.assertEqual(self.sent, [])
        self.watcher._tick()
        self.assertEqual(self.kinds, [Kind.LIMIT])


class TroubleTests(WatcherTestCase):
    """When a watchdog hears that all is well."""

    def well(self, **more: Any) -> None:
        self.publish(RUNNING, **more)
        self.connect()
        self.clock.advance(5)

    def test_all_is_well_with_a_running_daemon_in_step_and_a_right_clock(self) -> None:
        self.assertEqual(self.watcher.trouble(), "riskd is not connected")
        self.publish(RUNNING)
        self.connect()
        self.assertEqual(self.watcher.trouble(), "riskd has just been connected")
        self.clock.advance(5)
        self.assertEqual(self.watcher.trouble(), "")

    def test_an_error_a_stop_and_a_loss_are_trouble(self) -> None:
        self.well()
        for status in ("ERROR", "STOPPING"):
            self.receive(make_event("daemon_status", {"status": status}))
            self.assertEqual(self.watcher.trouble(), "riskd is not RUNNING")
        self.receive(RUNNING)
        self.assertEqual(self.watcher.trouble(), "")
        self.lose()
        self.assertEqual(self.watcher.trouble(), "riskd is not connected")

    def test_the_status_of_a_daemon_before_is_not_that_of_its_successor(self) -> None:
        self.well()
        self.lose()
        self.publish(make_event("daemon_status", {"status": "STOPPING"}), seconds=6)
        self.connect()
        self.clock.advance(5)
        self.assertEqual(self.watcher.trouble(), "riskd is not RUNNING")

    def test_a_clock_that_is_wrong_or_unknown_is_trouble(self) -> None:
        for offset in (timedelta(seconds=3), timedelta(seconds=-3)):
            self.begin()
            self.well(clock_offset=offset)
            self.assertIn("this machine's clock is 3.000 s", self.watcher.trouble())
        self.begin()
        self.well(clock_offset=None)
        self.assertIn("is not known", self.watcher.trouble())

    def test_a_copy_that_cannot_be_read_is_trouble(self) -> None:
        self.begin(123)
        self.followed.file.fail()
        self.connect()
        self.receive(RUNNING)
        self.clock.advance(5)
        self.assertIn("cannot be read", self.watcher.trouble())

    def test_without_an_account_nothing_is_well(self) -> None:
        self.connect()
        self.receive(RUNNING)
        self.clock.advance(5)
        self.assertEqual(self.watcher.trouble(), "no account is known")
