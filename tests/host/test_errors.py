"""Errors that a person can act on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.host.errors import UserError


class UserErrorTests(SynchronousTestCase):
    """What a program prints."""

    def test_one_problem_is_the_text(self) -> None:
        error = UserError("riskd.toml: no such file")
        self.assertEqual(str(error), "riskd.toml: no such file")
        self.assertEqual(error.problems, ("riskd.toml: no such file",))

    def test_each_of_several_problems_is_a_line(self) -> None:
        self.assertEqual(str(UserError("one", "two")), "one\ntwo")
