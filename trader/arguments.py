"""What the command lines have in common.

At build time the makers of man pages and of completions read the command lines, so this needs nothing but the
standard library.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

MAX_ACCOUNT_ID: Final = 2**63 - 1
MIN_PORT: Final = 1024
"""Lower ports are reserved for root, and browsers omit port 80 from their headers."""

MAX_PORT: Final = 2**16 - 1


def account_argument(text: str) -> int:
    """Return an account id.

    :raises argparse.ArgumentTypeError: ``text`` is none.
    """
    if not (text.isascii() and text.isdecimal()) or int(text) > MAX_ACCOUNT_ID:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an account id; it must be a whole number"
        )
    return int(text)


def port_argument(text: str) -> int:
    """Return a TCP port that a user may serve on.

    :raises argparse.ArgumentTypeError: ``text`` is no such port.
    """
    if not (text.isascii() and text.isdecimal()) or not MIN_PORT <= int(text) <= MAX_PORT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a TCP port; it must be from {MIN_PORT} to {MAX_PORT}"
        )
    return int(text)


def url_argument(text: str) -> str:
    """Return the URL of a daemon.

    :raises argparse.ArgumentTypeError: ``text`` is none.
    """
    # Not above: Twisted may be missing at build time.
    from trader.client import check_url  # noqa: PLC0415

    try:
        check_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_daemon_options(parser: argparse.ArgumentParser, usual_state: str) -> None:
    """Add the options that say which daemon is meant.

    :param usual_state: the state directory without an option, for the help.
    """
    parser.add_argument(
        "--url",
        type=url_argument,
        help="URL of riskd [that of the riskd that runs, ws://localhost:8765 first]",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="riskd's state directory, which holds the last known state "
        f"[{usual_state}, in riskd in the XDG state directory, ~/.local/state]",
    )
