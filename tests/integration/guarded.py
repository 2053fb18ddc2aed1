"""A whole daemon in this process: real sockets and a real disk, on an exchange that a test trades on."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from riskd.app.tap import assemble
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from riskd.gateway.interface import Payload
from riskd.host.loopback import listen
from riskd.journal.reader import read_published
from riskd.journal.state_directory import StateDirectory
from riskd.model.account import AccountState
from tests.integration.brokers import Broker
from tests.integration.conftest import until
from tests.support.practice_daemon import ACCOUNT, CATALOGUE, ES, M2K, MNQ, settings_of
from trader.client import DaemonClient

Data = dict[str, Any]


class GuardedDaemon:
    """A daemon that guards one account, and a client of it that keeps what it is told.

    :param config: the rules, as TOML tables.
    :param directory: the state directory.
    :param broker: where the account is.
    :ivar told: every event, as its type and its data on the wire.
    """

    def __init__(self, config: str, directory: Path, broker: Broker) -> None:
        self.told: list[tuple[str, Data]] = []
        self._settings = settings_of(config)
        self._broker = broker
        self._state = StateDirectory(directory)
        sockets = listen(0)
        port = sockets[0].getsockname()[1]
        self._daemon, self._engine = assemble(
            reactor, broker.gateway, sockets, self._state, self._settings, CATALOGUE
        )
        self._client = DaemonClient(
            ACCOUNT,
            lambda event_type, data: self.told.append((event_type, data)),
            f"ws://localhost:{port}",
        )

    async def start(self) -> None:
        """Begin to guard; the client is connected then, and the markets are where tests expect them."""
        self._daemon.startService()
        await until(lambda: self._engine.started.called)
        self._client.connect()
        await until(lambda: self._client.connected)
        for contract_id, last in ((MNQ, "21000"), (ES, "5800"), (M2K, "2250")):
            self.move(contract_id, last)

    async def stop(self) -> None:
        await self._client.disconnect()
        await self._daemon.stopService()
        self._broker.stop()
        self._state.release()
        assert not self._client.dropped

    # What the trader and the broker do.

    def move(self, contract_id: str, last: str) -> None:
        """Let the market trade at ``last``; the bid is a tick below, the ask a tick above."""
        self._broker.move(contract_id, last)

    async def trade(
        self,
        side: GatewayOrderSide,
        size: int,
        contract_id: str = MNQ,
        *,
        limit: str | None = None,
        stop: str | None = None,
    ) -> int:
        """Place an order, at the market unless it has a price; return its id."""
        order: Payload = {"contractId": contract_id, "side": int(side), "size": size}
        if limit is not None:
            order |= {"type": int(GatewayOrderType.LIMIT), "limitPrice": Decimal(limit)}
        elif stop is not None:
            order |= {"type": int(GatewayOrderType.STOP), "stopPrice": Decimal(stop)}
        else:
            order |= {"type": int(GatewayOrderType.MARKET)}
        return self._broker.place(order)

    async def lose(self, points: int, size: int = 1) -> None:
        """Buy MNQ, let it fall, and sell: two dollars a point, and one for the spread."""
        await self.trade(GatewayOrderSide.BID, size)
        self.move(MNQ, str(21000 - points))
        await self.trade(GatewayOrderSide.ASK, size)
        self.move(MNQ, "21000")

    async def be_elsewhere(self) -> None:
        """Hold one ES and work an order in M2K, so that a test sees how far a rule reaches."""
        await self.trade(GatewayOrderSide.BID, 1, ES)
        order = await self.trade(GatewayOrderSide.BID, 1, M2K, limit="2000")
        await self.hears("GatewayUserPosition", contractId=ES)
        await self.hears("GatewayUserOrder", id=order)

    def permit(self, may_trade: bool) -> None:
        """Let the broker allow or forbid the account to trade."""
        self._broker.permit(may_trade)

    # What the exchange says.

    @property
    def held(self) -> dict[str, int]:
        """Sizes by contract id, short ones negative."""
        return {
            position["contractId"]: position["size"] * (1 if position["type"] == 1 else -1)
            for position in self._broker.positions()
        }

    @property
    def working(self) -> dict[int, Payload]:
        """Orders by their ids."""
        return {order["id"]: order for order in self._broker.working()}

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held and nothing works."""
        return not self.held and not self.working

    @property
    def state(self) -> AccountState:
        """What the daemon knows of the account."""
        return self._engine.accounts[ACCOUNT].account.state

    # What the client was told.

    def heard(self, event_type: str, **fields: object) -> list[Data]:
        """Return the data of the events of a type that have these fields."""
        return [
            data
            for kind, data in self.told
            if kind == event_type and fields.items() <= data.items()
        ]

    async def hears(self, event_type: str, **fields: object) -> Data:
        """Wait for an event of a type that has these fields; return the first one's data."""
        await until(lambda: self.heard(event_type, **fields))
        return self.heard(event_type, **fields)[0]

    async def hears_enforcement(self, rule_id: str, action: str, **details: object) -> Data:
        """Wait until a rule has acted, as it should; return what was told of it."""
        told = await self.hears("enforcement_action", rule_id=rule_id, action=action)
        assert told["success"] is True
        assert told["details"] == details
        return told

    async def hears_lock(self, rule_id: str) -> Data:
        """Wait until a rule has locked the account, which is told after what it did."""
        lock = await self.hears("lockout_set", rule_id=rule_id)
        done = await self.hears("enforcement_action", rule_id=rule_id)
        assert self.told.index(("enforcement_action", done)) < self.told.index(
            ("lockout_set", lock)
        )
        return lock

    async def settles(self, positions: int) -> None:
        """Wait until so many positions were told to be closed, which the broker may tell late."""
        enforcer = self._engine.accounts[ACCOUNT].risk_engine._enforcer
        await until(lambda: len(self.heard("GatewayUserPosition", size=0)) >= positions)
        await until(lambda: not enforcer.is_flattening)

    # What the published copy says.

    async def publishes(self, *locked_by: str, enforced: int = 0) -> AccountState:
        """Return the published copy once it has the locks of these rules and no others.

        :param enforced: how many enforcement actions it must have, too.
        """

        def is_published() -> bool:
            copy = self._published()
            return set(copy.lockouts) == set(locked_by) and len(copy.enforcement) >= enforced

        await until(is_published)
        published = self._published()
        assert {**published.limits, "DAY": None} == {
            "DAY": None,
            **{one.rule.rule_id: one.limit for one in self._settings.accounts[0].rules},
        }
        return published

    def _published(self) -> AccountState:
        return read_published(self._state.path).accounts[ACCOUNT]
