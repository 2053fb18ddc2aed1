"""A broker at a distance, and a daemon that guards an account there, for :mod:`tests.benchmarks.link`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.resource import Resource
from zope.interface import noLongerProvides

from riskd.app.launch import utc_now
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from riskd.gateway.targets import ORDER, POSITION
from riskd.model.exact_json import decode_json
from riskd.practice.gateway import PracticeGateway
from riskd.practice.records import Message
from riskd.practice.server.hub_conversation import Topic
from riskd.practice.server.site import DEFAULT_API_KEY, DEFAULT_USER_NAME, HUBS, practice_site
from tests.benchmarks.link_proxy import DistantProxy
from tests.support.twistd import twistd_command

ACCOUNT: Final = 123

_SERVER: Final = "127.0.0.2"
_PROXY: Final = "127.0.0.1"
_PING: Final = "/api/Status/ping"
_START_SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 10.0
_TARGETS: Final = (POSITION, ORDER)

_CONFIG: Final = """
[rules.max_contracts]
limit = 5
[rules.max_contracts_per_instrument]
limits = {{ MNQ = 2 }}
unknown_symbol_action = "allow_unlimited"
[gateway]
kind = "projectx"
user_name = "{user}"
rest_url = "{url}"
user_hub_url = "{url}/hubs/user"
market_hub_url = "{url}/hubs/market"
[[accounts]]
id = {account}
watch = ["MNQ", "MES"]
"""


class DistantBroker:
    """The practice gateway's server behind a :class:`DistantProxy`.

    :param certificate: the PEM of a key and its certificate chain, to serve TLS; empty to serve none.
    :ivar requests: the names of the requests received, without pings.
    :ivar sent_at: when the hub sent the latest event of an open position, by contract; no event of a
        closed position counts.
    :ivar done_at: when the exchange closed each position and canceled each order, latest last.
    """

    def __init__(self, certificate: bytes = b"") -> None:
        self.gateway = PracticeGateway(
            reactor, utc_now, {ACCOUNT: ("MNQ", "MES")}, seed=1, is_open=True, is_quiet=True
        )
        self.site = practice_site(reactor, self.gateway)
        self.site.resource = _Counting(self.site.resource, self)
        if certificate:
            options = PrivateCertificate.loadPEM(certificate).options()
            port = reactor.listenSSL(0, _WithinTls(self.site), options, interface=_SERVER)
        else:
            port = reactor.listenTCP(0, self.site, interface=_SERVER)
        self._listening = port
        number = port.getHost().port
        self.proxy = DistantProxy(reactor, (_SERVER, number), _PROXY)
        self.url = f"{'https' if certificate else 'http'}://{_PROXY}:{number}"
        self.requests: list[str] = []
        self.hub_ports: set[int] = set()
        self.sent_at: dict[str, float] = {}
        self.done_at: list[float] = []
        self.gateway.observe(self._observe)
        self.gateway.start()
        self.site._feed.subscribe(self._note_sent, Topic(POSITION, ACCOUNT))
        self._contracts = {one.root: one.id for one in self.gateway._market.contracts}

    async def stop(self) -> None:
        """Stop serving."""
        await self.gateway.stop()
        for port in (self.proxy.port, self._listening):
            await port.stopListening()

    def contract(self, ticker: str) -> str:
        """Return the id of a contract."""
        return self._contracts[ticker]

    def buy(self, ticker: str, size: int) -> float:
        """Fill an order to buy, and return when it was filled."""
        self._place(ticker, size, GatewayOrderSide.BID, type=int(GatewayOrderType.MARKET))
        return reactor.seconds()

    def work_order(self, ticker: str) -> None:
        """Place an order that the market is far away from."""
        quote = self.gateway.exchange.quote(self.contract(ticker))
        assert quote is not None
        self._place(
            ticker,
            1,
            GatewayOrderSide.BID,
            type=int(GatewayOrderType.LIMIT),
            limitPrice=Decimal(int(quote.bid) // 2),
        )

    def sell_all(self) -> None:
        """Close what is left, as the trader would."""
        for held in self.gateway.exchange.store.open_positions(ACCOUNT):
            self.gateway.close_contract(ACCOUNT, held["contractId"])

    @property
    def open_things(self) -> int:
        """The number of open positions and working orders."""
        store = self.gateway.exchange.store
        return len(store.open_positions(ACCOUNT)) + len(store.open_orders(ACCOUNT))

    def size(self, ticker: str) -> int:
        """Return the size of a position."""
        contract_id = self.contract(ticker)
        held = self.gateway.exchange.store.open_positions(ACCOUNT)
        return sum(each["size"] for each in held if each["contractId"] == contract_id)

    def drop_idle(self) -> None:
        """Close all connections but those of the hubs."""
        self.proxy.drop_all_but(self.hub_ports)

    def _place(self, ticker: str, size: int, side: GatewayOrderSide, **more: Any) -> None:
        order = {"contractId": self.contract(ticker), "side": int(side), "size": size, **more}
        self.gateway.place_order(ACCOUNT, order)

    def _observe(self, message: Message) -> None:
        # An order that is canceled or filled, a position that is closed or reduced.
        if message.target in _TARGETS:
            self.done_at.append(reactor.seconds())

    def _note_sent(self, record: bytes) -> None:
        data = decode_json(record.rstrip(b"\x1e"))["arguments"][0]["data"]
        if data["size"]:
            self.sent_at[data["contractId"]] = reactor.seconds()


class _PlainTransport(ProtocolWrapper):
    """A transport that does not say that it is within TLS.

    Autobahn would ask the site's own wrapper around it for the TLS connection, which that cannot give.
    """

    def connectionMade(self) -> None:
        noLongerProvides(self, ISSLTransport)
        super().connectionMade()


class _WithinTls(WrappingFactory):
    """A site that is served with TLS and does not know it."""

    protocol = _PlainTransport


class _Counting(Resource):
    """Counts the requests, and knows the connections of the hubs."""

    isLeaf = True

    def __init__(self, inner: Any, broker: DistantBroker) -> None:
        super().__init__()
        self._inner = inner
        self._broker = broker

    def render(self, request: Any) -> Any:
        path = request.path.decode()
        if path.startswith(HUBS):
            self._broker.hub_ports.add(request.getClientAddress().port)
        elif path != _PING:
            self._broker.requests.append(path.removeprefix("/api/"))
        return self._inner.render(request)


class GuardingDaemon:
    """``twistd riskd`` that guards the account at a broker.

    :param authority: the file of the certificate authority that the daemon trusts.
    """

    def __init__(self, directory: Path, broker: DistantBroker, authority: Path | None) -> None:
        config = directory / "riskd.toml"
        config.write_text(_CONFIG.format(user=DEFAULT_USER_NAME, url=broker.url, account=ACCOUNT))
        self._log = directory / "log"
        environment = {**os.environ, "RISKD_API_KEY": DEFAULT_API_KEY}
        if authority is not None:
            environment["SSL_CERT_FILE"] = os.fspath(authority)
        arguments = ("--port", "0", "--config", os.fspath(config), "--state", "state")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                twistd_command(*arguments),
                cwd=directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    async def start(self) -> None:
        """Wait until the daemon is RUNNING."""
        await until(
            lambda: "status RUNNING" in self.log or self._process.poll() is not None,
            _START_SECONDS,
            lambda: self.log,
        )
        if self._process.poll() is not None:
            raise SystemExit(self.log)

    @property
    def log(self) -> str:
        """All that the daemon logged."""
        return self._log.read_text()

    def stop(self) -> None:
        """End the daemon."""
        self._process.terminate()
        self._process.wait(_START_SECONDS)


async def until(
    condition: Callable[[], object],
    seconds: float = _WAIT_SECONDS,
    explain: Callable[[], str] = str,
) -> None:
    """Wait for a condition.

    :raises SystemExit: it does not hold in time; with an explanation.
    """
    deadline = reactor.seconds() + seconds
    while not condition():
        if reactor.seconds() > deadline:
            raise SystemExit(f"link: waited {seconds:g} s in vain\n{explain()}")
        await deferLater(reactor, 0.005)
