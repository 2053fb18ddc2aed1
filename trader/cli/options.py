"""The command line, with the defaults of ``console.toml``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec

from riskd.config.toml import ConfigError, TableReader
from riskd.host.directories import default_directory
from trader.cli.arguments import Theme, make_parser
from trader.model.followed_daemon import FollowedDaemon
from trader.model.formatting import can_be_drawn
from trader.model.ui_state import UiState
from trader.settings_file import (
    Account,
    read_settings_text,
    report_url_and_paths,
    settings_path,
)

FILE_NAME: Final = "console.toml"


AccountName = Annotated[
    str, msgspec.Meta(max_length=60, description="a name of up to 60 characters")
]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of ``console.toml``.

    :ivar account: the account to show when the command line names none; without it, all are shown.
    :ivar url: the daemon's URL.
    :ivar state: the daemon's state directory.
    :ivar theme: the theme.
    :ivar ascii: whether only ASCII characters are drawn.
    :ivar mouse: whether the console receives the mouse from the start.
    :ivar bell: whether the terminal's bell rings on lockouts and enforcement.
    :ivar hook: a command and its arguments, run on lockouts and enforcement; empty for none.
    :ivar names: names of accounts, by account id, for the screen of all accounts.
    """

    account: Account | None = None
    url: str | None = None
    state: str | None = None
    theme: Theme = "dark"
    ascii: bool = False
    mouse: bool = False
    bell: bool = True
    hook: tuple[str, ...] = ()
    names: dict[str, AccountName] = {}

    @property
    def account_names(self) -> dict[int, str]:
        """The names by account id."""
        return {int(key): name for key, name in self.names.items()}


def read_settings(named: Path | None) -> Settings:
    """Return the settings of a file; without one, the defaults.

    :param named: the file to read, which must exist; ``None`` for the default file, which need not.
    :raises ConfigError: the file cannot be read, or something in it is wrong.
    """
    text = read_settings_text(named, FILE_NAME)
    return (
        Settings() if text is None else parse_settings(text, str(settings_path(named, FILE_NAME)))
    )


def parse_settings(text: str, name: str) -> Settings:
    """Return the settings in ``text``.

    :param name: the name of the text, for errors.
    :raises ConfigError: something in it is wrong.
    """
    reader = TableReader(text, name)
    settings: Settings = reader.struct(reader.tables, Settings, ())
    report_url_and_paths(reader, "state")
    names = reader.tables.get("names")
    for key in names if isinstance(names, dict) else ():
        if not (key.isascii() and key.isdecimal()):
            reader.report(("names", key), "expected the number of an account, such as 4417001")
    reader.check()
    return settings


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The command line and the settings file together.

    :ivar account: ``None`` if neither names one, and all are shown.
    :ivar url: the daemon's URL; ``None`` if neither names one, and the daemon is found.
    :ivar state: the daemon's state directory; ``None`` likewise.
    :ivar output: ``screen``, ``plain``, ``json`` or ``web``.
    :ivar web_port: the TCP port of ``web``; 0 for a free one.
    :ivar ui_state: what the screen shows first, and how; its theme is ``mono`` if colors are off.
    :ivar settings: the settings file, for the keys that have no option.
    """

    account: int | None
    url: str | None
    state: Path | None
    output: str
    web_port: int
    ui_state: UiState
    settings: Settings


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Return the options; the command line overrides the file.

    :raises SystemExit: ``--help`` was given, or, with code 2 after a line about it, something is wrong.
    """
    parser = make_parser()
    given = parser.parse_args(arguments)
    try:
        settings = read_settings(given.config)
    except ConfigError as error:
        parser.error(str(error))
    is_page = given.output == "web"
    if given.web_port is not None and not is_page:
        parser.error("--web-port is the port of --web; give both")
    # Source: https://no-color.org, which says that an empty NO_COLOR has no effect.
    is_mono = given.no_color or bool(os.environ.get("NO_COLOR"))
    return Options(
        account=settings.account if given.account is None else given.account,
        url=given.url or settings.url,
        state=given.state or (Path(settings.state).expanduser() if settings.state else None),
        output=given.output,
        web_port=given.web_port or 0,
        ui_state=UiState(
            theme="mono" if is_mono else given.theme or settings.theme,
            is_ascii=given.ascii
            or settings.ascii
            or not (is_page or can_be_drawn(sys.stdout.encoding)),
            has_mouse=settings.mouse and not is_page,
            is_page=is_page,
        ),
        settings=settings,
    )


def followed_daemon(account_id: int | None, options: Options) -> FollowedDaemon:
    """Return the daemon to follow for an account or for all, as the trader named it."""
    return FollowedDaemon(account_id, options.url, options.state, default_directory())
