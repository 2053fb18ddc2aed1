"""The ways around a commitment, tried on the real programs: each leaves the account as it was."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from riskd.journal.reader import read_published
from riskd.model.account import AccountState
from riskd.model.commitment import commitment_of
from riskd.model.events import DaemonStatus, Status
from tests.integration.programs import riskctl
from tests.support.twistd import Twistd
from tests.support.waiting import wait_until

Start = Callable[..., Twistd]

COMMITTED = """
[commitment]
loosen_after = "8h"
[rules.daily_realized_loss]
loss_limit = 500
[[accounts]]
id = 123
"""

LOOSENED = """
enforce = false
[rules.daily_realized_loss]
loss_limit = 5000
[[accounts]]
id = 123
"""


def ask(*arguments: str) -> str:
    result = riskctl(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


class Copy:
    """What the published copy says of the account; reading it costs less than starting riskctl."""

    def __init__(self, state_home: Path) -> None:
        self.directory = state_home / "riskd" / "practice"

    @property
    def account(self) -> AccountState:
        return read_published(self.directory).accounts[123]

    @property
    def waits(self) -> set[str]:
        waits = commitment_of(self.account).waits
        return {wait.name.removeprefix("rules.") for wait in waits}

    @property
    def loss_limit(self) -> str:
        limit: str = json.loads(self.account.limits["RULE-003"].settings)["loss_limit"]
        return limit

    @property
    def status(self) -> DaemonStatus:
        assert self.account.daemon is not None
        return self.account.daemon


def test_what_loosens_waits_through_edits_kills_and_a_lost_journal(
    twistd: Start, tmp_path: Path, state_home: Path
) -> None:
    file = tmp_path / "riskd.toml"
    file.write_text(COMMITTED)
    copy = Copy(state_home)

    def start() -> Twistd:
        started = twistd("--port", "0", "--config", os.fspath(file))
        wait_until(lambda: copy.status.status is Status.RUNNING)
        return started

    daemon = twistd("--port", "0", "--config", os.fspath(file))
    ask("lock", "123", "--reason", "enough")
    answer = ask("unlock", "123", "--reason", "just one more")
    assert answer.startswith("account 123 stays locked: by its commitment the unlock waits until")
    file.write_text(LOOSENED)
    daemon.send_signal(signal.SIGHUP)
    loosened = {"unlock", "daily_realized_loss", "enforce", "commitment"}
    wait_until(lambda: copy.waits == loosened)

    # A kill and a start with the edited file.
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    daemon = start()
    report = json.loads(ask("status", "--json"))
    assert report["dry_run"] is False
    assert len(report["accounts"][0]["waits"]) == 4
    assert (copy.waits, copy.loss_limit) == (loosened, "500")

    # An unlock may be withdrawn.
    assert ask("withdraw", "123") == "account 123: the unlock is withdrawn\n"
    wait_until(lambda: copy.waits == loosened - {"unlock"})

    # A journal that is gone.
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    for part in copy.directory.glob("riskd.db*"):
        part.unlink()
    daemon = start()
    wait_until(lambda: set(copy.account.lockouts) == {"OPERATOR", "JOURNAL"})
    assert (copy.waits, copy.loss_limit) == (loosened - {"unlock"}, "500")
    assert "dry run" not in copy.status.message

    # A file that is gone.
    file.unlink()
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: "cannot be read" in copy.status.message)
    assert copy.loss_limit == "500"
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert "Traceback" not in daemon.log
