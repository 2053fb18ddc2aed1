"""A broker that misbehaves costs riskd nothing but what it sends: the account stays guarded."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from riskd.app.launch import utc_now
from riskd.gateway.fields import Payload
from riskd.gateway.interface import IGateway
from riskd.gateway.projectx.credentials import Credentials
from riskd.gateway.projectx.gateway import ProjectXGateway, make_agent
from riskd.gateway.projectx.websocket import HubConnector
from riskd.host.secrets import Secret
from riskd.model.bounds import MOST_POSITIONS
from riskd.practice.server.site import DEFAULT_API_KEY, DEFAULT_USER_NAME
from tests.integration.guarded import GuardedDaemon
from tests.integration.hostile_broker import (
    ACCOUNT,
    Answer,
    HostileBroker,
    deep_nesting,
    endless_body,
    gzip_bomb,
    three_gigabytes,
)
from tests.support.practice_daemon import BUY
from tests.support.waiting import until

CONFIG = """
[rules.max_contracts_per_instrument]
limits = { MNQ = 3 }
unknown_symbol_action = "allow_unlimited"
[rules.symbol_blocks]
blocked_symbols = ["ES"]
"""


class GuardedBroker(HostileBroker):
    """The hostile broker as :class:`GuardedDaemon` trades on it.

    :ivar gateway: the ProjectX client of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gateway: IGateway = ProjectXGateway(
            reactor,
            utc_now,
            agent=make_agent(reactor),
            rest_url=self.url,
            connect_user_hub=HubConnector(reactor, f"{self.url}/hubs/user"),
            connect_market_hub=HubConnector(reactor, f"{self.market_url}/hubs/market"),
            credentials=lambda: Credentials(DEFAULT_USER_NAME, Secret(DEFAULT_API_KEY)),
            watch=["MNQ"],
            random=Random(),
        )

    def stop(self) -> None:
        """Do nothing: the test closes it."""

    def move(self, contract_id: str, last: str) -> None:
        self.practice.move_market(contract_id, Decimal(last))

    def set_can_trade(self, may_trade: bool) -> None:
        self.practice.set_can_trade(ACCOUNT, may_trade)

    def place(self, order: Payload) -> int:
        placed: list[int] = []
        self.practice.place_order(ACCOUNT, order).addCallback(placed.append)
        return placed[0]

    def positions(self) -> list[Payload]:
        return self.practice.exchange.store.open_positions(ACCOUNT)

    def working(self) -> list[Payload]:
        return self.practice.exchange.store.open_orders(ACCOUNT)


@pytest.fixture
def broker() -> Iterator[GuardedBroker]:
    hostile = GuardedBroker()
    yield hostile
    pytest_twisted.blockon(ensureDeferred(hostile.close()))


@pytest.fixture
def daemon(broker: GuardedBroker, tmp_path: Path) -> Iterator[GuardedDaemon]:
    guarded = GuardedDaemon(CONFIG, tmp_path, broker, now=utc_now())
    pytest_twisted.blockon(ensureDeferred(guarded.start()))
    yield guarded
    pytest_twisted.blockon(ensureDeferred(guarded.stop()))


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Return the lines that are logged from now on."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


async def see_that_a_breach_is_ended(daemon: GuardedDaemon) -> None:
    """Breach a limit, and wait until the account is as it must be."""
    daemon.events.clear()
    await daemon.trade(BUY, 1, daemon.es)
    await daemon.receives("enforcement_action", success=True)
    assert daemon.es not in daemon.held


@pytest.mark.parametrize(
    "answer",
    [three_gigabytes, endless_body, gzip_bomb, deep_nesting],
    ids=lambda each: each.__name__,
)
@pytest_twisted.ensureDeferred
async def test_an_answer_without_bounds_is_refused_by_name(
    answer: Answer, daemon: GuardedDaemon, broker: GuardedBroker, log: list[str]
) -> None:
    broker.answers["Trade/search"] = answer
    await see_that_a_breach_is_ended(daemon)
    await until(lambda: any("Trade/search was not answered: the answer" in line for line in log))
    await see_that_a_breach_is_ended(daemon)
    broker.answers.clear()
    asked = broker.requests["Trade/search"]
    await see_that_a_breach_is_ended(daemon)
    # One that was refused is sent again within a minute.
    await until(lambda: broker.requests["Trade/search"] > asked)
    assert not [line for line in log if "internal error" in line or "Traceback" in line]


@pytest.mark.parametrize("name", ["invent_positions", "invent_orders"])
@pytest_twisted.ensureDeferred
async def test_a_list_of_very_many_does_not_hide_what_there_is(
    name: str, daemon: GuardedDaemon, broker: GuardedBroker, log: list[str]
) -> None:
    getattr(broker, name)()
    await daemon.trade(BUY, 1)
    await see_that_a_breach_is_ended(daemon)
    await until(
        lambda: max(len(daemon.state.open_positions), len(daemon.state.orders)) >= MOST_POSITIONS
    )
    told = await daemon.receives("daemon_status", status="ERROR")
    assert told["message"]
    await see_that_a_breach_is_ended(daemon)
    broker.answers.clear()
    # Its searches are sent again when it is back, and otherwise within a minute.
    await broker.site.close_hubs()
    await until(lambda: not daemon.state.orders and len(daemon.state.open_positions) == 1)
    assert daemon.held == {daemon.mnq: 1}
    assert not [line for line in log if "internal error" in line or "Traceback" in line]


@pytest.mark.parametrize("name", ["endless_record", "full_records", "full_record", "empty_frames"])
@pytest_twisted.ensureDeferred
async def test_a_flood_of_the_market_hub_keeps_no_breach_waiting(
    name: str, daemon: GuardedDaemon, broker: GuardedBroker, log: list[str]
) -> None:
    await daemon.trade(BUY, 1)
    broker.flood = getattr(broker, name)
    await until(lambda: broker.flooded)
    for _ in range(3):
        await see_that_a_breach_is_ended(daemon)
    assert daemon.held == {daemon.mnq: 1}
    assert not [line for line in log if "internal error" in line or "Traceback" in line]
