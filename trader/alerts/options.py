"""The command line, with the choices of ``alerts.toml``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from riskd.host.errors import UserError
from riskd.report.extra import page_writer
from trader.alerts.arguments import make_parser
from trader.alerts.settings import FILE_NAME, Settings, read_settings
from trader.alerts.targets import TARGET_NAME, Target, TargetError, make_targets, read_targets
from trader.settings_file import settings_path


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The command line and the files together.

    :ivar accounts: the accounts to watch; empty for all of the daemon.
    :ivar url: the daemon's URL; ``None`` if none is named, and the daemon is found.
    :ivar state: the daemon's state directory; ``None`` likewise.
    :ivar is_test: whether to send a sample of each alert, and end.
    :ivar settings: the settings file, for the keys that have no option.
    """

    accounts: tuple[int, ...]
    url: str | None
    state: Path | None
    targets: Sequence[Target]
    is_test: bool
    settings: Settings


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Return the options; the command line overrides the files.

    :raises SystemExit: ``--help`` was given, or, with code 2 after lines about it, something is wrong.
    """
    parser = make_parser()
    given = parser.parse_args(arguments)
    try:
        settings = read_settings(given.config)
        targets = _targets(given.target, given.config, settings)
        if settings.attach_report:
            # Checked here: at the end of the day it would be too late.
            page_writer()
    except UserError as error:
        parser.error(str(error))
    return Options(
        accounts=tuple(dict.fromkeys(given.accounts or settings.accounts)),
        url=given.url or settings.url,
        state=given.state or (Path(settings.state).expanduser() if settings.state else None),
        targets=targets,
        is_test=given.test,
        settings=settings,
    )


def _targets(urls: Sequence[str], config: Path | None, settings: Settings) -> list[Target]:
    """Return the targets of the command line, or else those of their file.

    :raises UserError: there are none, or some are wrong.
    """
    if urls:
        return make_targets(
            [(url, f"--target, URL {number}") for number, url in enumerate(urls, 1)]
        )
    directory = settings_path(config, FILE_NAME).absolute().parent
    path = directory / Path(settings.targets or TARGET_NAME).expanduser()
    try:
        path.lstat()
    except FileNotFoundError:
        raise TargetError(
            f"there is no target: {path} is not there; write an apprise URL on each line of it, such as "
            f"ntfys://TOPIC, and then: chmod 600 {path}; or name one with --target"
        ) from None
    except OSError:
        # Why it cannot be read, the reader says.
        pass
    return read_targets(path)
