"""``console.toml``: the trader's defaults for every console."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from riskd.config.toml import NoFileError, TableReader, read_text
from trader.client import check_url

Account = Annotated[
    int, msgspec.Meta(ge=0, le=2**63 - 1, description="an account id, such as 123")
]
Theme = Literal["dark", "light", "colorblind", "mono"]
"""The names of the themes; see :mod:`trader.ui.palette`."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of ``console.toml``.

    :ivar account: the account to show when the command line names none.
    :ivar url: the daemon's URL.
    :ivar state: the daemon's state directory.
    :ivar theme: the theme.
    :ivar ascii: whether only ASCII characters are drawn.
    :ivar mouse: whether the console receives the mouse from the start.
    :ivar bell: whether the terminal's bell rings on lockouts and enforcement.
    :ivar hook: a command and its arguments, run on lockouts and enforcement; empty for none.
    """

    account: Account | None = None
    url: str | None = None
    state: str | None = None
    theme: Theme = "dark"
    ascii: bool = False
    mouse: bool = False
    bell: bool = True
    hook: tuple[str, ...] = ()


def default_file() -> Path:
    """Return the path of the file when none is named.

    Source: the XDG Base Directory Specification, ``XDG_CONFIG_HOME``.
    """
    home = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification says to ignore a path that is not absolute.
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".config"
    return base / "riskd" / "console.toml"


def read_settings(named: Path | None) -> Settings:
    """Return the settings of a file; without one, the defaults.

    :param named: the file to read, which must exist; ``None`` for the default file, which need not.
    :raises ConfigError: the file cannot be read, or something in it is wrong.
    """
    path = named or default_file()
    try:
        return parse_settings(read_text(path), str(path))
    except NoFileError:
        if named is None:
            return Settings()
        raise


def parse_settings(text: str, name: str) -> Settings:
    """Return the settings in ``text``.

    :param name: the name of the text, for errors.
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
