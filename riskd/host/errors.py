"""The root of all errors that a person can act on."""

from __future__ import annotations


class UserError(Exception):
    """An error that a person can act on: sentences that say what is wrong.

    A program prints each problem as it is, without a traceback, and exits with a status other than 0.

    :param problems: one sentence each; most errors have one.
    :cvar status: the program's exit status.
    """

    status = 1

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
