"""Whether a state directory may be used for a gateway.

Each of three files in the directory records its gateway: the journal, the published copy, and the lock
file, which also remembers it when both databases are damaged.  They are read at the start, by the process
that holds the directory.  All that record a gateway must name the one that is started; otherwise a copied
or exchanged file would bring the locks of one gateway's accounts to another's.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

from riskd.host.errors import UserError
from riskd.host.files import read_regular
from riskd.journal.daemon_file import directory_mark
from riskd.journal.database import open_copy, open_journal
from riskd.journal.gateway_identity import KINDS, PRACTICE, GatewayIdentity
from riskd.journal.reader import DAMAGES
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME, check_version
from riskd.model.exact_json import NOT_JSON

LOCK_NAME: Final = "riskd.lock"
"""The file that a running daemon locks; a later start reads the gateway from it."""

LEDGER_NAME: Final = "practice-ledger.jsonl"
"""The practice exchange's file; only the practice gateway writes one."""

_MAX_LOCK_BYTES: Final = 4096


class OtherGatewayError(UserError):
    """The state directory belongs to another gateway; the text names both."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What one file says of the gateway; an empty text where it says nothing.

    The names are those of the journal's ``facts``.  The published copy has no ``gateway_url`` and no
    ``gateway_login``.

    :ivar gateway: the kind.  Files of an earlier riskd have only this.
    :ivar gateway_key: :attr:`GatewayIdentity.key`.
    :ivar instance: the random id of the journal.
    :ivar directory: :func:`directory_mark` of the directory that the journal was written in.
    """

    gateway: str = ""
    gateway_key: str = ""
    gateway_url: str = ""
    gateway_login: str = ""
    instance: str = ""
    directory: str = ""

    def fits(self, gateway: GatewayIdentity) -> bool:
        """Return whether the file may be of ``gateway``, as far as it says."""
        return self.gateway in ("", gateway.kind) and self.gateway_key in ("", gateway.key)

    @property
    def words(self) -> str:
        """The gateway, for a sentence."""
        if self.gateway_url or self.gateway_login:
            return str(GatewayIdentity(self.gateway, self.gateway_url, self.gateway_login))
        if self.gateway_key not in ("", self.gateway):
            return f"the {self.gateway} gateway {self.gateway_key}, of another URL or login"
        return f"the {self.gateway} gateway"


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway that a state directory belongs to, and the id of its journal.

    :ivar instance: a random id, which a restart keeps and a copied directory does not.
    :ivar directory: :func:`directory_mark` of the directory.
    """

    gateway: GatewayIdentity
    instance: str
    directory: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """The journal's ``facts`` about the owner."""
        return {
            "gateway": self.gateway.kind,
            "gateway_key": self.gateway.key,
            "gateway_url": self.gateway.url,
            "gateway_login": self.gateway.login,
            "instance": self.instance,
            "directory": self.directory,
        }


PRIVATE_FACTS: Final = ("gateway_url", "gateway_login", "directory")
"""The facts that the published copy does not have."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the files of a directory say.

    :ivar records: the records, by file name; files that are missing or damaged are not in it.
    :ivar unread: the names of databases that are there and cannot be read.
    :ivar holds_state: whether a readable journal or copy has any account.
    :ivar has_ledger: whether the practice exchange has written its ledger.
    """

    records: dict[str, Record]
    unread: tuple[str, ...] = ()
    holds_state: bool = False
    has_ledger: bool = False

    @property
    def kind(self) -> str:
        """The recorded kind of gateway; empty if no file records one."""
        kinds = [record.gateway for record in self.records.values() if record.gateway]
        return kinds[0] if kinds else PRACTICE if self.has_ledger else ""

    def text(self, name: str) -> str:
        """Return the first text that a file has for a field of :class:`Record`."""
        texts = (str(getattr(record, name)) for record in self.records.values())
        return next(filter(None, texts), "")


def inspect(directory: Path) -> Found:
    """Read what the files in ``directory`` say of its gateway.

    :raises NewerSchemaError: a newer riskd wrote one of them.
    """
    records: dict[str, Record] = {}
    unread = []
    holds_state = False
    for name, opened in ((JOURNAL_NAME, open_journal), (PUBLISHED_NAME, open_copy)):
        path = directory / name
        if not os.path.lexists(path):
            continue
        try:
            with opened(path) as connection:
                records[name], has_accounts = _read_database(connection, path)
            holds_state = holds_state or has_accounts
        except (OSError, *DAMAGES):
            unread.append(name)
    record = _read_lock(directory / LOCK_NAME)
    if record is not None:
        records[LOCK_NAME] = record
    return Found(
        records=records,
        unread=tuple(unread),
        holds_state=holds_state,
        has_ledger=os.path.lexists(directory / LEDGER_NAME),
    )


def _read_database(connection: sqlite3.Connection, path: Path) -> tuple[Record, bool]:
    if not check_version(connection, path):
        return Record(), False
    facts = dict(connection.execute("SELECT name, value FROM facts"))
    row = connection.execute(
        "SELECT EXISTS (SELECT * FROM accounts) OR EXISTS (SELECT * FROM lockouts)"
    ).fetchone()
    # Rows of the wrong type are damage, too.
    return msgspec.convert(facts, Record), bool(row[0])


def _read_lock(path: Path) -> Record | None:
    """Return the lock file's record; ``None`` if an earlier riskd, or none, wrote it."""
    # flock belongs to another descriptor, and is not lost by closing this one.
    with suppress(OSError, *NOT_JSON):
        return msgspec.json.decode(read_regular(path, _MAX_LOCK_BYTES), type=Record)
    return None


def write_lock(descriptor: int, owner: Owner) -> None:
    """Record the owner in the lock file, unless it is there already.

    :raises OSError: it cannot be written.
    """
    content = msgspec.json.encode(owner.facts)
    if os.pread(descriptor, _MAX_LOCK_BYTES, 0) != content:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
        os.fsync(descriptor)


def decide(found: Found, gateway: GatewayIdentity, directory: Path) -> tuple[Owner, list[str]]:
    """Return a directory's owner for a start for ``gateway``, and log sentences.

    :raises OtherGatewayError: it belongs to another gateway, or it is unknown to which.
    """
    advice = (
        f"; start riskd with another --state directory for {gateway}, "
        "or with the configuration of the gateway that the directory belongs to"
    )
    for name, record in found.records.items():
        if record.gateway not in ("", *KINDS, gateway.kind):
            raise OtherGatewayError(
                f"the state directory {directory} belongs to a gateway of the kind "
                f"{record.gateway!r}, by its {name}, which this riskd does not know, and not to "
                f"{gateway}{advice}"
            )
        if not record.fits(gateway):
            raise OtherGatewayError(
                f"the state directory {directory} belongs to {record.words}, by its {name}, "
                f"and not to {gateway}{advice}"
            )
    if found.kind not in ("", gateway.kind):
        raise OtherGatewayError(
            f"the state directory {directory} belongs to the {found.kind} gateway, by its "
            f"{LEDGER_NAME}, and not to {gateway}{advice}"
        )
    if not found.kind and found.holds_state:
        raise OtherGatewayError(
            f"the state directory {directory} holds accounts and does not record of which gateway, "
            f"so its locks may not be those of {gateway}; start riskd with another --state directory"
        )
    return _owner(found, gateway, directory)


def _owner(found: Found, gateway: GatewayIdentity, directory: Path) -> tuple[Owner, list[str]]:
    notes = []
    instance, here = found.text("instance"), directory_mark(directory)
    if instance and found.text("directory") not in ("", here):
        notes.append(
            f"the state directory {directory} was copied from another one, and begins a new instance"
        )
        instance = ""
    if found.kind and not found.text("gateway_key"):
        notes.append(
            f"the state directory {directory} is of an earlier riskd, which recorded only the kind of "
            f"gateway, {found.kind}; from now on it belongs to {gateway}"
        )
    owner = Owner(gateway=gateway, instance=instance or uuid4().hex, directory=here)
    return owner, notes
