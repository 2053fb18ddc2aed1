"""The times of news in TOML and CSV, and what is wrong with them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.host.errors import UserError
from riskd.rules.news_calendar import Importance, News, parse_news

TOML = """
until = 2026-12-31
[[news]]
at = 2026-12-09T14:00:00-05:00
name = "FOMC"
[[news]]
at = "2026-12-02T15:30:00Z"
tickers = ["cl", "MCL"]
importance = "medium"
"""

CSV = """\ufeff# until: 2026-12-31
at,name,tickers,importance
2026-12-09T19:00:00Z,FOMC,,

2026-12-02T15:30:00Z,,CL mcl,medium
"""

FOMC = News(datetime(2026, 12, 9, 19, tzinfo=UTC), name="FOMC")
OIL = News(datetime(2026, 12, 2, 15, 30, tzinfo=UTC), ("CL", "MCL"), Importance.MEDIUM)


class ReadingTests(SynchronousTestCase):
    def test_both_forms_say_the_same(self) -> None:
        for text, name in ((TOML, "news.toml"), (CSV, "News.CSV")):
            calendar = parse_news(text, name)
            self.assertEqual(calendar.news, (OIL, FOMC), name)
            self.assertEqual(calendar.until.isoformat(), "2026-12-31T23:59:59.999999+00:00")

    def test_the_documented_examples_say_the_same(self) -> None:
        text = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
        toml, csv = re.findall(r"```(?:toml)?\n((?:# How long|# until).*?)```", text, re.DOTALL)
        self.assertEqual(parse_news(toml, "news.toml"), parse_news(csv, "news.csv"))

    def test_without_until_the_last_news_is_the_end(self) -> None:
        text = TOML.replace("until = 2026-12-31", "")
        self.assertEqual(parse_news(text, "news.toml").until, FOMC.at)
        self.assertEqual(parse_news("until = 2026-12-31T12:00:00Z", "n.toml").news, ())
        self.assertEqual(parse_news("until = 2026-12-31T12:00:00Z", "n.toml").until.hour, 12)


class MistakeTests(SynchronousTestCase):
    def problem(self, text: str, name: str = "news.toml") -> str:
        error: UserError = self.assertRaises(UserError, parse_news, text, name)
        (problem,) = error.problems
        self.assertTrue(problem.startswith(name), problem)
        return problem

    def test_each_names_the_place_the_value_and_what_was_expected(self) -> None:
        entry = "[[news]]\nat = 2026-12-09T14:00:00Z\n"
        for text, *words in (
            ("[[news]]\nname = 'CPI'", "news[0]: at: missing; expected a time with its offset"),
            ("[[news]]\nat = 2026-12-09T14:00:00", "news[0]: at: expected", "2026-12-09T14:00:00"),
            ("[[news]]\nat = 2026-12-09", "news[0]: at: expected a time", "got 2026-12-09"),
            # Neither has a day before or after it.
            ("[[news]]\nat = 0001-01-01T00:00:00+01:00", "at: expected a year from 2 to 9998"),
            ("[[news]]\nat = '9999-12-31T23:59:00Z'", "got '9999-12-31T23:59:00Z'"),
            ("until = 9999-12-31T23:59:00-01:00", "until: expected a year", "got 9999-12-31T23"),
            (f"{entry}{entry}tickers = ['ESZ6']", "news[1]: tickers: expected", "got ['ESZ6']"),
            (f"{entry}tickers = 7", "news[0]: tickers: expected", "got 7"),
            (f"{entry}importance = 'red'", "importance: expected one of low, medium", "'red'"),
            (f"{entry}name = 7", "news[0]: name: expected a text", "got 7"),
            (f"{entry}impact = 'high'", "news[0]: impact: unknown field; known are at, tickers"),
            ("events = []", "events: unknown key; known are until, news"),
            ("news = 7", "news: expected tables [[news]], got 7"),
            ("until = 'soon'", "until: expected a time", "got 'soon'"),
            ("", "expected at least one time of news, or until"),
            ("until = ", "Invalid value"),
            (entry * 2001, "expected at most 2000 times of news, got 2001"),
        ):
            problem = self.problem(text)
            for word in words:
                self.assertIn(word, problem)

    def test_each_names_the_line_of_a_csv_file(self) -> None:
        for text, *words in (
            ("at,impact\n", "line 1: expected headings of at, tickers", "got 'impact'"),
            ("at\n# a remark\nnoon\n", "line 3: at: expected a time", "got 'noon'"),
            ("at,name\n2026-12-09T14:00:00Z\n", "line 2: expected 2 values, got 1"),
            ("at,tickers\n2026-12-09T14:00:00Z,ES;NQ\n", "line 2: tickers", "'ES;NQ'"),
            ("name\nCPI\n", "line 2: at: missing"),
            ('at\n"2026\n', "line 2: unexpected end of data"),
            ("# until: never\nat\n", "until: expected a time", "got 'never'"),
        ):
            problem = self.problem(text, "news.csv")
            for word in words:
                self.assertIn(word, problem)
