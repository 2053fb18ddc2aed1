"""The published copy, read once for the sessions of all accounts.

Each session asks for the copy on its own.  When two hundred ask at once, one reading serves them all.  When only a few
ask, only their accounts are read: to read two hundred takes a tenth of a second, in which no event would reach the
screen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import msgspec

from riskd.journal.reader import Snapshot, StateFileError

Read = Callable[[Collection[int] | None], Snapshot]
"""Returns the copy with these accounts, or with all, or raises :exc:`StateFileError`."""


class SharedCopy:
    """What was read of the copy since it was published.

    :param read: reads the copy.
    :param version: returns a value that differs after each publication.
    """

    def __init__(self, read: Read, version: Callable[[], object]) -> None:
        self._read = read
        self._version = version
        self._held: object | None = None
        self._known_version: object = None
        self._expected: frozenset[int] = frozenset()
        self._snapshot: Snapshot | None = None
        # The accounts that were asked for; None for all.
        self._asked: frozenset[int] | None = frozenset()
        self._problem = ""

    def version(self) -> object:
        """Return a value that differs after each publication."""
        return self._version() if self._held is None else self._held

    @contextmanager
    def for_several(self, account_ids: Collection[int]) -> Iterator[None]:
        """Read these accounts together as soon as one is; check once for a new copy."""
        self._held, self._expected = self._version(), frozenset(account_ids)
        try:
            yield
        finally:
            self._held, self._expected = None, frozenset()

    def forget(self) -> None:
        """Read anew at the next call: another daemon may have published since."""
        self._snapshot, self._problem, self._asked = None, "", frozenset()

    def read(self, account_id: int) -> Snapshot:
        """Return the copy with at least this account, if it knows it.

        :raises StateFileError: it cannot be read.
        """
        found = self._with({account_id, *self._expected})
        # Of one that the copy lacks, the reason names those that it has.
        return found if account_id in found.accounts else self._with(None)

    def read_all(self) -> Snapshot:
        """Return the copy with all its accounts.

        :raises StateFileError: it cannot be read.
        """
        return self._with(None)

    def _with(self, wanted: Collection[int] | None) -> Snapshot:
        # The version is taken first, so that a copy that is replaced during the reading is read again.
        version = self.version()
        if version != self._known_version:
            self.forget()
            self._known_version = version
        if self._problem:
            raise StateFileError(self._problem)
        if self._snapshot is None or not self._has_asked_for(wanted):
            self._keep(wanted)
        assert self._snapshot is not None  # noqa: S101
        return self._snapshot

    def _has_asked_for(self, wanted: Collection[int] | None) -> bool:
        asked = self._asked
        return asked is None or (wanted is not None and asked.issuperset(wanted))

    def _keep(self, wanted: Collection[int] | None) -> None:
        try:
            found = self._read(wanted)
        except StateFileError as error:
            self._problem = str(error)
            raise
        known, asked = self._snapshot, self._asked
        if wanted is None or asked is None:
            self._snapshot, self._asked = found, None
            return
        is_same_copy = known is not None and (known.as_of, known.commits) == (
            found.as_of,
            found.commits,
        )
        if known is not None and is_same_copy:
            found = msgspec.structs.replace(found, accounts={**known.accounts, **found.accounts})
            wanted = asked.union(wanted)
        self._snapshot, self._asked = found, frozenset(wanted)
