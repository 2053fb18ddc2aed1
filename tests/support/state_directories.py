"""State directories of gateways, for tests: journals of this riskd and of earlier ones."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.daemon_file import DaemonRecord, directory_mark, process_mark, write_daemon
from riskd.journal.discovery import SYSTEM_VARIABLE
from riskd.journal.gateway_identity import GatewayIdentity, gateway_identity
from riskd.journal.reader import read_published
from riskd.journal.schema import JOURNAL_NAME
from riskd.journal.state_directory import StateDirectory
from riskd.journal.store import Store
from riskd.model.account import AccountState
from riskd.model.events import LockoutSet
from tests.support.directories import temporary_directory

NOON = datetime(2025, 1, 17, 18, tzinfo=UTC)
URL = "https://api.topstepx.com"
PAPER = gateway_identity("practice")
REAL = gateway_identity("projectx", URL, "jane")
OTHER_LOGIN = gateway_identity("projectx", URL, "john")
OTHER_URL = gateway_identity("projectx", "https://api.example.com", "jane")


def locked(account_id: int = 123, rule_id: str = "RULE-003") -> AccountState:
    """Return an account that is locked until an operator unlocks it."""
    lock = LockoutSet(reason="Daily loss", locked_until=None, rule_id=rule_id, locked_at=NOON)
    return AccountState(account_id=account_id, lockouts={rule_id: lock})


def write_earlier_state(path: Path, kind: str, *states: AccountState) -> None:
    """Write a journal and its copy as an earlier riskd did, which recorded only the kind of gateway.

    :param kind: an empty one records nothing.
    """
    path.mkdir(parents=True, exist_ok=True)
    store = Store(path)
    store.open([state.account_id for state in states], NOON)
    store.write(states or [locked()], kind, NOON)
    store.publish()
    store.close()


def write_state(path: Path, gateway: GatewayIdentity, *states: AccountState) -> str:
    """Write a journal and its copy as a daemon of ``gateway`` does; return the instance."""
    held = StateDirectory(path)
    held.claim(gateway)
    store = Store(path, held.owner)
    store.open([state.account_id for state in states], NOON)
    store.write(states or [locked()], gateway.kind, NOON)
    store.publish()
    store.close()
    held.release()
    return read_published(path).instance


def write_record(
    path: Path,
    *accounts: int,
    port: int = 8765,
    kind: str = "practice",
    instance: str = "one",
    is_dead: bool = False,
) -> DaemonRecord:
    """Write the ``daemon.json`` of a daemon whose process is this one, or has ended."""
    path.mkdir(parents=True, exist_ok=True)
    pid = os.getpid()
    record = DaemonRecord(
        port=port,
        instance=instance,
        kind=kind,
        pid=pid,
        accounts=accounts,
        # A process id is given to another process some time after its process has ended.
        process="another start" if is_dead else process_mark(pid),
        directory=directory_mark(path),
    )
    write_daemon(path, record)
    return record


def facts_of(path: Path) -> dict[str, str]:
    """Return the single values in a journal or its copy."""
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, value FROM facts"))


def set_fact(directory: Path, name: str, value: str) -> None:
    """Change one value in the journal of ``directory``."""
    with closing(sqlite3.connect(directory / JOURNAL_NAME)) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def locks_in(directory: Path) -> set[tuple[int, str]]:
    """Return the locks in the journal of ``directory``, as account and rule."""
    with closing(sqlite3.connect(directory / JOURNAL_NAME)) as connection:
        return set(connection.execute("SELECT account_id, rule_id FROM lockouts"))


class StateHomeTestCase(SynchronousTestCase):
    """An XDG state directory of the test's own.

    :ivar root: riskd's directory in it.
    :ivar system: the state directory of the machine's own riskd, which does not exist yet.
    """

    def setUp(self) -> None:
        self.home = temporary_directory(self)
        self.system = self.home / "of-the-system"
        own = {"XDG_STATE_HOME": str(self.home), SYSTEM_VARIABLE: str(self.system)}
        self.patch(os, "environ", {**os.environ, **own})
        self.root = self.home / "riskd"

    def hold(self, path: Path) -> StateDirectory:
        held = StateDirectory(path)
        self.addCleanup(held.release)
        return held
