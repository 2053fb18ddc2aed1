"""RULE-017: no position and no order while news is published."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.errors import UserError
from riskd.model.events import Event, OrderSide, OrderType
from riskd.rules.builtin.news_blackout import Settings, check, gauges
from riskd.rules.interface import Command, Flatten, RejectOrder, RuleResult
from tests.support.rules import (
    BUY,
    ES,
    MNQ,
    NOON,
    SELL,
    SHORT,
    UNKNOWN,
    at,
    order,
    position,
    review,
    settings_of,
    state_after,
    timer,
    trigger_of,
)

NEWS_AT = 3600
"""Seconds after noon."""

BEGINS, ENDS = NEWS_AT - 120, NEWS_AT + 180

FILE = """
until = 2025-07-18
[[news]]
at = 2025-07-17T13:00:00Z
name = "CPI"
[[news]]
at = 2025-07-17T14:00:00Z
tickers = ["MNQ"]
[[news]]
at = 2025-07-17T15:00:00Z
importance = "medium"
"""


def settings(text: str = FILE, **more: Any) -> Settings:
    table = {"file": "news.toml", "minutes_before": 2, "minutes_after": 3, **more}
    return settings_of(Settings, **table).with_files(lambda _name: text)


def limit(number: int, side: OrderSide, contract_id: str = MNQ) -> Event:
    return order(number, contract_id, side, 2, kind=OrderType.LIMIT)


def checked(seconds: float, *events: Event, **more: Any) -> RuleResult:
    return check(state_after(*events), settings(**more), review(seconds))


CLOSED = Flatten(reason="1 MNQU5 held during news: CPI at 13:00 UTC", keep={MNQ: 0})


class BlackoutTests(SynchronousTestCase):
    def test_it_begins_at_its_first_moment_and_is_over_at_its_last(self) -> None:
        for seconds, expected in (
            (BEGINS - 0.001, ()),
            (BEGINS, (CLOSED,)),
            (NEWS_AT, (CLOSED,)),
            (ENDS - 0.001, (CLOSED,)),
            (ENDS, ()),
        ):
            result = checked(seconds, position(MNQ, 1))
            self.assertEqual(result.commands, expected, seconds)

    def test_the_rule_wakes_at_each_edge(self) -> None:
        edges = [BEGINS, ENDS, BEGINS + 3600, ENDS + 3600]
        seconds: float = 0
        for edge in edges:
            wake_at = checked(seconds).wake_at
            self.assertEqual(wake_at, at(edge))
            seconds = edge
        end = checked(seconds).wake_at
        assert end is not None
        self.assertEqual(checked((end - NOON).total_seconds()).wake_at, None)

    def test_orders_that_open_contracts_are_canceled_and_exits_are_not(self) -> None:
        held = position(MNQ, 1, SHORT)
        buy, sell = limit(7, BUY, ES), limit(8, SELL, ES)
        rejected = tuple(
            RejectOrder(
                reason=f"Order to {side} 2 ESU5 during news: CPI at 13:00 UTC", order_id=number
            )
            for number, side in ((7, "buy"), (8, "sell"))
        )
        self.assertEqual(checked(BEGINS, buy, sell).commands, rejected)
        # The close of a position cancels the orders of its contract.
        commands = checked(BEGINS, held, limit(9, BUY), buy, sell).commands
        self.assertEqual(commands, (CLOSED, *rejected))
        state = state_after(held, limit(9, BUY), limit(10, SELL), order(11, side=BUY, size=1))
        kept = check(state, settings(flatten=False), review(BEGINS)).commands
        self.assertEqual([each.order_id for each in kept], [9, 10])  # type: ignore[union-attr]

    def test_without_flatten_only_what_was_opened_in_the_blackout_is_closed(self) -> None:
        for opened, expected in ((BEGINS - 1, ()), (BEGINS, (CLOSED,))):
            held = position(MNQ, 1, opened=opened, seconds=opened)
            self.assertEqual(checked(BEGINS + 5, held, flatten=False).commands, expected)

    def test_the_blackout_of_other_tickers_is_none_in_which_it_was_opened(self) -> None:
        text = FILE.replace("T14:00:00Z", "T12:56:00Z")
        for contract_id, expected in ((MNQ, 1), (ES, 0)):
            # Before the blackout of all tickers, and within that of MNQ.
            held = position(contract_id, 1, opened=BEGINS - 60, seconds=BEGINS - 60)
            found = check(state_after(held), settings(text, flatten=False), review(BEGINS))
            self.assertEqual(len(found.commands), expected, contract_id)

    def test_news_may_move_some_tickers_only(self) -> None:
        held = (position(MNQ, 1), position(ES, 1), position(UNKNOWN, 1))
        result = checked(NEWS_AT + 3600, *held)
        (command,) = result.commands
        assert isinstance(command, Flatten)
        self.assertEqual(command.keep, {MNQ: 0})
        self.assertIn("unnamed at 14:00 UTC", command.reason)
        warning = f"Symbol of {UNKNOWN} unknown: cannot tell whether the news moves it"
        self.assertEqual(result.warnings, (warning,))
        self.assertEqual(checked(NEWS_AT, *held).warnings, ())
        self.assertEqual(len(checked(NEWS_AT, *held).commands), 3)

    def test_only_news_of_some_importance_counts(self) -> None:
        held, late = position(MNQ, 1), NEWS_AT + 7200
        self.assertEqual(checked(late, held).commands, ())
        self.assertEqual(len(checked(late, held, importance="medium").commands), 1)
        self.assertEqual(len(checked(NEWS_AT, held, importance="low").commands), 1)

    def test_an_order_event_and_a_timer_check_it(self) -> None:
        buy = limit(7, BUY)
        state = state_after(buy)
        for trigger in (trigger_of(buy, BEGINS), timer(BEGINS)):
            commands: tuple[Command, ...] = check(state, settings(), trigger).commands
            self.assertEqual(len(commands), 1)


class ProblemTests(SynchronousTestCase):
    """A file that is missing, wrong or outdated."""

    def test_a_file_that_cannot_be_used_is_a_problem(self) -> None:
        def missing(name: str) -> str:
            raise UserError(f"{name}: cannot be read: No such file or directory")

        unread = settings_of(Settings, file="news.toml")
        for broken, why in (
            (unread.with_files(missing), "news.toml: cannot be read: No such file or directory"),
            (unread.with_files(lambda _name: "news = 7"), "news.toml: news: expected tables"),
            (unread, "news.toml was not read"),
        ):
            result = check(state_after(position(MNQ, 1)), broken, review(NEWS_AT))
            self.assertEqual(result.commands, ())
            self.assertIn(f"news is not guarded against, {why}", result.problem)
            (gauge,) = gauges(state_after(), broken, NOON)
            self.assertEqual(gauge.words, result.problem)

    def test_it_is_outdated_from_its_end_on(self) -> None:
        text = FILE.replace("2025-07-18", "2025-07-17T14:00:00Z")
        self.assertEqual(checked(7199.999, text=text).problem, "")
        result = checked(7200, position(MNQ, 1), text=text)
        self.assertEqual(
            result.problem,
            "news is not guarded against, news.toml is outdated: it ends 2025-07-17 14:00 UTC",
        )
        # What it knows still counts.
        self.assertEqual(len(result.commands), 1)
        self.assertEqual(checked(7100, text=text).wake_at, at(7200))

    def test_the_settings_survive_the_journal(self) -> None:
        text = msgspec.json.encode(settings())
        self.assertEqual(msgspec.json.decode(text, type=Settings), settings())


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_invalid_tables_are_rejected(self) -> None:
        for table, word in (
            ({"file": ""}, "file"),
            ({"file": "n.toml", "minutes_before": -1}, "minutes_before"),
            ({"file": "n.toml", "minutes_before": 0, "minutes_after": 0}, "minutes_after"),
            ({"file": "n.toml", "importance": "red"}, "importance"),
            ({"file": "n.toml", "flatten": 1}, "flatten"),
            ({"file": 7}, "file"),
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(word, str(error))


class GaugeTests(SynchronousTestCase):
    def test_it_says_what_there_is_or_what_comes(self) -> None:
        for seconds, words in (
            (0, "from Thu 2025-07-17 12:58 UTC: CPI at 13:00 UTC"),
            (BEGINS, "until Thu 2025-07-17 13:03 UTC: CPI at 13:00 UTC"),
            (ENDS, "from Thu 2025-07-17 13:58 UTC: unnamed at 14:00 UTC"),
            (ENDS + 3600, "none ahead"),
        ):
            (gauge,) = gauges(state_after(), settings(), NOON + timedelta(seconds=seconds))
            self.assertEqual((gauge.name, gauge.words), ("news blackout", words))
