"""The command line of ``trader-console``.

It is here alone, with nothing but the standard library, because at build time the makers of the man page and of
the shells' completions read it too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal, get_args

from riskd import __version__
from trader.arguments import account_argument, add_daemon_options, port_argument

Theme = Literal["dark", "light", "colorblind", "mono"]
"""The names of the themes; see :mod:`trader.ui.palette`."""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="trader-console",
        description="Watch futures accounts live, in the terminal or in a browser.",
    )
    parser.add_argument("--version", action="version", version=f"trader-console {__version__}")
    parser.add_argument(
        "account",
        type=account_argument,
        nargs="?",
        help="account id, such as 123; without it, all accounts of the riskd that runs, "
        "or else of the last known state",
    )
    add_daemon_options(parser, "that of the account")
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
        (
            "web",
            "the screen as a page in this machine's browsers: print its URL, which works once",
        ),
    ):
        output.add_argument(
            f"--{name}", dest="output", action="store_const", const=name, help=effect
        )
    parser.add_argument(
        "--web-port",
        type=port_argument,
        metavar="PORT",
        help="TCP port of --web, on loopback addresses only [a free one]",
    )
    parser.set_defaults(output="screen")
    return parser
