"""Where the state directory of an uplink's riskd is.

riskd names it in each handshake.  An uplink that is started while riskd is down takes the last one, which it keeps in a
file of its own beside the state directories of this user, and sends what riskd has left there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from twisted.logger import Logger

from riskd.desk.settings import DeskSettings
from riskd.desk.stream import Stream
from riskd.host.files import create_private, read_regular, write_whole
from riskd.model.exact_json import NOT_JSON

_MAX_BYTES: Final = 64 * 1024

_log = Logger()


class _Remembered(msgspec.Struct, frozen=True):
    directory: str


class RiskdDirectory:
    """The state directory of an uplink's riskd.

    :param root: the directory for the uplink's own file.
    """

    def __init__(self, settings: DeskSettings, stream: Stream, root: Path) -> None:
        self._named = settings.uplink_state
        self._url = settings.url
        self._stream = stream
        self._file = root / f"uplink-{settings.desk}-{settings.instance}.json"
        self._remembered = self._read()
        self._said: Path | None = None

    @property
    def is_told(self) -> bool:
        """Whether the settings or riskd itself have named it."""
        return (self._named or self._stream.directory) is not None

    def current(self) -> Path | None:
        """Return the directory; ``None`` while none is known."""
        told = self._named or self._stream.directory
        if told is None:
            return self._remembered
        if self._named is None and told != self._remembered:
            self._remember(told)
        return told

    def say(self) -> None:
        """Log what is done without riskd."""
        if self.is_told:
            return
        if self._remembered is None:
            _log.info(
                "riskd does not answer at {url}; waiting for it, or set state in [uplink]",
                url=self._url,
            )
        elif self._said != self._remembered:
            self._said = self._remembered
            _log.info(
                "riskd does not answer at {url}; what it has left in {directory}, where it was at last, is sent",
                url=self._url,
                directory=self._remembered,
            )

    def _read(self) -> Path | None:
        with suppress(OSError, *NOT_JSON):
            text = read_regular(self._file, _MAX_BYTES)
            directory = Path(msgspec.json.decode(text, type=_Remembered).directory)
            if directory.is_absolute() and directory.is_dir():
                return directory
        return None

    def _remember(self, directory: Path) -> None:
        self._remembered = directory
        new = self._file.with_name(f".{self._file.name}.new")
        try:
            self._file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = create_private(new)
            try:
                # A name that is no text cannot be kept in JSON.
                write_whole(descriptor, msgspec.json.encode(_Remembered(str(directory))) + b"\n")
            finally:
                os.close(descriptor)
            new.replace(self._file)
        except (OSError, UnicodeEncodeError) as error:
            _log.warn(
                "where riskd's state is cannot be kept for a later start: {error}", error=error
            )
