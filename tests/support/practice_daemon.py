"""A daemon in memory: practice exchange, engine and rules on one clock."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from riskd.config.loader import parse_settings
from riskd.config.settings import Settings
from riskd.engine.service import EngineService
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from riskd.gateway.interface import IGateway
from riskd.gateway.payload_listener import PayloadListener
from riskd.journal.service import JournalService
from riskd.journal.store import Store
from riskd.model.account import AccountState
from riskd.model.clock_offset import offset_fact
from riskd.model.events import (
    EnforcementAction,
    Event,
    EventData,
    LockoutCleared,
    LockoutSet,
    MarketQuote,
)
from riskd.practice.gateway import PracticeGateway
from tests.support.clocks import SortedClock
from tests.support.configuration import CATALOGUE
from tests.support.disk import SlowDisk

MONDAY_NOON = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
"""12:00 in Chicago."""

ACCOUNT = 123
MNQ, ES, RTY, M2K = (
    "CON.F.US.MNQ.Z26",
    "CON.F.US.EP.Z26",
    "CON.F.US.RTY.Z26",
    "CON.F.US.M2K.Z26",
)
BUY, SELL = GatewayOrderSide.BID, GatewayOrderSide.ASK


class PracticeDaemon:
    """A daemon without a network, on a quiet practice exchange where the test trades.

    :param config: the rules, as TOML tables.
    :param wall_ahead: by how many seconds this machine's clock is ahead of the broker's.
    :ivar told: every event that was broadcast, in order.
    :ivar payloads: takes what the broker might send, in its own fields.
    :ivar waits: how many seconds passed from each flatten to its first request.
    """

    def __init__(
        self,
        config: str = "",
        *,
        now: datetime = MONDAY_NOON,
        wall_ahead: float = 0.0,
    ) -> None:
        self.clock = self.make_clock()
        self._origin = now
        # The last answer of broker_time(), and the clock's seconds then.
        self._shown_at, self._shown = 0.0, now
        self.wall_ahead = timedelta(seconds=wall_ahead)
        self.directory = Path(tempfile.mkdtemp(prefix="riskd-"))
        self.settings = self.read_settings(config)
        self.gateway = PracticeGateway(
            self.clock,
            self.broker_time,
            {account.id: account.watch for account in self.settings.accounts},
            seed=1,
            is_open=False,
            faults=self.settings.practice.faults,
        )
        self.told: list[Event] = []
        self.waits: list[float] = []
        self.disk = SlowDisk()
        self._begin()

    def read_settings(self, config: str) -> Settings:
        """Return the settings of the daemon; here those of the one account."""
        return settings_of(config)

    def make_clock(self) -> SortedClock:
        return SortedClock()

    def make_store(self) -> Store:
        return Store(self.directory)

    def connect(self) -> tuple[Any, IGateway]:
        """Return the reactor of the daemon's machine, and the gateway that it is to use."""
        return self.clock, self.gateway

    def _begin(self) -> None:
        reactor, gateway = self.connect()
        self.journal = JournalService(reactor, self.make_store(), self.disk, self.now, "practice")
        self.engine = EngineService(
            reactor,
            gateway,
            self.settings,
            self.journal,
            self.told.append,
            self.now,
            CATALOGUE,
            self.waits.append,
        )
        self.journal.clock_offset = lambda: offset_fact(self.engine.clock_offset)
        self.payloads = PayloadListener(self.engine)
        self.journal.startService()
        self.engine.startService()

    def now(self) -> datetime:
        """The time of this machine's clock."""
        return self.broker_time() + self.wall_ahead

    def broker_time(self) -> datetime:
        seconds = self.clock.seconds()
        if seconds != self._shown_at:
            self._shown_at, self._shown = seconds, self._origin + timedelta(seconds=seconds)
        return self._shown

    def set_wall_clock(self, **ahead: float) -> None:
        """Set this machine's clock; the broker's goes on."""
        self.wall_ahead = timedelta(**ahead)

    def sleep(self, **duration: float) -> None:
        """Let the machine sleep: all timers are late."""
        self.clock.advance(timedelta(**duration).total_seconds())

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def stop(self) -> None:
        if self.engine.running:
            self.engine.stopService()
            self.journal.stopService()

    def kill(self) -> None:
        """End like a crash: write and broadcast nothing more."""
        self.engine.pause()
        self.engine.clocks.stop()
        for account in self.engine.accounts.values():
            account.risk_engine.stop()
        self.engine._broadcast = lambda _event: None
        self.gateway.stop()
        if self.journal._watch.running:
            self.journal._watch.stop()
        for call in tuple(self.clock.getDelayedCalls()):
            call.cancel()
        # What is still under way must not open the journal again and overwrite the next daemon's.
        self.journal.running = False
        self.journal._store.close()

    def lose_files(self) -> None:
        """Remove what the daemon has left on the disk."""
        for path in self.directory.iterdir():
            path.unlink()

    def restart(self, *, is_slow: bool = False) -> None:
        """Start again on the same broker and directory.

        :param is_slow: whether the disk is.
        """
        self.disk = SlowDisk()
        self.disk.is_slow = is_slow
        self._begin()

    def stopped_for(self, **duration: Any) -> None:
        """Let time pass while no daemon runs."""
        self._origin += timedelta(**duration)
        self._shown_at = -1.0

    def advance(self, seconds: float, step: float = 0.25) -> None:
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step

    # What the daemon and the exchange know.

    @property
    def state(self) -> AccountState:
        return self.engine.accounts[ACCOUNT].account.state

    def news(self, *kinds: type[EventData]) -> list[Any]:
        """Return the broadcast events of these kinds; without kinds, all but quotes."""
        return [
            event.data
            for event in self.told
            if (
                isinstance(event.data, kinds) if kinds else not isinstance(event.data, MarketQuote)
            )
        ]

    @property
    def actions(self) -> list[EnforcementAction]:
        return self.news(EnforcementAction)

    @property
    def locks(self) -> list[LockoutSet]:
        return self.news(LockoutSet)

    @property
    def cleared(self) -> list[LockoutCleared]:
        return self.news(LockoutCleared)

    @property
    def held(self) -> dict[str, int]:
        """The sizes that the exchange holds, short ones negative."""
        return {
            payload["contractId"]: payload["size"] * (1 if payload["type"] == 1 else -1)
            for payload in self.gateway.exchange.store.open_positions(ACCOUNT)
        }

    @property
    def working(self) -> list[int]:
        return [payload["id"] for payload in self.gateway.exchange.store.open_orders(ACCOUNT)]

    # What the trader does.

    def move(self, contract_id: str, last: str) -> None:
        self.gateway.move_market(contract_id, Decimal(last))

    def trade(self, side: GatewayOrderSide, size: int, contract_id: str = MNQ, **more: Any) -> int:
        """Place an order, at the market unless a price is given; return its id."""
        order_type = GatewayOrderType.MARKET
        if "limitPrice" in more:
            order_type = GatewayOrderType.LIMIT
        elif "stopPrice" in more:
            order_type = GatewayOrderType.STOP
        placed: list[int] = []
        self.gateway.place_order(
            ACCOUNT,
            {
                "contractId": contract_id,
                "type": int(order_type),
                "side": int(side),
                "size": size,
                **{name: Decimal(price) for name, price in more.items()},
            },
        ).addCallback(placed.append)
        return placed[0]

    def trade_unseen(self, side: GatewayOrderSide, size: int) -> None:
        """Trade at the market of the exchange itself, also while no daemon runs."""
        order = {
            "contractId": MNQ,
            "type": int(GatewayOrderType.MARKET),
            "side": int(side),
            "size": size,
        }
        self.gateway.exchange.place_order(ACCOUNT, order, self.broker_time())


def settings_of(config: str, account: str = "") -> Settings:
    """Return the settings of one practice account with rules, as TOML.

    :param account: more keys of the account.
    """
    text = f'{config}\n[[accounts]]\nid = {ACCOUNT}\nwatch = ["MNQ"]\n{account}\n'
    return parse_settings(text, "riskd.toml", CATALOGUE)
