"""What a machine may lack: then tests are skipped, or fail where they are required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(why: str, what: str) -> NoReturn:
    """Skip a test, or fail it where ``RISKD_REQUIRE_`` and ``what`` say that it must run."""
    if os.environ.get(f"RISKD_REQUIRE_{what}"):
        pytest.fail(why)
    pytest.skip(why)
