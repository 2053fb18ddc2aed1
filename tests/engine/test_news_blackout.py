"""RULE-017 on the practice exchange: blackouts, and a file that is missing or outdated."""

from __future__ import annotations

from riskd.model.events import Action, DaemonStatus, Status
from tests.support.guarded_account import GuardTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, ES, MNQ, SELL, settings_of

RULE = """
[rules.news_blackout]
file = "news.csv"
minutes_before = 1
minutes_after = 2
"""


def with_file(text: str) -> str:
    return f"""{RULE}
    [files."news.csv"]
    text = '''{text}'''
    """


NEWS = """# until: 2026-11-23T18:30:00Z
at,tickers,name
2026-11-23T18:02:00Z,MNQ,CPI
"""


class BlackoutTests(GuardTestCase):
    config = with_file(NEWS)

    def test_an_account_is_flat_in_a_blackout_and_trades_after_it(self) -> None:
        self.daemon.move(ES, "5800")
        self.daemon.trade(BUY, 1)
        self.daemon.trade(SELL, 1, ES)
        self.daemon.advance(59)
        self.assertEqual(self.daemon.held, {MNQ: 1, ES: -1})
        self.daemon.advance(2)
        self.assertEqual(self.daemon.held, {ES: -1})
        (action,) = self.daemon.actions
        self.assertEqual(action.action, Action.CLOSE_ALL_POSITIONS)
        self.assertEqual(action.reason, "1 MNQZ6 held during news: CPI at 18:02 UTC")

        self.daemon.trade(BUY, 1, limitPrice="20990")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(2)
        self.assertEqual((self.daemon.held, self.daemon.working), ({ES: -1}, []))
        self.assertFalse(self.daemon.locks)

        self.daemon.advance(180)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(5)
        self.assertEqual(self.daemon.held, {MNQ: 1, ES: -1})

    def test_a_blackout_goes_on_after_a_kill(self) -> None:
        self.daemon.advance(61)
        self.daemon.kill()
        self.daemon.trade(BUY, 1)
        self.daemon.restart()
        self.daemon.advance(2)
        self.assertEqual(self.daemon.held, {})


class ProblemTests(GuardTestCase):
    """What the daemon's status says."""

    config = RULE

    def last(self) -> DaemonStatus:
        status: DaemonStatus = self.daemon.news(DaemonStatus)[-1]
        return status

    def test_a_missing_file_is_an_error_until_a_reload_finds_it(self) -> None:
        self.daemon.advance(1)
        self.assertIs(self.last().status, Status.ERROR)
        self.assertEqual(
            self.last().message,
            f"Account {ACCOUNT}, RULE-017: news is not guarded against, news.csv is not in this "
            "configuration",
        )
        self.daemon.engine.reload(settings_of(with_file(NEWS)))
        self.assertIs(self.last().status, Status.RUNNING)
        self.daemon.engine.reload(settings_of(with_file("at")))
        self.assertIn("expected at least one time of news", self.last().message)
        # A rule that is no longer in force has no problem.
        self.daemon.engine.reload(settings_of(""))
        self.assertIs(self.last().status, Status.RUNNING)

    def test_an_outdated_file_is_an_error_at_its_end(self) -> None:
        self.daemon.engine.reload(settings_of(with_file(NEWS)))
        self.daemon.advance(1799)
        self.assertIs(self.last().status, Status.RUNNING)
        self.daemon.advance(2)
        self.assertIs(self.last().status, Status.ERROR)
        self.assertIn("news.csv is outdated: it ends 2026-11-23 18:30 UTC", self.last().message)
