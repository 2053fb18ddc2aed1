"""The tests: trial and pytest run what is here, pytest alone what is in ``integration``."""

import os
import sys
from unittest import skipUnless

from hypothesis import HealthCheck, settings

_IS_PYTEST = "pytest" in sys.modules

# How long an example takes says more of the machine than of the code; what 50 examples of a run do not
# find, the next run's will.
# Under trial a few will do: it shows that the same tests run there.
_MOST = 1000 if _IS_PYTEST else 3

in_one_runner = skipUnless(_IS_PYTEST, "it is dear, and pytest runs it")
"""Marks a test that one test runner is enough for."""


def examples(wanted: int) -> int:
    """Return how many examples of a test to try, of those that it wants."""
    return min(wanted, _MOST)


settings.register_profile(
    "suite",
    max_examples=examples(50),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")

# riskd refuses a state directory that a group can write, and some systems let a user's group write all that is new.
os.umask(0o022)
