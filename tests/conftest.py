"""The order in which pytest takes the tests, and what it need not ask before each of them."""

from __future__ import annotations

import functools
import importlib.metadata

import pytest

# pytest asks for the version of Twisted before each test, and to read it takes a millisecond or two.
importlib.metadata.version = functools.cache(importlib.metadata.version)

FIRST = ("tests/engine/test_simulation.py", "tests/integration/")
"""What takes longest: minutes in processes of its own, and waits for programs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: whatever runs last, the other workers wait for it."""
    items.sort(key=lambda item: _place(item.nodeid))


def _place(test: str) -> int:
    places = (place for place, beginning in enumerate(FIRST) if test.startswith(beginning))
    return next(places, len(FIRST))
