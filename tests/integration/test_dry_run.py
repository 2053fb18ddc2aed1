"""A dry run in a real daemon: it broadcasts what it would do, and does nothing."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_twisted

from riskd import __version__
from tests.integration.brokers import EmbeddedBroker, RemoteBroker, WallClock
from tests.integration.guarded import GuardedDaemon
from tests.integration.programs import riskctl
from tests.support.practice_daemon import BUY, ES, MNQ, MONDAY_NOON, SELL
from tests.support.twistd import Twistd
from tests.support.waiting import DEADLINE_SECONDS
from tests.support.websocket_frames import handshake

Guard = Callable[[str], Awaitable[GuardedDaemon]]
Start = Callable[..., Twistd]

CONFIG = """
[rules.max_contracts]
limit = 3
[rules.daily_realized_loss]
loss_limit = 200
[rules.symbol_blocks]
blocked_symbols = ["MES"]
"""


@pytest_twisted.async_yield_fixture(params=[EmbeddedBroker, RemoteBroker])
async def guard(
    request: pytest.FixtureRequest, tmp_path: Path, clock: WallClock
) -> AsyncIterator[Guard]:
    """Return a function that starts a daemon on one state directory and stops the one before."""
    started: list[GuardedDaemon] = []

    async def start(config: str) -> GuardedDaemon:
        if started:
            await started.pop().stop()
        started.append(GuardedDaemon(config, tmp_path / "state", request.param(clock)))
        await started[-1].start()
        return started[-1]

    yield start
    for each in started:
        await each.stop()


@pytest_twisted.ensureDeferred
async def test_a_dry_run_broadcasts_what_it_would_do_and_does_nothing(guard: Guard) -> None:
    daemon = await guard(f"enforce = false\n{CONFIG}")
    await daemon.hold_other_contracts()
    await daemon.trade(BUY, 3)
    closing = await daemon.receives("enforcement_action", rule_id="RULE-001")
    assert (closing["action"], closing["success"]) == ("CLOSE_ALL_POSITIONS", False)
    assert closing["details"] == {"positions_closed": 2, "orders_canceled": 1, "dry_run": True}
    assert list(closing["details"])[-1] == "dry_run"

    daemon.move(MNQ, "20900")
    await daemon.trade(SELL, 3)
    ending = await daemon.receives("enforcement_action", rule_id="RULE-003")
    assert (ending["action"], ending["success"]) == ("CLOSE_ALL_AND_LOCKOUT", False)
    assert ending["details"] == {
        "positions_closed": 1,
        "orders_canceled": 1,
        "locked_until": "2026-11-23T23:00:00Z",
        "dry_run": True,
    }
    # An event that follows shows that none came in between.
    order = await daemon.trade(BUY, 1, ES, limit="5000")
    await daemon.receives("GatewayUserOrder", id=order, state=1)
    assert (daemon.held, len(daemon.working)) == ({ES: 1}, 2)
    assert len(daemon.received("enforcement_action")) == 2
    assert not daemon.received("lockout_set")
    published = await daemon.publishes(enforced=2)
    assert [action.details.dry_run for action in published.enforcement] == [True, True]


@pytest_twisted.ensureDeferred
async def test_after_a_dry_run_an_enforcing_daemon_finds_the_loss_but_no_lock(
    guard: Guard, clock: WallClock
) -> None:
    """The second daemon may lock before the client connects, so the published copy is read."""
    daemon = await guard(f"enforce = false\n{CONFIG}")
    await daemon.lose(150)
    await daemon.receives("enforcement_action", rule_id="RULE-003")
    later = MONDAY_NOON + timedelta(minutes=1)
    clock.set_to(later)
    daemon = await guard(CONFIG)
    published = await daemon.publishes("RULE-003")
    assert published.lockouts["RULE-003"].locked_at >= later


@pytest_twisted.ensureDeferred
async def test_a_dry_run_reports_an_earlier_lock_and_does_not_enforce_it(guard: Guard) -> None:
    daemon = await guard(CONFIG)
    await daemon.lose(150)
    await daemon.locked("RULE-003")
    await daemon.publishes("RULE-003")
    daemon = await guard(f"enforce = false\n{CONFIG}")
    await daemon.publishes("RULE-003")
    await daemon.trade(BUY, 1)
    action = await daemon.receives("enforcement_action", rule_id="RULE-003")
    assert action["details"] == {"positions_closed": 1, "orders_canceled": 0, "dry_run": True}
    assert daemon.held == {MNQ: 1}


def test_the_operator_sees_that_it_is_a_dry_run(
    twistd: Start, tmp_path: Path, state_home: Path
) -> None:
    file = tmp_path / "riskd.toml"
    file.write_text("enforce = false\n[[accounts]]\nid = 123\n")
    daemon = twistd("--port", "0", "--config", os.fspath(file))
    assert "on the PRACTICE gateway (dry run: nothing is enforced)" in daemon.log
    with socket.create_connection(("127.0.0.1", daemon.port), DEADLINE_SECONDS) as console:
        console.sendall(handshake(f"localhost:{daemon.port}"))
        assert b"\r\nRiskd-Dry-Run: yes\r\n" in console.recv(4096)
    state = state_home / "riskd" / "practice"
    status = riskctl("--state", str(state), "status").stdout
    assert status.splitlines()[0].startswith(
        f"riskd {__version__} on the practice gateway (dry run): RUNNING"
    )
    assert json.loads(riskctl("--state", str(state), "status", "--json").stdout)["dry_run"] is True
    for command in (("lock", "123", "--reason", "lunch"), ("flatten", "123")):
        refused = riskctl("--state", str(state), *command)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            "riskctl: this is a dry run (enforce = false): "
            "riskd closes, cancels and locks nothing\n"
        )
