"""The stream of a real daemon is what ``docs/asyncapi.yaml`` says."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest_twisted
from twisted.internet.threads import deferToThread

from riskd.model.events import EVENT_TYPES, Action
from tests.integration.brokers import EmbeddedBroker, WallClock
from tests.integration.event_stream import EventStream
from tests.integration.guarded import GuardedDaemon
from tests.support.asyncapi import errors_of_message
from tests.support.practice_daemon import BUY, M2K

RULES = """
[rules.max_contracts]
limit = 3
[rules.symbol_blocks]
blocked_symbols = ["M2K"]
[rules.cooldown_after_loss]
loss_threshold = 50
cooldown_seconds = 60
[rules.daily_realized_loss]
loss_limit = 200
[rules.trade_management]
enabled = true
stop_loss_ticks = 2000
"""


async def trade_a_day(daemon: GuardedDaemon, clock: WallClock) -> None:
    """Breach each rule, and go on to the next trading day."""
    await daemon.trade(BUY, 1, M2K, limit="2000")
    await daemon.receives("enforcement_action", action="REJECT_ORDER")
    await daemon.trade(BUY, 4)
    await daemon.receives("enforcement_action", action="CLOSE_ALL_POSITIONS")
    await daemon.lose(50)
    lock = await daemon.receives("lockout_set", rule_id="RULE-007")
    clock.set_to(datetime.fromisoformat(lock["locked_until"]))
    await daemon.receives("lockout_cleared")
    await daemon.trade(BUY, 1)
    await daemon.receives("enforcement_action", action="AUTO_STOP_LOSS")
    await daemon.lose(75, 2)
    lock = await daemon.receives("lockout_set", rule_id="RULE-003")
    clock.set_to(datetime.fromisoformat(lock["locked_until"]))
    await daemon.receives("daily_reset")


@pytest_twisted.ensureDeferred
async def test_a_day_with_every_event_and_action_is_valid(
    tmp_path: Path, clock: WallClock
) -> None:
    daemon = GuardedDaemon(RULES, tmp_path / "state", EmbeddedBroker(clock))
    await daemon.start()
    stream = await deferToThread(EventStream, daemon.port)
    received = deferToThread(stream.next, "daemon_status", status="STOPPING")
    try:
        await trade_a_day(daemon, clock)
    finally:
        await daemon.stop()
        await received
        stream.close()
    messages = [json.loads(text) for text in stream.texts]
    assert {message["type"] for message in messages} == set(EVENT_TYPES)
    enforced = [each["data"] for each in messages if each["type"] == "enforcement_action"]
    assert {data["action"] for data in enforced} == set(Action)
    assert [error for text in stream.texts for error in errors_of_message(text)] == []
