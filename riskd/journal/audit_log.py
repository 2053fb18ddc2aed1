"""Reading the journal's log back for an operator: what was enforced, locked and reset, and by whom.

The journal may be in use by a running daemon; nothing is written to it, and nobody has to wait.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from riskd.journal.paths import JOURNAL_NAME
from riskd.journal.reader import open_to_read
from riskd.journal.schema import FIRST_WITH_LOG, DamagedError, as_moment, as_stamp

_ACTIONS: Final = (
    "SELECT at, 'enforcement_action', data, 0 AS source, number FROM enforcement"
    " WHERE account_id = :account AND at >= :since"
)
_ENTRIES: Final = (
    "SELECT at, kind, data, 1 AS source, number FROM log"
    " WHERE account_id = :account AND at >= :since"
)

_DECODER: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class LogLine(msgspec.Struct, frozen=True):
    """Something that was logged.

    :ivar at: when it happened, in UTC.
    :ivar kind: an event's name on the wire, or ``operator`` for what an operator did.
    :ivar data: what else is known of it, with every fraction as a ``Decimal``.
    """

    at: datetime
    kind: str
    data: dict[str, Any]


def read_log(directory: Path, account_id: int, since: datetime | None = None) -> list[LogLine]:
    """Return what the journal in ``directory`` has logged of an account, oldest first.

    :param since: aware; what happened earlier is left out.
    :raises StateFileError: there is no journal, or it cannot be read, is damaged, or is of a newer
        riskd.
    """
    with open_to_read(directory / JOURNAL_NAME, "log") as (journal, version):
        if not version:
            raise DamagedError("it is empty")
        # A journal that its daemon has not brought up to date yet has actions alone.
        sources = [_ACTIONS, _ENTRIES] if version >= FIRST_WITH_LOG else [_ACTIONS]
        # What was done comes before what it led to; one query is one moment of the journal.
        query = " UNION ALL ".join(sources) + " ORDER BY at, source, number"
        # No stamp is less than the one that stands in for no beginning.
        begin = -1e18 if since is None else as_stamp(since)
        rows = journal.execute(query, {"account": account_id, "since": begin})
        return [_line(at, kind, data) for at, kind, data, *_ in rows]


def _line(at: object, kind: object, data: object) -> LogLine:
    """Return a line as it was found.

    :raises ValueError: it makes no sense.
    """
    if not isinstance(kind, str) or not isinstance(data, str):
        raise ValueError("a line of the log is not text")  # noqa: TRY004  # the file's mistake, not ours
    try:
        return LogLine(as_moment(at), kind, _DECODER.decode(data))
    except msgspec.MsgspecError as error:
        raise ValueError(f"a line of the log cannot be read: {error}") from None
