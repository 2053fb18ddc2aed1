"""Who has left a desk: a file that ``riskctl desk`` writes beside ``desk.toml``.

The server refuses them, and keeps the last that they had sent; without the file the relay could not tell them from
traders whose link is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import msgspec

from riskd.desk.messages import NAME
from riskd.host.errors import UserError
from riskd.host.files import read_regular
from riskd.model.exact_json import NOT_JSON

REVOKED_NAME: Final = "revoked.json"

_MAX_BYTES: Final = 1024 * 1024

_Names = tuple[Annotated[str, msgspec.Meta(pattern=f"^{NAME.pattern}$")], ...]


class Revoked:
    """Who has left a desk.

    :param directory: that of ``desk.toml``.
    :ivar names: as of the last call of :meth:`look`.
    """

    def __init__(self, directory: Path) -> None:
        self.names: frozenset[str] = frozenset()
        self._path = directory / REVOKED_NAME
        self._mark: object = None

    def look(self) -> None:
        """Read the file if it has changed; without one, nobody has left.

        :raises UserError: it cannot be used; the names stay.
        """
        mark = self._mark_now()
        if mark != self._mark:
            self._mark = mark
            self.names = frozenset() if mark is None else self._read()

    def _mark_now(self) -> object:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(error.strerror) from None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _read(self) -> frozenset[str]:
        try:
            text = read_regular(self._path, _MAX_BYTES)
            return frozenset(msgspec.json.decode(text, type=_Names))
        except OSError as error:
            raise self._error(error.strerror) from None
        except NOT_JSON as error:
            raise self._error(error) from None

    def _error(self, why: object) -> UserError:
        return UserError(
            f"{self._path}: expected the list of names that riskctl desk writes: {why}"
        )


def revoked_text(names: Iterable[str]) -> str:
    """Return the content of the file."""
    return f"{msgspec.json.encode(sorted(names)).decode()}\n"
