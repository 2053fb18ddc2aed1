"""URLs that a token may be sent to, and those that it may not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.urls import MAX_URL, checked_url


class CheckedUrlTests(SynchronousTestCase):
    """Which URLs are accepted, and what is said of the others."""

    def problem(self, url: str) -> str:
        return str(self.assertRaises(ValueError, checked_url, url))

    def test_an_accepted_url_loses_its_last_slash(self) -> None:
        for url, accepted in (
            ("https://api.example.com/", "https://api.example.com"),
            ("https://api.example.com:8443/v1/", "https://api.example.com:8443/v1"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://localhost/", "http://localhost"),
            ("http://[::1]:8000/", "http://[::1]:8000"),
        ):
            self.assertEqual(checked_url(url), accepted)

    def test_a_token_does_not_travel_in_the_clear(self) -> None:
        for url in (
            "http://api.topstepx.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "ws://rtc.topstepx.com/hubs/user",
            "ftp://localhost",
        ):
            self.assertIn("expected https://", self.problem(url))
            self.assertIn(url, self.problem(url))

    def test_a_text_that_is_no_url_is_refused_in_one_short_line(self) -> None:
        for url in (
            "",
            "api.topstepx.com",
            "https://",
            "https:///hubs",
            "https://[::1",
            "https://host:99999",
            "https://host:0",
            "https://ho st",
            "https://host\n",
            "https://h\N{CYRILLIC SMALL LETTER O}st",
            "https://" + "a" * MAX_URL,
        ):
            problem = self.problem(url)
            self.assertIn("expected a URL such as https://", problem)
            self.assertEqual(len(problem.splitlines()), 1)
            self.assertLess(len(problem), 250)

    def test_a_secret_in_a_url_is_refused_and_not_repeated(self) -> None:
        for url in (
            "https://jane:hunter2@api.topstepx.com",
            "https://hunter2@api.topstepx.com",
            "http://jane:hunter2@localhost",
            "https://api.topstepx.com?access_token=hunter2",
            "https://api.topstepx.com/#hunter2",
            "https://jane:hunter2@ho st",
        ):
            problem = self.problem(url)
            self.assertIn("expected a URL without", problem)
            self.assertNotIn("hunter2", problem)
