"""Every fault between riskd and its broker: afterwards both agree, and nothing is lost."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from riskd.gateway.fields import Payload
from riskd.rules.interface import OWN_STOP_TAG
from tests.integration.brokers import ExchangeProcess, WallClock, remote_gateway
from tests.integration.fault_proxy import FAULTS, FaultProxy
from tests.integration.guarded import GuardedDaemon
from tests.support.practice_daemon import BUY, ES, M2K, MNQ, MONDAY_NOON, SELL
from tests.support.waiting import until

IN_STEP_SECONDS = 5
"""How soon after the link's return riskd knows all that the exchange knows."""

CONFIG = """
[rules.max_contracts_per_instrument]
limits = { MNQ = 3 }
unknown_symbol_action = "allow_unlimited"
[rules.symbol_blocks]
blocked_symbols = ["ES"]
[rules.trade_management]
enabled = true
stop_loss_ticks = 40
"""


class ProxiedBroker(ExchangeProcess):
    """An exchange in another process, behind a fault proxy."""

    def __init__(self, clock: WallClock) -> None:
        super().__init__(clock)
        self.proxy = FaultProxy(self.port)
        self.gateway = remote_gateway(clock, self.proxy.rest_port, self.proxy.hub_port)

    def orders(self) -> list[Payload]:
        found: list[Payload] = self.say("orders")
        return found

    def trades(self) -> list[Payload]:
        found: list[Payload] = self.say("trades")
        return found


def is_in_error(daemon: GuardedDaemon) -> bool:
    """Return whether riskd reports ERROR and has not reported RUNNING since."""
    told = daemon.received("daemon_status")
    return bool(told) and told[-1]["status"] != "RUNNING"


def reported_closings(daemon: GuardedDaemon) -> int:
    """Count the positions that enforcement has reported closed."""
    done = daemon.received("enforcement_action", success=True)
    return sum(action["details"]["positions_closed"] for action in done)


REPORTED = frozenset(
    {
        *("cut", "cut in the middle of a record", "half-open", "silence", "garbage"),
        *("token expiry", "logout"),
    }
)
"""The faults that riskd reports as an ERROR."""


def is_felt(name: str, daemon: GuardedDaemon, broker: ProxiedBroker) -> bool:
    """Return whether a fault has lasted long enough to matter."""
    if name in REPORTED:
        return bool(daemon.received("daemon_status", status="ERROR"))
    return broker.proxy.hits >= 3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    clock = WallClock()
    clock.set_to(MONDAY_NOON)
    monkeypatch.setattr("riskd.app.tap.utc_now", clock)
    # The real intervals, shortened for the test.
    monkeypatch.setattr("riskd.gateway.projectx.hub_connection.SILENCE_SECONDS", 1.5)
    monkeypatch.setattr("riskd.gateway.projectx.hub_connection.PING_SECONDS", 0.5)
    monkeypatch.setattr("riskd.gateway.projectx.rest.CHANGE_SECONDS", 1.0)
    monkeypatch.setattr("riskd.gateway.projectx.rest.READ_SECONDS", (0.5, 1.0))
    return clock


def both_sides(daemon: GuardedDaemon, broker: ProxiedBroker) -> tuple[Any, Any]:
    """Return the account as riskd knows it and as the exchange does."""
    state = daemon.state
    known = {
        "positions": {
            held.contract_id: (int(held.type), held.size, held.average_price)
            for held in state.open_positions
        },
        "orders": {
            order.id: (order.size, order.limit_price, order.stop_price)
            for order in state.working_orders
        },
        "trades": {trade.id: trade.profit_and_loss for trade in state.trades.values()},
    }
    places = Decimal("1e-9")
    real = {
        "positions": {
            held["contractId"]: (
                held["type"],
                held["size"],
                Decimal(held["averagePrice"]).quantize(places).normalize(),
            )
            for held in broker.positions()
        },
        "orders": {
            order["id"]: (order["size"], order.get("limitPrice"), order.get("stopPrice"))
            for order in broker.working()
        },
        "trades": {
            trade["id"]: trade["profitAndLoss"]
            for trade in broker.trades()
            if trade.get("profitAndLoss") is not None
        },
    }
    return known, real


def is_reconciled(daemon: GuardedDaemon, broker: ProxiedBroker) -> bool:
    known, real = both_sides(daemon, broker)
    return bool(known == real)


def own_stops(broker: ProxiedBroker) -> dict[str, list[int]]:
    """Return the sizes of riskd's working stops, by contract id."""
    stops: dict[str, list[int]] = {}
    for order in broker.working():
        if str(order.get("customTag", "")).startswith(OWN_STOP_TAG):
            stops.setdefault(order["contractId"], []).append(order["size"])
    return stops


@pytest.mark.parametrize("name", FAULTS)
@pytest_twisted.ensureDeferred
async def test_after_a_fault(name: str, clock: WallClock, tmp_path: Path) -> None:
    fault = FAULTS[name]
    broker = ProxiedBroker(clock)
    daemon = GuardedDaemon(CONFIG, tmp_path / "state", broker)
    await daemon.start()
    try:
        await daemon.trade(BUY, 1)
        await until(lambda: own_stops(broker) == {MNQ: [1]})
        await daemon.trade(BUY, 1, M2K, limit="2000")

        fault.begin(broker.proxy)
        # A loss, a breach of each kind, and a position without a stop.
        await daemon.trade(SELL, 1)
        await daemon.trade(SELL, 2, M2K)
        await daemon.trade(BUY, 5)
        await daemon.trade(BUY, 1, ES)
        daemon.move(MNQ, "21001")
        await until(lambda: is_felt(name, daemon, broker))
        fault.end(broker.proxy)

        returned = reactor.seconds()
        await until(lambda: is_reconciled(daemon, broker))
        assert reactor.seconds() - returned < IN_STEP_SECONDS
        await until(lambda: daemon.held == {MNQ: 3, M2K: -2})
        await until(lambda: own_stops(broker) == {MNQ: [3], M2K: [2]})
        await until(lambda: is_reconciled(daemon, broker))
        await until(lambda: not is_in_error(daemon))

        # Breaches that arrive together are closed and reported as one.
        await until(lambda: reported_closings(daemon) >= 2)
        tags = [order["customTag"] for order in broker.orders() if "customTag" in order]
        assert len(tags) == len(set(tags))
        trades = [trade["id"] for trade in daemon.received("GatewayUserTrade")]
        assert len(trades) == len(set(trades))
    finally:
        await daemon.stop()
        await broker.proxy.stop()
