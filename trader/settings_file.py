"""What ``console.toml`` and ``alerts.toml`` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from riskd.config.toml import NoFileError, TableReader, read_text
from riskd.host.directories import configuration_directory
from trader.arguments import MAX_ACCOUNT_ID
from trader.client import check_url

Account = Annotated[
    int, msgspec.Meta(ge=0, le=MAX_ACCOUNT_ID, description="an account id, such as 123")
]


def settings_path(named: Path | None, usual: str) -> Path:
    """Return the path of a settings file.

    :param named: the file that the command line names; ``None`` for the one with the usual name.
    """
    return named or configuration_directory() / usual


def read_settings_text(named: Path | None, usual: str) -> str | None:
    """Return the text of a settings file; ``None`` if the usual one is not there.

    The parameters are those of :func:`settings_path`.

    :raises ConfigError: the file cannot be read, or the named one is not there.
    """
    try:
        return read_text(settings_path(named, usual))
    except NoFileError:
        if named is None:
            return None
        raise


def report_url_and_paths(reader: TableReader, *paths: str) -> None:
    """Report a wrong ``url``, and paths that begin with the home of an unknown user.

    :param paths: the keys of paths.
    """
    url = reader.tables.get("url")
    if isinstance(url, str):
        try:
            check_url(url)
        except ValueError as error:
            reader.report(("url",), str(error))
    for key in paths:
        path = reader.tables.get(key)
        if isinstance(path, str):
            try:
                Path(path).expanduser()
            except RuntimeError:
                reader.report((key,), f"expected a path, got {path!r}: there is no such user")
