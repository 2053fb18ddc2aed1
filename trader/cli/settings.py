"""``console.toml``: what a trader wants of every console, read with every mistake in it named."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from riskd.config.toml import NoFileError, TableReader, read_text
from trader.client import check_url

Account = Annotated[
    int, msgspec.Meta(ge=0, le=2**63 - 1, description="an account id, such as 123")
]


class ThemeName(StrEnum):
    """The themes; see :mod:`trader.ui.palette`."""

    DARK = "dark"
    LIGHT = "light"
    COLORBLIND = "colorblind"
    MONO = "mono"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``console.toml`` says.

    :ivar account: the account to show when none is named.
    :ivar url: where the daemon is.
    :ivar state: the daemon's state directory.
    :ivar theme: the colors.
    :ivar ascii: whether nothing but ASCII is drawn.
    :ivar mouse: whether the mouse is the console's from the start.
    :ivar bell: whether the terminal's bell rings on lockouts and enforcement.
    :ivar hook: a command and its arguments, run on lockouts and enforcement; empty for none.
    """

    account: Account | None = None
    url: str | None = None
    state: str | None = None
    theme: ThemeName = ThemeName.DARK
    ascii: bool = False
    mouse: bool = False
    bell: bool = True
    hook: tuple[str, ...] = ()


def default_file() -> Path:
    """Return where the file is when none is named, under the XDG configuration directory.

    Source: the XDG Base Directory Specification, ``XDG_CONFIG_HOME``.
    """
    home = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification says to ignore a path that is not absolute.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".config"
    return base / "riskd" / "console.toml"


def read_settings(named: Path | None) -> Settings:
    """Return what the file says; the defaults where no file was named and there is none.

    :raises ConfigError: it cannot be read, or something in it is wrong.
    """
    path = named or default_file()
    try:
        return parse_settings(read_text(path), str(path))
    except NoFileError:
        if named is None:
            return Settings()
        raise


def parse_settings(text: str, name: str) -> Settings:
    """Return what ``text`` says.

    :param name: what the text is called in an error.
    :raises ConfigError: something in it is wrong.
    """
    reader = TableReader(text, name)
    settings: Settings = reader.struct(reader.tables, Settings, ())
    url = reader.tables.get("url")
    if isinstance(url, str):
        try:
            check_url(url)
        except ValueError as error:
            reader.report(("url",), str(error))
    reader.check()
    return settings
