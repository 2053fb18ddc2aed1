"""What ``riskctl`` says when a command is not, or not known to be, what it is for: with real daemons."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from riskd.app.riskctl.main import parse
from riskd.app.riskctl.online import run_with_daemon
from riskd.app.riskctl.outcomes import NotSoError
from riskd.control.protocol import SOCKET_NAME
from tests.integration.programs import fill, riskctl
from tests.support.twistd import Twistd
from tests.support.waiting import DEADLINE_SECONDS, wait_until

Start = Callable[..., Twistd]

NOT_ON_THE_DISK = "NOT ON THE DISK (database or disk is full)"


async def ask(state: Path, *words: str) -> str:
    """Return the text of a command; inside this process, to save starting another."""
    options = parse(["--state", str(state), *words], datetime.now(UTC))
    return await run_with_daemon(reactor, options)


async def locks(state: Path) -> list[str]:
    """Return the reasons of the locks of account 123."""
    report = json.loads(await ask(state, "status", "--json"))
    (account,) = (each for each in report["accounts"] if each["account"] == 123)
    return [lock["reason"] for lock in account["locks"]]


@pytest_twisted.ensureDeferred
async def test_on_a_full_disk_no_change_is_said_to_be_on_it(
    twistd: Start, small_disk: Path
) -> None:
    """What is not on the disk holds in memory, is written when there is room, and survives a kill then."""
    state = small_disk / "state"
    arguments = ("--port", "0", "--state", str(state), "--practice-seed", "3")
    daemon = twistd(*arguments)
    ballast = fill(small_disk)
    for words, what in (
        (("lock", "123", "--reason", "lunch"), "the lock"),
        (("flatten", "123"), "the record of it"),
        (("unlock", "123", "--reason", "back"), "the unlock"),
    ):
        with pytest.raises(NotSoError) as said:
            await ask(state, *words)
        assert f"{what} is {NOT_ON_THE_DISK}: it holds while riskd runs" in str(said.value)
    result = riskctl("--state", str(state), "lock", "123", "--reason", "enough")
    assert (result.returncode, result.stdout) == (3, "")
    assert f"\nriskctl: the lock is {NOT_ON_THE_DISK}" in result.stderr
    assert await locks(state) == ["enough"]

    ballast.unlink()
    wait_until(lambda: "status RUNNING" in daemon.log.split("status ERROR")[-1])
    assert "is locked until" in await ask(state, "lock", "123", "--reason", "enough")
    daemon.process.kill()
    daemon.wait()
    twistd(*arguments)
    assert await locks(state) == ["enough"]


@pytest_twisted.ensureDeferred
async def test_of_a_broker_that_does_not_answer_nothing_is_said_to_be_flat(
    twistd: Start, tmp_path: Path
) -> None:
    """The daemon listens, and the broker has answered nothing yet."""
    config, state = tmp_path / "riskd.toml", tmp_path / "state"
    config.write_text(
        "[rules.daily_realized_loss]\nloss_limit = 500\n[[accounts]]\nid = 123\n[practice.faults]\nlost_requests = 1.0\nfailed_reads = 1.0\n"
    )
    twistd("--port", "0", "--state", str(state), "--config", str(config), waits=False)
    asked = [
        Deferred.fromCoroutine(ask(state, *words))
        for words in (("lock", "123", "--reason", "enough"), ("flatten", "123"))
    ]
    for waiting, so in zip(
        asked, ("is locked until it is unlocked", "is being flattened"), strict=True
    ):
        with pytest.raises(NotSoError) as said:
            await waiting
        first, second = said.value.problems
        assert first == f"account 123 {so}"
        assert "the broker has NOT CONFIRMED within 4 seconds that account 123 is flat" in second
    assert await locks(state) == ["enough"]
    # What the broker has not said is no zero.
    row = next(line for line in (await ask(state, "status")).splitlines() if " until " in line)
    assert row.split()[:10] == ["123", *["-"] * 8, "until"]
    assert "$0.00" not in await ask(state, "rules", "123")


def test_an_interrupted_change_may_have_been_made(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(os.fspath(tmp_path / SOCKET_NAME))
        daemon.listen()
        program = Path(sys.executable).with_name("riskctl")
        command = [program, "--state", tmp_path, "lock", "123", "--reason", "enough"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as asking:
            connection, _ = daemon.accept()
            with connection:
                # It has asked, and waits for the answer.
                assert connection.recv(1)
                # Not SIGINT, which a program that a shell starts in the background ignores.
                asking.terminate()
                _, said = asking.communicate(timeout=DEADLINE_SECONDS)
    assert asking.returncode == 3
    assert said == (
        "riskctl: interrupted; the command may have been carried out, check with riskctl status\n"
    )
