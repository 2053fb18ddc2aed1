"""What is news of an account, from views as a session makes them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from riskd.model.account import AccountState, Limit
from riskd.model.day_figures import DayFigures
from riskd.model.events import Event, EventData
from riskd.testing import make_event
from tests.support.console import BEGIN, SessionTestCase, at
from trader.alerts.account_watch import AccountWatch
from trader.alerts.alert import FACTS, Alert, Kind
from trader.model.formatting import clock
from trader.model.limit_usage import limit_usages

LOCK = make_event(
    "lockout_set",
    {
        "reason": "Daily loss limit hit",
        "rule_id": "RULE-003",
        "locked_until": at(600),
        "locked_at": at(1),
    },
)
ACTION = make_event("enforcement_action", {"reason": "6 > 5", "timestamp": at(1)})
LIMIT_OF_500 = {
    "RULE-003": Limit("daily_realized_loss", msgspec.json.encode({"loss_limit": 500}).decode())
}


class AccountWatchTestCase(SessionTestCase):
    """A watch beside a session; both see what the client and the file bring."""

    def setUp(self) -> None:
        super().setUp()
        self.watch = AccountWatch(123, [Decimal("0.7"), Decimal("0.9")])
        self.alerts: list[Alert] = []

    def look(self, event: EventData | None = None) -> list[Alert]:
        news = self.watch.look(self.view, self.session.now(), event)
        news += self.watch.look_at_limits(self.view, self.session.now())
        for each in news:
            self.assertLessEqual(set(FACTS[each.kind].fields), set(each.fields))
        self.alerts += news
        return news

    def kinds(self) -> list[Kind]:
        return [each.kind for each in self.look()]

    def receive(self, event_type: str, **data: Any) -> None:
        super().receive(event_type, **data)
        self.look()

    def receive_event(self, event: Event) -> None:
        super().receive_event(event)
        self.look(event.data)

    def begin(self, *events: Event, **more: Any) -> None:
        """Publish events, connect and forget that the watch has begun."""
        self.file.publish(*events, **more)
        self.connect()
        self.look()
        self.alerts.clear()

    def of(self, kind: Kind) -> Alert:
        """Return the only alert, which is of this kind."""
        (alert,) = self.alerts
        self.assertIs(alert.kind, kind)
        return alert


class BeginningTests(AccountWatchTestCase):
    """What the first view brings."""

    def test_before_anything_is_known_there_is_no_news(self) -> None:
        self.assertEqual(self.look(), [])

    def test_the_beginning_says_what_the_account_is_like(self) -> None:
        self.file.publish(LOCK, ACTION)
        self.connect()
        self.look()
        text = self.of(Kind.STARTED).fields["text"]
        self.assertRegex(text, "LOCKED OUT until .*: Daily loss limit hit")
        self.assertEqual(self.look(), [])

    def test_a_file_without_a_daemon_is_no_beginning(self) -> None:
        self.file.publish(LOCK)
        self.session.poll_file()
        self.assertEqual(self.look(), [])
        self.connect()
        self.assertEqual(self.kinds(), [Kind.STARTED])

    def test_without_the_file_that_is_an_error_once(self) -> None:
        self.connect()
        self.assertEqual(self.kinds(), [Kind.ERROR, Kind.STARTED])
        self.assertEqual(self.kinds(), [])
        self.assertIn("is not there", self.alerts[0].fields["message"])

    def test_an_account_that_riskd_does_not_know_is_an_error(self) -> None:
        self.file.publish_accounts(456)
        self.connect()
        self.assertIn("it knows 456", self.look()[0].fields["text"])

    def test_the_account_of_that_number_at_another_gateway_begins_anew(self) -> None:
        self.begin(ACTION, gateway_name="practice", instance="a")
        self.origin = ("projectx", "b")
        self.file.publish(LOCK, gateway_name="projectx", instance="b", seconds=5)
        self.lose()
        self.connect()
        self.assertEqual(self.kinds(), [Kind.STARTED])
        self.assertEqual(self.alerts[-1].fields["gateway"], "projectx")


class LockTests(AccountWatchTestCase):
    """Lockouts and enforcement."""

    def test_a_lockout_is_news_in_the_words_of_the_console(self) -> None:
        self.begin()
        self.receive_event(LOCK)
        alert = self.of(Kind.LOCKOUT)
        end = clock(BEGIN + timedelta(seconds=600))
        self.assertEqual(
            alert.fields["text"], f"LOCKED OUT until {end}: Daily loss limit hit (RULE-003)"
        )
        self.assertEqual(alert.fields["rule"], "RULE-003")
        self.assertEqual(alert.at, BEGIN + timedelta(seconds=1))

    def test_a_lockout_without_end_says_who_ends_it(self) -> None:
        self.begin()
        self.receive("lockout_set", locked_until=None)
        self.assertEqual(self.of(Kind.LOCKOUT).fields["until"], "an operator unlocks it")

    def test_a_repeated_lockout_and_action_is_no_news(self) -> None:
        self.begin()
        for event in (ACTION, LOCK) * 3:
            self.receive_event(event)
        self.assertEqual([each.kind for each in self.alerts], [Kind.ENFORCEMENT, Kind.LOCKOUT])

    def test_what_happened_during_a_disconnection_is_news_afterwards(self) -> None:
        self.begin()
        self.lose()
        self.look()
        self.file.publish(ACTION, LOCK, seconds=2)
        self.connect()
        self.assertEqual(self.kinds(), [Kind.ENFORCEMENT, Kind.LOCKOUT])

    def test_the_end_of_a_lockout_is_news_with_its_reason(self) -> None:
        self.begin(LOCK)
        self.receive_event(make_event("lockout_cleared", {"cleared_by": "DAILY_RESET"}))
        text = self.of(Kind.LOCKOUT_ENDED).fields["text"]
        self.assertEqual(text, "Trading resumed: a new trading day began")
        self.receive_event(LOCK)
        self.assertIs(self.alerts[-1].kind, Kind.LOCKOUT)

    def test_an_end_during_a_disconnection_is_news_afterwards(self) -> None:
        self.begin(LOCK)
        self.lose()
        self.file.publish(seconds=700)
        self.connect()
        self.assertEqual(self.kinds(), [Kind.LOCKOUT_ENDED])

    def test_a_file_that_cannot_be_read_ends_no_lockout(self) -> None:
        self.begin(LOCK)
        self.lose()
        self.file.fail()
        self.connect()
        self.assertEqual(self.kinds(), [Kind.ERROR])

    def test_a_dry_run_and_a_failure_are_named_so(self) -> None:
        self.begin()
        self.receive("enforcement_action", success=False, timestamp=at(2))
        details = {"positions_closed": 1, "orders_canceled": 0, "dry_run": True}
        self.receive("enforcement_action", details=details, timestamp=at(3))
        self.assertEqual(
            [each.fields["outcome"] for each in self.alerts],
            ["ENFORCEMENT FAILED", "NOT ENFORCED (dry run)"],
        )
        self.assertEqual(
            [(each.headline, each.urgency) for each in self.alerts],
            [("riskd FAILED to act", "failure"), ("Dry run: riskd would have acted", "warning")],
        )

    def test_text_of_the_broker_commands_nothing(self) -> None:
        self.begin()
        self.receive("lockout_set", reason="a\x1b]0;b\x07")
        for text in self.of(Kind.LOCKOUT).fields.values():
            self.assertTrue(text.isprintable(), text)

    @given(st.lists(st.sampled_from(["lock", "action", "lose", "connect"]), max_size=20))
    def test_each_lockout_and_action_is_news_once_whatever_the_connection_does(
        self, course: list[str]
    ) -> None:
        self.setUp()
        self.begin()
        events, is_connected = list[Event](), True
        for seconds, act in enumerate(course, 1):
            self.wait(1)
            if act in ("lose", "connect"):
                is_connected = act == "connect"
                (self.connect if is_connected else self.lose)()
                self.look()
                continue
            kind = "lockout_set" if act == "lock" else "enforcement_action"
            stamp = {"locked_at" if act == "lock" else "timestamp": at(seconds)}
            more = {"rule_id": f"RULE-{seconds:03}", "reason": f"number {seconds}", **stamp}
            events.append(make_event(kind, more))
            self.file.publish(*events, seconds=seconds)
            if is_connected:
                self.receive_event(events[-1])
        self.lose()
        self.connect()
        self.look()
        found = [each.fields["reason"] for each in self.alerts if "rule" in each.fields]
        told = [event.data.reason for event in events]  # type: ignore[union-attr]
        self.assertEqual(sorted(found), sorted(told))


class LimitTests(AccountWatchTestCase):
    """How much of a limit is used."""

    def lose_money(self, amount: float, number: int) -> None:
        self.receive(
            "GatewayUserTrade", id=number, profitAndLoss=-amount, executionTime=at(number)
        )

    def test_seventy_and_ninety_percent_are_news_once_each(self) -> None:
        self.begin(limits=LIMIT_OF_500)
        self.receive("daemon_status", status="RUNNING")
        for number, amount in enumerate((340, 20, 10, 90), 1):
            self.lose_money(amount, number)
        first, second = self.alerts
        self.assertEqual(first.fields["percent"], "72")
        self.assertIn("72 %: $360.00 of $500.00, $140.00 left", first.fields["text"])
        self.assertEqual(second.fields["percent"], "92")

    def test_a_limit_that_is_used_up_has_nothing_left(self) -> None:
        self.begin(limits=LIMIT_OF_500)
        self.receive("daemon_status", status="RUNNING")
        self.lose_money(600, 1)
        self.assertTrue(
            self.of(Kind.LIMIT).fields["text"].endswith("at 120 %: $600.00 of $500.00")
        )

    def test_a_grace_period_that_runs_out_is_no_news(self) -> None:
        grace = msgspec.json.encode({"grace_period_seconds": 10}).decode()
        self.begin(limits={"RULE-008": Limit("no_stop_loss_grace", grace)})
        self.receive("daemon_status", status="RUNNING")
        self.receive("GatewayUserPosition", createdAt=at(0), updatedAt=at(0))
        self.wait(9)
        (usage,) = limit_usages(self.view, self.session.now())
        self.assertEqual(usage.share, Decimal("0.9"))
        self.assertEqual(self.look(), [])

    def test_figures_that_are_not_current_are_no_news(self) -> None:
        self.file.publish(
            make_event("GatewayUserTrade", {"profitAndLoss": -400, "executionTime": at(0)}),
            make_event("daemon_status", {"status": "ERROR"}),
            limits=LIMIT_OF_500,
        )
        self.connect()
        self.assertEqual(self.kinds(), [Kind.STARTED])
        self.receive("daemon_status", status="RUNNING")
        self.assertIs(self.alerts[-1].kind, Kind.LIMIT)


class DayTests(AccountWatchTestCase):
    """The summary at the daily reset."""

    reset = make_event(
        "daily_reset",
        {"reset_time": at(100), "previous_pnl": 34.50, "previous_trade_count": 2},
    )
    day = date(2025, 1, 17)

    def copy(self, **figures: str) -> AccountState:
        """Return the copy after the reset, with figures of the day if any are given."""
        state = self.file.publish(self.reset, seconds=101)
        if not figures:
            return state
        amounts = {name: Decimal(value) for name, value in figures.items()}
        return msgspec.structs.replace(state, days={self.day: DayFigures(**amounts)})

    def summary(self, *copies: AccountState | None) -> list[str]:
        """Return the text of the summary in the seconds in which the copy is like this."""
        news = [each for copy in copies for each in self.watch.look_at_day(copy, self.now)]
        self.assertTrue(all(each.kind is Kind.SUMMARY for each in news))
        return [each.fields["text"] for each in news]

    def test_it_names_its_day_where_that_is_published(self) -> None:
        self.end_day()
        (summary,) = self.watch.look_at_day(self.copy(net="30.10"), self.now)
        self.assertEqual(summary.day, self.day)

    def end_day(self) -> None:
        self.begin()
        self.receive("GatewayUserTrade", id=1, profitAndLoss=80, executionTime=at(1))
        self.receive("GatewayUserTrade", id=2, profitAndLoss=-45.50, executionTime=at(2))
        self.receive("enforcement_action", timestamp=at(3))
        self.wait(100)
        self.receive_event(self.reset)

    def test_it_has_the_day_in_one_line_with_what_is_published_a_moment_later(self) -> None:
        self.end_day()
        self.assertTrue(self.watch.has_ended_day)
        before = self.file.read().accounts[123]
        published = self.copy(net="30.10", close="50030.10")
        self.assertEqual(
            self.summary(before, None, published),
            [
                (
                    "the trading day has ended: realized +$34.50 in 2 trades, best +$80.00, worst -$45.50, "
                    "net of fees +$30.10, balance $50,030.10, 1 enforcement"
                )
            ],
        )
        self.receive_event(self.reset)
        self.assertFalse(self.watch.has_ended_day)
        self.assertEqual(self.summary(published), [])

    def test_it_does_not_wait_for_long_and_says_what_it_knows(self) -> None:
        self.end_day()
        self.assertEqual(self.summary(*[self.copy()] * 4), [])
        (text,) = self.summary(None)
        self.assertTrue(text.endswith("worst -$45.50, 1 enforcement"), text)

    def test_trades_that_were_not_seen_leave_their_figures_out(self) -> None:
        self.begin()
        self.wait(100)
        self.receive_event(self.reset)
        self.assertEqual(
            self.summary(self.copy(net="30.10")),
            [
                (
                    "the trading day has ended: realized +$34.50 in 2 trades, net of fees +$30.10, "
                    "0 enforcements"
                )
            ],
        )

    def test_a_reset_during_a_disconnection_is_news_afterwards(self) -> None:
        self.begin()
        self.lose()
        self.wait(200)
        self.file.publish(self.reset, seconds=150)
        self.connect()
        self.assertEqual(self.kinds(), [])
        self.assertTrue(self.watch.has_ended_day)

    def test_a_reset_of_before_the_beginning_is_no_news(self) -> None:
        self.file.publish(self.reset, seconds=150)
        self.connect()
        self.assertEqual(self.kinds(), [Kind.STARTED])
        self.assertFalse(self.watch.has_ended_day)
