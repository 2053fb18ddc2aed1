"""The rules in real daemons: a breach, its enforcement, the events and the published copy."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from riskd.host.users import current_user
from riskd.journal.reader import read_published
from riskd.model.account import AccountState
from riskd.model.reduce_only import reduce_only_stage
from tests.integration.brokers import EmbeddedBroker, RemoteBroker, WallClock
from tests.integration.event_stream import EventStream
from tests.integration.guarded import GuardedDaemon
from tests.integration.programs import run
from tests.support.practice_daemon import BUY, ES, M2K, MNQ, SELL
from tests.support.twistd import Twistd, twistd_command
from tests.support.waiting import until, wait_until

Guard = Callable[..., Awaitable[GuardedDaemon]]
Start = Callable[..., Twistd]

EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "riskd.example.toml"


@pytest_twisted.async_yield_fixture(params=[EmbeddedBroker, RemoteBroker])
async def guard(
    request: pytest.FixtureRequest, tmp_path: Path, clock: WallClock
) -> AsyncIterator[Guard]:
    """Return a function that starts daemons with rules on either broker; they stop after the test."""
    started: list[GuardedDaemon] = []

    async def start(config: str, account: str = "") -> GuardedDaemon:
        broker = request.param(clock)
        directory = tmp_path / f"state{len(started)}"
        started.append(GuardedDaemon(config, directory, broker, account, clock()))
        await started[-1].start()
        return started[-1]

    yield start
    for each in started:
        await each.stop()


# riskd's own rules, in the order of their ids.


@pytest_twisted.ensureDeferred
async def test_001_max_contracts(guard: Guard) -> None:
    daemon = await guard("[rules.max_contracts]\nlimit = 3")
    await daemon.hold_other_contracts()
    await daemon.trade(SELL, 3, stop="20900")
    await daemon.trade(BUY, 3)
    await daemon.enforced("RULE-001", "CLOSE_ALL_POSITIONS", positions_closed=2, orders_canceled=2)
    assert daemon.is_flat
    await daemon.publishes()
    assert not daemon.received("lockout_set")


@pytest_twisted.ensureDeferred
async def test_001_tiers_by_balance(guard: Guard) -> None:
    daemon = await guard(
        """
        [rules.max_contracts]
        limit = 3
        reduce_to_limit = true
        tiers = [{ balance = 50000, limit = 1 }, { balance = 50000.01, limit = 3 }]
        """
    )
    await daemon.trade(BUY, 2)
    await daemon.enforced(
        "RULE-001", "CLOSE_ALL_POSITIONS", positions_closed=1, orders_canceled=0, contractId=MNQ
    )
    assert daemon.held == {MNQ: 1}
    await daemon.publishes()


@pytest_twisted.ensureDeferred
async def test_002_max_contracts_per_instrument(guard: Guard) -> None:
    daemon = await guard(
        """
        [rules.max_contracts_per_instrument]
        limits = { MNQ = 2 }
        unknown_symbol_action = "allow_unlimited"
        """
    )
    await daemon.hold_other_contracts()
    stop = await daemon.trade(SELL, 3, stop="20900")
    await daemon.trade(BUY, 3)
    await daemon.enforced(
        "RULE-002",
        "CLOSE_ALL_POSITIONS",
        positions_closed=1,
        orders_canceled=0,
        contractId=MNQ,
    )
    assert daemon.held == {ES: 1, MNQ: 2}
    # A stop of three would turn two long into one short.
    assert daemon.working[stop]["size"] == 2
    await daemon.publishes()


@pytest_twisted.ensureDeferred
async def test_003_daily_realized_loss(guard: Guard) -> None:
    daemon = await guard("[rules.daily_realized_loss]\nloss_limit = 500")
    await daemon.hold_other_contracts()
    await daemon.lose(100)
    assert daemon.held == {ES: 1}
    await daemon.lose(150)
    reset = "2026-11-23T23:00:00Z"
    await daemon.enforced(
        "RULE-003",
        "CLOSE_ALL_AND_LOCKOUT",
        positions_closed=1,
        orders_canceled=1,
        locked_until=reset,
    )
    lock = await daemon.locked("RULE-003")
    assert lock["locked_until"] == reset
    assert daemon.is_flat
    await daemon.publishes("RULE-003")
    # The loss of closing the other position counts, too, once its trade is known.
    await until(lambda: daemon._published().realized_pnl == Decimal("-527.00"))


@pytest_twisted.ensureDeferred
async def test_004_daily_unrealized_loss_of_a_position(guard: Guard) -> None:
    daemon = await guard("[rules.daily_unrealized_loss]\nloss_limit = 300")
    await daemon.hold_other_contracts()
    await daemon.trade(BUY, 2)
    await daemon.trade(SELL, 2, stop="20900")
    await daemon.receives("GatewayUserPosition", contractId=MNQ, size=2)
    daemon.move(MNQ, "20925.50")
    daemon.move(MNQ, "20925")
    await daemon.enforced(
        "RULE-004",
        "CLOSE_ALL_POSITIONS",
        positions_closed=1,
        orders_canceled=1,
        contractId=MNQ,
    )
    assert daemon.held == {ES: 1}
    assert [order["contractId"] for order in daemon.working.values()] == [M2K]
    await daemon.publishes()


@pytest_twisted.ensureDeferred
async def test_004_daily_unrealized_loss_in_total(guard: Guard) -> None:
    daemon = await guard(
        """
        [rules.daily_unrealized_loss]
        loss_limit = 300
        scope = "total"
        action = "CLOSE_ALL_AND_LOCKOUT"
        lockout_until = "permanent"
        """
    )
    await daemon.hold_other_contracts()
    await daemon.trade(BUY, 1)
    await daemon.receives("GatewayUserPosition", contractId=MNQ, size=1)
    daemon.move(ES, "5797")
    daemon.move(MNQ, "20900")
    await daemon.enforced(
        "RULE-004",
        "CLOSE_ALL_AND_LOCKOUT",
        positions_closed=2,
        orders_canceled=1,
        locked_until=None,
    )
    assert (await daemon.locked("RULE-004"))["locked_until"] is None
    assert daemon.is_flat
    await daemon.publishes("RULE-004")


@pytest_twisted.ensureDeferred
async def test_005_max_unrealized_profit(guard: Guard) -> None:
    daemon = await guard("[rules.max_unrealized_profit]\nprofit_target = 100")
    await daemon.hold_other_contracts()
    await daemon.trade(SELL, 2)
    await daemon.trade(BUY, 2, limit="20900")
    await daemon.receives("GatewayUserPosition", contractId=MNQ, size=2)
    daemon.move(MNQ, "20974")
    await daemon.enforced(
        "RULE-005",
        "CLOSE_ALL_POSITIONS",
        positions_closed=1,
        orders_canceled=1,
        contractId=MNQ,
    )
    assert daemon.held == {ES: 1}
    assert [order["contractId"] for order in daemon.working.values()] == [M2K]
    await daemon.publishes()


@pytest_twisted.ensureDeferred
async def test_006_trade_frequency_limit(guard: Guard) -> None:
    daemon = await guard(
        """
        [rules.trade_frequency_limit]
        max_trades = 1
        time_window_minutes = 60
        cooldown_seconds = 600
        """
    )
    await daemon.hold_other_contracts()
    await daemon.lose(1)
    assert daemon.held == {ES: 1}
    await daemon.lose(1)
    await daemon.enforced(
        "RULE-006", "COOLDOWN", positions_closed=1, orders_canceled=1, cooldown_seconds=600
    )
    await daemon.locked("RULE-006")
    assert daemon.is_flat
    await daemon.publishes("RULE-006")


@pytest_twisted.ensureDeferred
async def test_007_cooldown_after_loss(guard: Guard) -> None:
    daemon = await guard(
        """
        [rules.cooldown_after_loss]
        loss_thresholds = [
            { loss_amount = 100, cooldown_duration = 300 },
            { loss_amount = 200, cooldown_duration = 900 },
        ]
        """
    )
    await daemon.hold_other_contracts()
    await daemon.lose(125)
    await daemon.enforced(
        "RULE-007", "COOLDOWN", positions_closed=1, orders_canceled=1, cooldown_seconds=900
    )
    await daemon.locked("RULE-007")
    assert daemon.is_flat
    await daemon.publishes("RULE-007")


@pytest_twisted.ensureDeferred
async def test_008_no_stop_loss_grace(guard: Guard, clock: WallClock) -> None:
    daemon = await guard("[rules.no_stop_loss_grace]\ngrace_period_seconds = 30")
    await daemon.hold_other_contracts()
    stop = await daemon.trade(SELL, 1, ES, stop="5700")
    await daemon.trade(BUY, 2)
    await daemon.trade(SELL, 2, limit="21100")
    opened = (await daemon.receives("GatewayUserPosition", contractId=MNQ))["createdAt"]
    end = datetime.fromisoformat(opened) + timedelta(seconds=30)
    clock.set_to(end - timedelta(seconds=0.2))
    closing = await daemon.enforced(
        "RULE-008",
        "CLOSE_ALL_POSITIONS",
        positions_closed=1,
        orders_canceled=1,
        contractId=MNQ,
    )
    assert datetime.fromisoformat(closing["timestamp"]) >= end
    assert daemon.held == {ES: 1}
    assert stop in daemon.working
    await daemon.publishes()


@pytest_twisted.ensureDeferred
async def test_009_session_block_outside_at_the_end_of_the_hours(
    guard: Guard, clock: WallClock
) -> None:
    # The trading day ends inside the session, so only the session's start can end the lock.
    daemon = await guard('[defaults]\nreset_time = "09:00"\n[rules.session_block_outside]')
    await daemon.hold_other_contracts()
    end = datetime(2026, 11, 23, 21, tzinfo=UTC)
    clock.set_to(end - timedelta(seconds=0.3))
    start = "2026-11-24T14:30:00Z"
    closing = await daemon.enforced(
        "RULE-009",
        "CLOSE_ALL_AND_LOCKOUT",
        positions_closed=1,
        orders_canceled=1,
        locked_until=start,
    )
    assert datetime.fromisoformat(closing["timestamp"]) >= end
    assert (await daemon.locked("RULE-009"))["locked_until"] == start
    assert daemon.is_flat
    await daemon.publishes("RULE-009")

    clock.set_to(datetime.fromisoformat(start))
    assert (await daemon.receives("lockout_cleared"))["cleared_by"] == "TIMER_EXPIRY"
    await daemon.publishes()


@pytest_twisted.ensureDeferred
async def test_009_session_block_outside_by_the_clock_of_this_machine(
    guard: Guard, clock: WallClock
) -> None:
    """The configuration makes the day of the test run a holiday."""
    now = datetime.now(UTC)
    clock.set_to(now)
    holidays = ", ".join(f"{now + timedelta(days=day):%Y-%m-%d}" for day in (-1, 0, 1))
    daemon = await guard(
        f"""
        [rules.session_block_outside]
        allowed_hours = {{ start = "00:00", end = "23:59" }}
        timezone = "UTC"
        holidays = [{holidays}]
        """
    )
    order = await daemon.trade(BUY, 1, limit="20900")
    await daemon.enforced(
        "RULE-009", "REJECT_ORDER", positions_closed=0, orders_canceled=1, order_id=order
    )
    assert daemon.is_flat
    assert not daemon.received("lockout_set")

    await daemon.trade(BUY, 1)
    lock = await daemon.locked("RULE-009")
    assert datetime.fromisoformat(lock["locked_until"]) > now
    assert daemon.is_flat
    await daemon.publishes("RULE-009")


@pytest_twisted.ensureDeferred
async def test_010_auth_loss_guard(guard: Guard) -> None:
    daemon = await guard("[rules.auth_loss_guard]")
    await daemon.hold_other_contracts()
    daemon.set_can_trade(False)
    await daemon.enforced(
        "RULE-010",
        "CLOSE_ALL_AND_LOCKOUT",
        positions_closed=1,
        orders_canceled=1,
        locked_until=None,
    )
    assert (await daemon.locked("RULE-010"))["locked_until"] is None
    assert daemon.is_flat
    await daemon.publishes("RULE-010")

    daemon.set_can_trade(True)
    await daemon.receives("lockout_cleared")
    await daemon.publishes()


@pytest_twisted.ensureDeferred
async def test_011_symbol_blocks(guard: Guard) -> None:
    daemon = await guard('[rules.symbol_blocks]\nblocked_symbols = ["mnq"]')
    await daemon.hold_other_contracts()
    order = await daemon.trade(BUY, 1, limit="20900")
    await daemon.enforced(
        "RULE-011", "REJECT_ORDER", positions_closed=0, orders_canceled=1, order_id=order
    )
    assert order not in daemon.working

    await daemon.trade(SELL, 2)
    await daemon.enforced(
        "RULE-011",
        "CLOSE_ALL_POSITIONS",
        positions_closed=1,
        orders_canceled=0,
        contractId=MNQ,
    )
    assert daemon.held == {ES: 1}
    assert [order["contractId"] for order in daemon.working.values()] == [M2K]
    await daemon.publishes()


@pytest_twisted.ensureDeferred
async def test_012_trade_management(guard: Guard) -> None:
    daemon = await guard(
        """
        [rules.trade_management]
        enabled = true
        stop_loss_ticks = 10
        trailing_stop = { enabled = true, activation_ticks = 20, trail_distance_ticks = 10 }
        """
    )
    await daemon.trade(BUY, 2)
    entry = Decimal("21000.25")
    await until(lambda: daemon.working)
    ((order_id, stop),) = daemon.working.items()
    assert (stop["type"], stop["side"], stop["size"], stop["stopPrice"]) == (
        GatewayOrderType.STOP,
        GatewayOrderSide.ASK,
        2,
        entry - 10 * Decimal("0.25"),
    )
    await daemon.enforced(
        "RULE-012",
        "AUTO_STOP_LOSS",
        positions_closed=0,
        orders_canceled=0,
        contractId=MNQ,
        order_id=order_id,
        stopPrice=stop["stopPrice"],
        size=2,
    )
    await daemon.publishes()

    # The stop trails the price, and it fills.
    daemon.move(MNQ, "21010")
    await daemon.receives("GatewayUserOrder", id=order_id, stopPrice=Decimal("21007.5"))
    daemon.move(MNQ, "21007.50")
    await daemon.receives("GatewayUserTrade", profitAndLoss=Decimal("28.00"))
    assert daemon.is_flat


@pytest_twisted.ensureDeferred
async def test_013_daily_net_loss(guard: Guard) -> None:
    daemon = await guard("[rules.daily_net_loss]\nloss_limit = 500")
    await daemon.hold_other_contracts()
    await daemon.lose(100)
    await daemon.trade(BUY, 2)
    await daemon.receives("GatewayUserPosition", contractId=MNQ, size=2)
    daemon.move(MNQ, "20960")
    assert daemon.held == {ES: 1, MNQ: 2}
    daemon.move(MNQ, "20925")
    reset = "2026-11-23T23:00:00Z"
    await daemon.enforced(
        "RULE-013",
        "CLOSE_ALL_AND_LOCKOUT",
        positions_closed=2,
        orders_canceled=1,
        locked_until=reset,
    )
    assert (await daemon.locked("RULE-013"))["locked_until"] == reset
    assert daemon.is_flat
    await daemon.publishes("RULE-013")
    # Neither realized nor open losses alone have reached the limit.
    await until(lambda: daemon._published().balance.charges > 0)


@pytest_twisted.ensureDeferred
async def test_014_maximum_loss(guard: Guard) -> None:
    daemon = await guard("[rules.maximum_loss]\ndrawdown = 500\nstarting_balance = 50000")
    await daemon.hold_other_contracts()
    await daemon.trade(BUY, 2)
    await daemon.receives("GatewayUserPosition", contractId=MNQ, size=2)
    daemon.move(MNQ, "20900")
    assert daemon.held == {ES: 1, MNQ: 2}
    daemon.move(MNQ, "20875")
    await daemon.enforced(
        "RULE-014",
        "CLOSE_ALL_AND_LOCKOUT",
        positions_closed=2,
        orders_canceled=1,
        locked_until=None,
    )
    assert (await daemon.locked("RULE-014"))["locked_until"] is None
    assert daemon.is_flat
    await daemon.publishes("RULE-014")
    await until(lambda: (daemon._published().balance.expected or 50000) < 49510)


@pytest_twisted.ensureDeferred
async def test_a_preset_guards_the_account_with_what_tightens_it(guard: Guard) -> None:
    daemon = await guard("[rules.maximum_loss]\nreduce_only_at = 80", 'preset = "topstep-50k"')
    await daemon.trade(BUY, 10)
    await daemon.receives("GatewayUserPosition", contractId=MNQ, size=10)
    daemon.move(MNQ, "20915")
    await until(lambda: reduce_only_stage(daemon.state) is not None)
    daemon.move(MNQ, "20901")
    await daemon.enforced(
        "RULE-014",
        "CLOSE_ALL_AND_LOCKOUT",
        positions_closed=1,
        orders_canceled=0,
        locked_until=None,
    )
    assert (await daemon.locked("RULE-014"))["locked_until"] is None
    assert daemon.is_flat
    await until(lambda: 48000 < (daemon.state.balance.expected or 0) < 48050)


@pytest_twisted.ensureDeferred
async def test_015_daily_profit_target(guard: Guard) -> None:
    daemon = await guard("[rules.daily_profit_target]\ntarget = 500")
    await daemon.hold_other_contracts()
    await daemon.lose(-100)
    await daemon.trade(BUY, 2)
    await daemon.receives("GatewayUserPosition", contractId=MNQ, size=2)
    # Until a quote values each position, the rule waits.
    daemon.move(MNQ, "21110")
    assert daemon.held == {ES: 1, MNQ: 2}
    daemon.move(ES, "5800")
    reset = "2026-11-23T23:00:00Z"
    await daemon.enforced(
        "RULE-015",
        "CLOSE_ALL_AND_LOCKOUT",
        positions_closed=2,
        orders_canceled=1,
        locked_until=reset,
    )
    assert (await daemon.locked("RULE-015"))["locked_until"] == reset
    assert daemon.is_flat
    await daemon.publishes("RULE-015")


@pytest_twisted.ensureDeferred
async def test_016_weekly_limits(guard: Guard) -> None:
    daemon = await guard("[rules.weekly_limits]\nloss_limit = 500")
    await daemon.hold_other_contracts()
    await daemon.lose(100)
    await daemon.trade(BUY, 2)
    await daemon.receives("GatewayUserPosition", contractId=MNQ, size=2)
    daemon.move(MNQ, "20960")
    assert daemon.held == {ES: 1, MNQ: 2}
    daemon.move(MNQ, "20925")
    sunday = "2026-11-29T23:00:00Z"
    await daemon.enforced(
        "RULE-016",
        "CLOSE_ALL_AND_LOCKOUT",
        positions_closed=2,
        orders_canceled=1,
        locked_until=sunday,
    )
    assert (await daemon.locked("RULE-016"))["locked_until"] == sunday
    assert daemon.is_flat
    await daemon.publishes("RULE-016")


@pytest_twisted.ensureDeferred
async def test_016_entries_and_exits(guard: Guard) -> None:
    daemon = await guard("[rules.weekly_limits]\nmax_entries_and_exits = { day = 2 }")
    await daemon.lose(1)
    await daemon.receives(
        "daemon_status",
        message="Account 123 may only reduce its positions: the day's limit of 2 entries and exits is "
        "reached (RULE-016)",
    )
    order = await daemon.trade(BUY, 1, limit="20900")
    await daemon.enforced(
        "RULE-016", "REJECT_ORDER", positions_closed=0, orders_canceled=1, order_id=order
    )
    await daemon.trade(BUY, 1)
    await daemon.enforced(
        "RULE-016", "CLOSE_ALL_POSITIONS", positions_closed=1, orders_canceled=0, contractId=MNQ
    )
    assert daemon.is_flat
    assert not daemon.received("lockout_set")


@pytest_twisted.ensureDeferred
async def test_017_news_blackout(guard: Guard) -> None:
    daemon = await guard(
        """
        [rules.news_blackout]
        [files."news.toml"]
        text = "[[news]]\\nat = 2026-11-23T18:02:00Z\\ntickers = [\\"MNQ\\"]\\nname = \\"CPI\\""
        """
    )
    await daemon.hold_other_contracts()
    order = await daemon.trade(BUY, 1, limit="20900")
    await daemon.enforced(
        "RULE-017", "REJECT_ORDER", positions_closed=0, orders_canceled=1, order_id=order
    )
    await daemon.trade(BUY, 1)
    await daemon.enforced(
        "RULE-017", "CLOSE_ALL_POSITIONS", positions_closed=1, orders_canceled=0, contractId=MNQ
    )
    assert daemon.held == {ES: 1}
    await daemon.publishes()


@pytest_twisted.ensureDeferred
async def test_018_consistency(guard: Guard, clock: WallClock) -> None:
    daemon = await guard("[rules.consistency]\nstop_for_today = true")
    await daemon.lose(-100)
    await daemon.receives("GatewayUserTrade")
    await until(lambda: not daemon.state.open_positions)
    # The first day has nothing to compare with.
    clock.set_to(datetime(2026, 11, 23, 23, 0, 1, tzinfo=UTC))
    await daemon.receives("daily_reset")
    assert not daemon.received("enforcement_action")
    await daemon.trade(BUY, 2)
    await daemon.receives("GatewayUserPosition", contractId=MNQ, size=2)
    daemon.move(MNQ, "21040")
    assert daemon.held == {MNQ: 2}
    daemon.move(MNQ, "21060")
    reset = "2026-11-24T23:00:00Z"
    await daemon.enforced(
        "RULE-018",
        "CLOSE_ALL_AND_LOCKOUT",
        positions_closed=1,
        orders_canceled=0,
        locked_until=reset,
    )
    assert (await daemon.locked("RULE-018"))["locked_until"] == reset
    assert daemon.is_flat
    published = await daemon.publishes("RULE-018")
    assert [day.isoformat() for day in published.days] == ["2026-11-23"]


@pytest_twisted.ensureDeferred
async def test_019_order_limits(guard: Guard) -> None:
    daemon = await guard("[rules.order_limits]\nmax_size = 3")
    await daemon.hold_other_contracts()
    order = await daemon.trade(BUY, 4, limit="20900")
    await daemon.enforced(
        "RULE-019", "REJECT_ORDER", positions_closed=0, orders_canceled=1, order_id=order
    )
    await daemon.trade(BUY, 2)
    # At the market, it is filled before it can be canceled.
    await daemon.trade(BUY, 4)
    await daemon.enforced(
        "RULE-019", "CLOSE_ALL_POSITIONS", positions_closed=1, orders_canceled=0, contractId=MNQ
    )
    assert daemon.held == {ES: 1, MNQ: 2}
    await daemon.publishes()


# Lockouts, the reduce-only stage and trading days.


@pytest_twisted.ensureDeferred
async def test_near_a_limit_an_account_may_only_close_what_it_holds(guard: Guard) -> None:
    daemon = await guard("[rules.daily_realized_loss]\nloss_limit = 500\nreduce_only_at = 40")
    await daemon.trade(BUY, 1, ES)
    exits = {
        await daemon.trade(SELL, 1, ES, stop="5700"),
        await daemon.trade(SELL, 1, ES, limit="5900"),
    }
    await daemon.lose(100)
    await daemon.receives(
        "daemon_status",
        status="RUNNING",
        message="Account 123 may only reduce its positions: the day's loss has reached 40 % of its "
        "limit of $500.00 (RULE-003)",
    )
    # A client reads the copy when it receives that.
    stage = reduce_only_stage(daemon._published())
    assert stage is not None
    assert stage.held == {ES: 1}
    order = await daemon.trade(BUY, 1, limit="20900")
    await daemon.enforced(
        "RULE-003", "REJECT_ORDER", positions_closed=0, orders_canceled=1, order_id=order
    )
    await daemon.trade(BUY, 2, ES)
    await daemon.enforced(
        "RULE-003", "CLOSE_ALL_POSITIONS", positions_closed=1, orders_canceled=0, contractId=ES
    )
    assert daemon.held == {ES: 1}
    assert daemon.working.keys() == exits
    assert not daemon.received("lockout_set")


@pytest_twisted.ensureDeferred
async def test_a_locked_account_can_neither_hold_a_position_nor_work_an_order(
    guard: Guard,
) -> None:
    daemon = await guard("[rules.daily_realized_loss]\nloss_limit = 100")
    await daemon.lose(50)
    await daemon.locked("RULE-003")
    await daemon.trade(BUY, 1)
    await daemon.enforced("RULE-003", "CLOSE_ALL_POSITIONS", positions_closed=1, orders_canceled=0)
    await daemon.settles(positions=2)
    order = await daemon.trade(BUY, 1, limit="20000")
    await daemon.enforced(
        "RULE-003", "REJECT_ORDER", positions_closed=0, orders_canceled=1, order_id=order
    )
    assert daemon.is_flat
    await daemon.publishes("RULE-003")
    assert len(daemon.received("lockout_set")) == 1


@pytest_twisted.ensureDeferred
async def test_a_cooldown_ends_by_itself(guard: Guard, clock: WallClock) -> None:
    daemon = await guard(
        "[rules.cooldown_after_loss]\nloss_threshold = 100\ncooldown_seconds = 60"
    )
    await daemon.lose(50)
    lock = await daemon.locked("RULE-007")
    end = datetime.fromisoformat(lock["locked_until"])
    clock.set_to(end - timedelta(seconds=0.2))
    cleared = await daemon.receives("lockout_cleared")
    assert cleared["cleared_by"] == "TIMER_EXPIRY"
    assert datetime.fromisoformat(cleared["cleared_at"]) >= end
    await daemon.publishes()
    # The position that was lost had the same size and price.
    daemon.events.clear()
    await daemon.trade(BUY, 1)
    await daemon.receives("GatewayUserPosition", size=1, averagePrice=Decimal("21000.25"))
    assert daemon.held == {MNQ: 1}


@pytest_twisted.ensureDeferred
async def test_the_daily_reset_ends_the_lock_of_the_day(guard: Guard, clock: WallClock) -> None:
    daemon = await guard("[rules.daily_realized_loss]\nloss_limit = 100")
    await daemon.lose(50)
    lock = await daemon.locked("RULE-003")
    await daemon.publishes("RULE-003")
    clock.set_to(datetime.fromisoformat(lock["locked_until"]))
    assert (await daemon.receives("lockout_cleared"))["cleared_by"] == "DAILY_RESET"
    (reset,) = daemon.received("daily_reset")
    assert reset == {
        "reset_time": lock["locked_until"],
        "previous_pnl": Decimal("-101.00"),
        "previous_trade_count": 1,
        "lockouts_cleared": True,
    }
    published = await daemon.publishes()
    assert (published.realized_pnl, published.trade_count) == (0, 0)


# The configuration file, as ``twistd -n riskd --config FILE`` reads it.


def limits(state_home: Path, account_id: int = 123) -> dict[str, dict[str, Any]]:
    """Return the settings of the rules in force from the published copy."""
    account: AccountState = read_published(state_home / "riskd" / "practice").accounts[account_id]
    return {limit.key: json.loads(limit.settings) for limit in account.limits.values()}


def test_sighup_reads_the_file_again(twistd: Start, tmp_path: Path, state_home: Path) -> None:
    file = tmp_path / "riskd.toml"

    def write(rule: str) -> None:
        file.write_text(f"[rules.max_contracts]\n{rule}\n[[accounts]]\nid = 123\n")

    write("limit = 5")
    daemon = twistd("--port", "0", "--config", os.fspath(file))
    stream = EventStream(daemon.port)
    assert limits(state_home)["max_contracts"]["limit"] == 5

    write("limit = 4")
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: limits(state_home)["max_contracts"]["limit"] == 4)
    told = stream.next("daemon_status")["message"]
    user = current_user()
    assert told == f"Settings of account 123 changed by {user}: max_contracts: limit 5 became 4"

    write("limitt = 3")
    daemon.send_signal(signal.SIGHUP)
    status = stream.next("daemon_status")
    assert status["status"] == "ERROR"
    assert "rules.max_contracts.limitt" in status["message"]
    assert limits(state_home)["max_contracts"]["limit"] == 4

    write("limit = 3")
    daemon.send_signal(signal.SIGHUP)
    assert stream.next("daemon_status")["status"] == "RUNNING"
    wait_until(lambda: limits(state_home)["max_contracts"]["limit"] == 3)
    stream.close()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert "Traceback" not in daemon.log


def test_a_wrong_file_gives_one_line_for_each_mistake(tmp_path: Path) -> None:
    file = tmp_path / "riskd.toml"
    file.write_text(
        """
        strict = true
        [rules.max_contract]
        [rules.daily_realized_loss]
        loss_limit = -500
        [[accounts]]
        id = 0
        """
    )
    result = run(*twistd_command("--port", "0", "--config", os.fspath(file)), cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert all(line.startswith(f"riskd: {file}") for line in lines), result.stderr
    keys = (
        "strict",
        "rules.max_contract",
        "rules.daily_realized_loss.loss_limit",
        "accounts[0].id",
    )
    for line, key in zip(lines, keys, strict=True):
        assert f": {key}: " in line


def test_a_daemon_starts_with_the_example_configuration(
    twistd: Start, tmp_path: Path, state_home: Path
) -> None:
    file = tmp_path / "riskd.toml"
    shutil.copy(EXAMPLE, file)
    daemon = twistd("--port", "0", "--config", os.fspath(file))
    EventStream(daemon.port).close()
    first, second = limits(state_home, 123), limits(state_home, 456)
    assert first["max_contracts"]["limit"] == 3
    assert second["max_contracts"]["limit"] == 5
    assert set(first) - set(second) == {"cooldown_after_loss"}
    assert "Traceback" not in daemon.log
