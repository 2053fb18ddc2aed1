"""The command line of ``trader-console``.

It is here alone, with nothing but the standard library, because at build time the makers of the man page and of
the shells' completions read it too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal, get_args

from riskd import __version__
from trader.arguments import account_argument, url_argument

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
        type=account_argument,
        nargs="?",
        help="account id, such as 123; without it, the console offers those of the riskd that runs, "
        "or else of the last known state",
    )
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
