"""The command line of ``trader-alerts``, of nothing but the standard library."""

from __future__ import annotations

import argparse
from pathlib import Path

from riskd import __version__
from trader.arguments import account_argument, add_daemon_options


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="trader-alerts",
        description="Send a message when riskd locks an account, acts, has an error or is gone.",
    )
    parser.add_argument("--version", action="version", version=f"trader-alerts {__version__}")
    parser.add_argument(
        "accounts",
        metavar="ACCOUNT",
        type=account_argument,
        nargs="*",
        help="account id, such as 123; without any, all accounts of riskd",
    )
    add_daemon_options(parser, "that of the riskd that runs")
    parser.add_argument(
        "--target",
        metavar="APPRISE_URL",
        action="append",
        default=[],
        help="where to send messages; may be repeated. Other users of this machine can see it, so a URL with a secret "
        "belongs into the file of targets [riskd/alert-targets in the XDG configuration directory, ~/.config]",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings file [riskd/alerts.toml in the XDG configuration directory, ~/.config]",
    )
    parser.add_argument(
        "--test", action="store_true", help="send a sample of each alert to each target, and end"
    )
    return parser
