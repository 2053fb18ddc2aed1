"""Whether the published copy knows of something that the journal does not.

Both are files of the trader's.  A journal of yesterday, of another directory, or one from which rows were
deleted is a sound database; only the copy beside it shows what it lacks.
"""

from __future__ import annotations

from pathlib import Path

from riskd.journal.daemon_file import directory_mark
from riskd.journal.reader import Snapshot, StateFileError, read_published
from riskd.journal.schema import DamagedError


class OutdatedError(DamagedError):
    """The journal lacks what its published copy has."""


def check_current(journal: Snapshot, written_in: str, directory: Path) -> None:
    """Check that the published copy has no more than the journal.

    A copy of another journal says nothing, unless it is the journal that came from elsewhere.

    :param written_in: :func:`directory_mark` of the directory that the journal was written in; empty if unknown.
    :raises OutdatedError: it has; the text is a clause about the journal.
    """
    try:
        copy = read_published(directory)
    except StateFileError:
        return
    if journal.instance and copy.instance not in ("", journal.instance):
        if written_in not in ("", directory_mark(directory)):
            raise OutdatedError(
                "it was written in another directory, and is not what was published"
            )
        return
    # SQLite silently drops the last commits if the end of its log is damaged.
    if copy.commits > journal.commits:
        raise OutdatedError("it has lost what was published")
    if copy.commits and copy.commits == journal.commits and _guards(copy) != _guards(journal):
        raise OutdatedError("it is not what was published")


def _guards(snapshot: Snapshot) -> dict[int, tuple[object, object]]:
    """Return the locks and limits of all accounts, which are published whole."""
    return {key: (each.lockouts, each.limits) for key, each in snapshot.accounts.items()}
