"""The published copy, account by account, as it travels to a desk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from riskd.desk.messages import PublishedState
from riskd.journal.database import open_copy
from riskd.journal.outbox import OUTBOX_FACT
from riskd.journal.reader import open_to_read
from riskd.journal.schema import PUBLISHED_NAME, PUBLISHED_TABLES
from riskd.model.event_number import Number, read_number

_COMMON: Final = ("facts", "contracts")
"""The tables whose rows are of no account."""

_Row = list[int | float | str | None]


def read_states(directory: Path) -> dict[int, PublishedState]:
    """Return the rows of each account in the published copy, by account id.

    :raises StateFileError: there is no copy, or it cannot be read.
    """
    with open_to_read(directory / PUBLISHED_NAME, "last known state", open_copy) as (
        copy,
        version,
    ):
        facts = {str(name): str(value) for name, value in copy.execute("SELECT * FROM facts")}
        contracts = [list(row) for row in copy.execute("SELECT * FROM contracts")]
        by_account: dict[int, dict[str, list[_Row]]] = {
            account_id: {"contracts": contracts}
            for (account_id,) in copy.execute("SELECT account_id FROM accounts")
        }
        for table in PUBLISHED_TABLES:
            if table not in _COMMON:
                _add_rows(copy, table, by_account)
    number = _number(facts.get(OUTBOX_FACT))
    return {
        account_id: PublishedState(
            schema=version, epoch=number.epoch, seq=number.seq, facts=facts, tables=tables
        )
        for account_id, tables in by_account.items()
    }


def _add_rows(copy: Any, table: str, by_account: dict[int, dict[str, list[_Row]]]) -> None:
    found = copy.execute(f"SELECT * FROM {table}")  # noqa: S608  # a name of ours
    place = [column[0] for column in found.description].index("account_id")
    for row in found:
        tables = by_account.get(row[place])
        if tables is not None:
            tables.setdefault(table, []).append(list(row))


def _number(fact: str | None) -> Number:
    try:
        return read_number(fact or "")
    except ValueError:
        # riskd keeps no outbox, or there was no event yet.
        return Number(0, 0)
