"""A whole daemon in the test's process: real sockets, a real disk, and an exchange that the test trades on."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from riskd.app.tap import assemble
from riskd.engine.service import EngineService
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from riskd.gateway.fields import Payload
from riskd.host.loopback import listen
from riskd.journal.reader import read_published
from riskd.journal.state_directory import StateDirectory
from riskd.model.account import AccountState
from riskd.model.settings_changes import CHANGES
from riskd.practice.market import front_contract
from tests.integration.brokers import Broker
from tests.support.practice_daemon import ACCOUNT, CATALOGUE, MONDAY_NOON, settings_of
from tests.support.waiting import until
from trader.client import DaemonClient

Data = dict[str, Any]


class GuardedDaemon:
    """A daemon that guards one account, and a client that keeps its events.

    :param config: TOML tables of rules.
    :param account: more keys of the account.
    :param directory: the state directory.
    :param broker: holds the account.
    :param now: the broker's time, which decides which contracts it lists.
    :ivar port: of its stream.
    :ivar mnq: the id of the contract of MNQ; ``es`` and ``m2k`` are those of the others.
    :ivar events: each event received, as its type and its ``data``.
    """

    def __init__(
        self,
        config: str,
        directory: Path,
        broker: Broker,
        account: str = "",
        now: datetime = MONDAY_NOON,
    ) -> None:
        self.events: list[tuple[str, Data]] = []
        self.mnq, self.es, self.m2k = (
            front_contract(code, now.date()).id for code in ("MNQ", "EP", "M2K")
        )
        self._settings = settings_of(config, account)
        self._broker = broker
        self._state = StateDirectory(directory)
        sockets = listen(0)
        self.port = sockets[0].getsockname()[1]
        self._daemon, self._engine = assemble(
            EngineService, reactor, broker.gateway, sockets, self._state, self._settings, CATALOGUE
        )
        self._client = DaemonClient(
            ACCOUNT,
            lambda event_type, data: self.events.append((event_type, data)),
            f"ws://localhost:{self.port}",
        )

    async def start(self) -> None:
        """Start the daemon, connect the client and set the markets' starting prices."""
        self._daemon.startService()
        await until(lambda: self._engine.started.called)
        self._client.connect()
        await until(lambda: self._client.connected)
        for contract_id, last in ((self.mnq, "21000"), (self.es, "5800"), (self.m2k, "2250")):
            self.move(contract_id, last)

    async def stop(self) -> None:
        await self._client.disconnect()
        await self._daemon.stopService()
        self._broker.stop()
        self._state.release()
        assert not self._client.dropped

    # The trader and the broker.

    def move(self, contract_id: str, last: str) -> None:
        """Trade at ``last``, with the bid one tick below and the ask one tick above."""
        self._broker.move(contract_id, last)

    async def trade(
        self,
        side: GatewayOrderSide,
        size: int,
        contract_id: str | None = None,
        *,
        limit: str | None = None,
        stop: str | None = None,
    ) -> int:
        """Place a market order, or a limit or stop order at a price, of MNQ or another; return its id."""
        order: Payload = {
            "contractId": contract_id or self.mnq,
            "side": int(side),
            "size": size,
        }
        if limit is not None:
            order |= {"type": int(GatewayOrderType.LIMIT), "limitPrice": Decimal(limit)}
        elif stop is not None:
            order |= {"type": int(GatewayOrderType.STOP), "stopPrice": Decimal(stop)}
        else:
            order |= {"type": int(GatewayOrderType.MARKET)}
        return self._broker.place(order)

    async def lose(self, points: int, size: int = 1) -> None:
        """Buy MNQ, let it fall and sell: $2 a point and contract, and $1 for the spread."""
        await self.trade(GatewayOrderSide.BID, size)
        self.move(self.mnq, str(21000 - points))
        await self.trade(GatewayOrderSide.ASK, size)
        self.move(self.mnq, "21000")

    async def hold_other_contracts(self) -> None:
        """Hold one ES and work an order in M2K, so that a test sees how far a rule reaches."""
        await self.trade(GatewayOrderSide.BID, 1, self.es)
        order = await self.trade(GatewayOrderSide.BID, 1, self.m2k, limit="2000")
        await self.receives("GatewayUserPosition", contractId=self.es)
        await self.receives("GatewayUserOrder", id=order)

    def set_can_trade(self, may_trade: bool) -> None:
        """Set the broker's permission for the account to trade."""
        self._broker.set_can_trade(may_trade)

    # The exchange.

    @property
    def held(self) -> dict[str, int]:
        """Sizes of open positions by contract id; a short one is negative."""
        return {
            position["contractId"]: position["size"] * (1 if position["type"] == 1 else -1)
            for position in self._broker.positions()
        }

    @property
    def working(self) -> dict[int, Payload]:
        """Working orders by id."""
        return {order["id"]: order for order in self._broker.working()}

    @property
    def is_flat(self) -> bool:
        """Whether the account has no position and no working order."""
        return not self.held and not self.working

    @property
    def state(self) -> AccountState:
        """The daemon's state of the account."""
        return self._engine.accounts[ACCOUNT].account.state

    # The stream.

    def received(self, event_type: str, **fields: object) -> list[Data]:
        """Return the data of received events of a type with these fields."""
        return [
            data
            for kind, data in self.events
            if kind == event_type and fields.items() <= data.items()
        ]

    async def receives(self, event_type: str, **fields: object) -> Data:
        """Wait for an event of a type with these fields; return the data of the first."""
        await until(lambda: self.received(event_type, **fields))
        return self.received(event_type, **fields)[0]

    async def enforced(self, rule_id: str, action: str, **details: object) -> Data:
        """Wait for a successful enforcement action; check its details and return its data."""
        action_data = await self.receives("enforcement_action", rule_id=rule_id, action=action)
        assert action_data["success"] is True
        assert action_data["details"] == details
        return action_data

    async def locked(self, rule_id: str) -> Data:
        """Wait for a lockout, check that its enforcement action came first; return its data."""
        lock = await self.receives("lockout_set", rule_id=rule_id)
        done = await self.receives("enforcement_action", rule_id=rule_id)
        assert self.events.index(("enforcement_action", done)) < self.events.index(
            ("lockout_set", lock)
        )
        return lock

    async def settles(self, positions: int) -> None:
        """Wait until so many positions have closed and no flatten is under way.

        The broker may send positions late.
        """
        enforcer = self._engine.accounts[ACCOUNT].risk_engine._enforcer
        await until(lambda: len(self.received("GatewayUserPosition", size=0)) >= positions)
        await until(lambda: not enforcer.is_flattening)

    # The published copy.

    async def publishes(self, *locked_by: str, enforced: int = 0) -> AccountState:
        """Return the published copy once it has the locks of these rules and no others.

        :param enforced: how many enforcement actions it must have, too.
        """

        def is_published() -> bool:
            copy = self._published()
            return set(copy.lockouts) == set(locked_by) and len(copy.enforcement) >= enforced

        await until(is_published)
        published = self._published()
        limits = {name: each for name, each in published.limits.items() if name != CHANGES}
        assert {**limits, "DAY": None} == {
            "DAY": None,
            **{one.rule.rule_id: one.limit for one in self._settings.accounts[0].rules},
        }
        return published

    def _published(self) -> AccountState:
        return read_published(self._state.path).accounts[ACCOUNT]
