"""The command line of ``trader-console``.

It is here alone, with nothing but the standard library, because at build time the makers of the man page and of
the shells' completions read it too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, Literal, get_args

from riskd import __version__

MAX_ACCOUNT_ID: Final = 2**63 - 1

Theme = Literal["dark", "light", "colorblind", "mono"]
"""The names of the themes; see :mod:`trader.ui.palette`."""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="trader-console", description="Watch a futures account live, in the terminal."
    )
    parser.add_argument("--version", action="version", version=f"trader-console {__version__}")
    parser.add_argument(
        "account",
        type=_account,
        nargs="?",
        help="account id, such as 123; without it, the console offers those of the riskd that runs, "
        "or else of the last known state",
    )
    parser.add_argument(
        "--url",
        type=_url,
        help="URL of riskd [that of the riskd that runs, ws://localhost:8765 first]",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="riskd's state directory, which holds the last known state "
        "[that of the account, in riskd in the XDG state directory, ~/.local/state]",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings file [riskd/console.toml in the XDG configuration directory, ~/.config]",
    )
    parser.add_argument("--theme", choices=get_args(Theme), help="color theme [dark]")
    parser.add_argument("--no-color", action="store_true", help="no colors, as with NO_COLOR set")
    parser.add_argument("--ascii", action="store_true", help="draw only ASCII characters")
    output = parser.add_mutually_exclusive_group()
    for name, effect in (
        ("plain", "no screen: write a line for each event but quotes"),
        ("json", "no screen: write each event as a line of JSON"),
    ):
        output.add_argument(
            f"--{name}", dest="output", action="store_const", const=name, help=effect
        )
    parser.set_defaults(output="screen")
    return parser


def _account(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > MAX_ACCOUNT_ID:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an account id; it must be a whole number"
        )
    return int(text)


def _url(text: str) -> str:
    # Not above: a command line is parsed where Twisted may be missing, at build time.
    from trader.client import check_url  # noqa: PLC0415

    try:
        check_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
