"""A daemon of many accounts with events on demand, for :mod:`tests.benchmarks.accounts`.

``python -m tests.benchmarks.accounts_daemon PORT DIRECTORY`` is fed as the daemon of :class:`riskd.testing.DaemonHarness`
is.  Its rules are in force and act on nothing: the harness has paused it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final
from unittest.mock import patch

from riskd import testing
from riskd.config.loader import parse_settings
from riskd.config.settings import Settings
from tests.support.configuration import CATALOGUE

ACCOUNTS: Final = tuple(range(5000, 5200))

_RULES: Final = """
[rules.max_contracts]
limit = 10000
[rules.daily_realized_loss]
loss_limit = 1_000_000
[rules.daily_unrealized_loss]
loss_limit = 1_000_000
[rules.daily_net_loss]
loss_limit = 1_000_000
[rules.maximum_loss]
drawdown = 1_000_000
[rules.trade_frequency_limit]
[rules.cooldown_after_loss]
"""


def settings() -> Settings:
    """Return the settings of all accounts."""
    accounts = "".join(f"[[accounts]]\nid = {number}\n" for number in ACCOUNTS)
    return parse_settings(accounts + _RULES, "many.toml", CATALOGUE)


def main() -> None:
    """Run until standard input ends or a signal comes."""
    with patch.object(testing, "unguarded_settings", settings):
        testing.main(int(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
