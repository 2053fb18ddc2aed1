"""The root of the errors that a person can act on."""

from __future__ import annotations


class UserError(Exception):
    """Tell a person what is wrong and what to do, in sentences.

    A program prints each problem as it stands, without a traceback, and exits with a status other
    than 0.

    :param problems: one sentence each; most errors have one.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
