"""The command line of ``trader-console``, and ``console.toml`` behind it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from riskd.config.toml import ConfigError
from riskd.journal.paths import default_directory
from riskd.journal.reader import StateFileError, read_published
from trader.cli.settings import (
    Settings,
    ThemeName,
    default_file,
    read_settings,
)
from trader.client import DEFAULT_URL, check_url
from trader.model.characters import can_be_drawn

_ACCOUNT_IDS_END: Final = 2**63


class Output:
    """How events are shown."""

    SCREEN: Final = "screen"
    PLAIN: Final = "plain"
    JSON: Final = "json"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for.

    :ivar account: ``None`` where neither the command line nor the file names one.
    :ivar output: one of :class:`Output`.
    :ivar theme: the name of a theme; ``mono`` where no colors are wanted.
    """

    account: int | None
    url: str
    state: Path
    output: str
    theme: str
    settings: Settings
    is_ascii: bool


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Return what was asked for, the command line before the file.

    :raises SystemExit: help was asked for, or something is wrong; with code 2 after a line about it.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        settings = read_settings(given.config)
    except ConfigError as error:
        parser.error(str(error))
    is_mono = given.no_color or bool(os.environ.get("NO_COLOR"))
    return Options(
        account=settings.account if given.account is None else given.account,
        url=given.url or settings.url or DEFAULT_URL,
        state=given.state or _directory(settings.state),
        output=given.output,
        theme=ThemeName.MONO.value if is_mono else given.theme or settings.theme.value,
        settings=settings,
        is_ascii=given.ascii or settings.ascii or not can_be_drawn(sys.stdout.encoding),
    )


def _directory(named: str | None) -> Path:
    return Path(named).expanduser() if named else default_directory()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trader-console", description="Watch a futures account live, in the terminal."
    )
    parser.add_argument(
        "account",
        type=_account,
        nargs="?",
        help="account id, such as 123; without it, the accounts of the state directory are offered",
    )
    parser.add_argument("--url", type=_url, help=f"where riskd is [{DEFAULT_URL}]")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="the state directory of riskd, for what is known without a connection "
        f"[{_told(default_directory())}]",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"what to prefer [{_told(default_file())}]"
    )
    parser.add_argument(
        "--theme", choices=[name.value for name in ThemeName], help="the colors [dark]"
    )
    parser.add_argument("--no-color", action="store_true", help="no colors, as with NO_COLOR set")
    parser.add_argument("--ascii", action="store_true", help="nothing but ASCII")
    output = parser.add_mutually_exclusive_group()
    for name, told in (
        (Output.PLAIN, "no screen: a line for each event, but for quotes"),
        (Output.JSON, "no screen: a JSON object for each event, a line each"),
    ):
        output.add_argument(
            f"--{name}", dest="output", action="store_const", const=name, help=told
        )
    parser.set_defaults(output=Output.SCREEN)
    return parser


def _told(path: Path) -> str:
    # argparse takes a percent sign in a help for its own.
    return str(path).replace("%", "%%")


def choose_account(
    state: Path, ask: Callable[[str], str] | None, say: Callable[[str], object]
) -> int | None:
    """Return the account to show, of those that the state file knows; ``None`` where none was chosen.

    The only one is taken; of several, the trader says which.

    :param ask: asks a question and returns the answer; ``None`` when there is nobody to ask.
    :param say: tells the trader something.
    """
    try:
        known = sorted(read_published(state).accounts)
    except StateFileError as error:
        say(f"name an account, such as 123; {error}")
        return None
    if len(known) == 1:
        return known[0]
    if not known or ask is None:
        say(f"name an account, such as 123; the state file knows {_listed(known) or 'none'}")
        return None
    say(f"accounts: {_listed(known)}")
    try:
        answer = ask("account: ").strip()
    except (EOFError, KeyboardInterrupt):
        return None
    if answer in map(str, known):
        return int(answer)
    say(f"{answer!r} is none of them")
    return None


def _listed(accounts: Iterable[int]) -> str:
    return ", ".join(map(str, accounts))


def _account(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) >= _ACCOUNT_IDS_END:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an account id; it must be a whole number"
        )
    return int(text)


def _url(text: str) -> str:
    try:
        check_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
