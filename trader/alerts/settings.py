"""``alerts.toml``: which alerts, in which words, and a watchdog's URL."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from riskd.config.toml import TableReader
from riskd.host.private_file import PrivateFileError, read_private_file
from trader.alerts.alert import Kind
from trader.alerts.words import check_words
from trader.settings_file import (
    Account,
    read_settings_text,
    report_url_and_paths,
    settings_path,
)

FILE_NAME: Final = "alerts.toml"

_MAX_BYTES: Final = 256 * 1024
_PERCENT: Final = Decimal(100)

Percent = Annotated[
    int, msgspec.Meta(ge=1, le=100, description="a whole number of percent, from 1 to 100")
]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of ``alerts.toml``.

    :ivar accounts: the accounts to watch; empty for all of the daemon.
    :ivar url: the daemon's URL.
    :ivar state: the daemon's state directory.
    :ivar send: the kinds of alerts to send.
    :ivar limit_percent: at how much of a limit its use is news.
    :ivar targets: the file of targets; a relative path starts at the directory of ``alerts.toml``.
    :ivar heartbeat_url: fetched each minute while all is well; empty for none.
    :ivar words: the trader's own words, by kind.
    :ivar attach_report: whether the report of the day is attached to its summary.
    """

    accounts: tuple[Account, ...] = ()
    url: str | None = None
    state: str | None = None
    send: tuple[Kind, ...] = tuple(Kind)
    limit_percent: tuple[Percent, ...] = (70, 90)
    targets: str | None = None
    heartbeat_url: str = ""
    words: Mapping[Kind, str] = {}
    attach_report: bool = False

    @property
    def marks(self) -> tuple[Decimal, ...]:
        """The shares of a limit at which its use is news."""
        return tuple(percent / _PERCENT for percent in self.limit_percent)


def read_settings(named: Path | None) -> Settings:
    """Return the settings of a file; without one, the defaults.

    :param named: the file to read, which must exist; ``None`` for the default file, which need not.
    :raises UserError: the file cannot be read, something in it is wrong, or it has the URL of a watchdog and
        others may read it.
    """
    text = read_settings_text(named, FILE_NAME)
    if text is None:
        return Settings()
    path = settings_path(named, FILE_NAME)
    settings = parse_settings(text, str(path))
    if settings.heartbeat_url:
        # Whoever knows the URL can pretend that all is well.
        check_private(path)
    return settings


def check_private(path: Path) -> None:
    """Check that only its owner may read a file that has a watchdog's URL.

    :raises PrivateFileError: others may.
    """
    try:
        read_private_file(path, "settings", _MAX_BYTES)
    except PrivateFileError as error:
        raise PrivateFileError(f"{error} (it has heartbeat_url, which is a secret)") from None


def parse_settings(text: str, name: str) -> Settings:
    """Return the settings in ``text``.

    :param name: the name of the text, for errors.
    :raises ConfigError: something in it is wrong.
    """
    reader = TableReader(text, name)
    settings: Settings = reader.struct(reader.tables, Settings, ())
    report_url_and_paths(reader, "state", "targets")
    heartbeat = reader.tables.get("heartbeat_url")
    if isinstance(heartbeat, str) and heartbeat and not _is_web_url(heartbeat):
        # The value is not repeated, because it is a secret.
        reader.report(("heartbeat_url",), "expected a URL that begins with https:// or http://")
    words = reader.tables.get("words")
    for kind, own in words.items() if isinstance(words, dict) else ():
        if kind in list(Kind) and isinstance(own, str):
            try:
                check_words(Kind(kind), own)
            except ValueError as error:
                reader.report(("words", kind), str(error))
    reader.check()
    return settings


def _is_web_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isascii()
    except ValueError:
        return False
