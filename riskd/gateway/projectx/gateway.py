"""The broker over the network: TopstepX and other ProjectX gateways.

Two hubs send events, REST answers requests.  The user hub is the feed of the accounts: while it is down,
events are lost, and the listener is notified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from riskd.gateway.interface import IGateway, IGatewayListener
from riskd.gateway.payload_listener import PayloadListener
from riskd.gateway.projectx.backoff import Backoff
from riskd.gateway.projectx.broker_api import BrokerApi
from riskd.gateway.projectx.connections import BrokerAgent
from riskd.gateway.projectx.credentials import Credentials
from riskd.gateway.projectx.hub import Connect, Hub, Subscription
from riskd.gateway.projectx.hub_events import is_logout, quote_events, user_events
from riskd.gateway.projectx.login import Login
from riskd.gateway.projectx.market_data import QuoteFeed
from riskd.gateway.projectx.rest import BrokerRequests, Rest
from riskd.gateway.signalr import Invocation
from riskd.gateway.targets import QUOTE
from riskd.host.secrets import Secret

_PING: Final = "/api/Status/ping"


@implementer(IGateway)
class ProjectXGateway(BrokerApi):
    """Follows accounts through the ProjectX gateway's API.

    :param reactor: the reactor.
    :param wall: gives the time of the wall clock, aware.
    :param agent: sends HTTP requests; :func:`make_agent` makes one.
    :param rest_url: the URL of the REST API.
    :param connect_user_hub: opens a connection to the hub of accounts.
    :param connect_market_hub: opens a connection to the hub of markets.
    :param credentials: finds the user name and the API key, at each login.
    :param watch: tickers whose quotes are reported, whatever is held.
    :param random: spreads tries in time.
    """

    name = "projectx"
    _listener: IGatewayListener
    _payloads: PayloadListener

    def __init__(
        self,
        reactor: Any,
        wall: Callable[[], datetime],
        *,
        agent: BrokerAgent,
        rest_url: str,
        connect_user_hub: Connect,
        connect_market_hub: Connect,
        credentials: Callable[[], Credentials],
        watch: Iterable[str],
        random: Random,
    ) -> None:
        self._now = wall
        self._started: Deferred[None] = Deferred()
        self._down_since: datetime | None = None
        self._agent, self._ping_url = agent, rest_url + _PING
        self._rest, urgent_rest = (
            Rest(
                each,
                rest_url,
                reactor,
                lambda at, precision, delay: self._listener.clock_reported(at, precision, delay),  # noqa: PLW0108
            )
            for each in (agent, agent.urgent)
        )
        self._login = Login(
            self._rest.post,
            credentials,
            reactor,
            wall,
            random,
            lambda sentence: self._listener.gateway_problem("login", sentence),
            lambda: self._reconnect("the token was renewed"),
        )
        super().__init__(
            BrokerRequests(self._rest, self._login, reactor, random, self._hurry, urgent_rest)
        )
        self._user_hub = Hub(
            "user",
            connect_user_hub,
            self._login,
            reactor,
            Backoff(random),
            self._receive_user,
            self._feed_is_up,
            self._feed_is_down,
            self._user_subscription_refused,
        )
        self._user_hub.require("SubscribeAccounts")
        self._quotes = QuoteFeed(
            self._requests,
            reactor,
            # Markets open and close by the broker's time.
            lambda: self._listener.now(),  # noqa: PLW0108  # looked up at the call
            watch,
            subscribe=lambda contract_id: self._market_hub.subscribe(
                "SubscribeContractQuotes", contract_id
            ),
            # Looked up at the call: hub and feed need each other, and the hub is made last.
            reconnect=lambda why: self._market_hub.reconnect(why),  # noqa: PLW0108
            receive=lambda contract_id, payload: self._payloads.market_event(
                QUOTE, contract_id, payload
            ),
            receive_trade=lambda contract_id, payload: self._payloads.latest_trade(  # noqa: PLW0108
                contract_id, payload
            ),
            report_problem=lambda sentence: self._listener.gateway_problem("quotes", sentence),
        )
        self._market_hub = Hub(
            "market",
            connect_market_hub,
            self._login,
            reactor,
            Backoff(random),
            self._receive_market,
            self._quotes.connected,
            self._quotes.lost,
            self._quotes_refused,
        )

    def start(self, listener: IGatewayListener) -> Deferred[None]:
        """Log in and connect; the Deferred fires when the accounts are subscribed."""
        self._listener = listener
        self._payloads = PayloadListener(listener)
        self._agent.keep_warm(self._ping_url, self._requests.may_ping, self._rest.report_clock)
        self._login.start()
        self._user_hub.start()
        self._market_hub.start()
        self._quotes.start()
        return self._started

    def stop(self) -> Deferred[None]:
        """Leave the broker."""
        self._quotes.stop()
        for hub in (self._user_hub, self._market_hub):
            hub.stop()
        self._login.stop()
        self._agent.stop()
        return succeed(None)

    def expect_commands(self, number: int) -> None:
        """Hold connections open for so many commands that may have to leave at once."""
        self._agent.expect_commands(number)

    def follow_account(self, account_id: int) -> None:
        """Report the events of an account from now on."""
        # Required: without one of them the account would be guarded half-blind.
        for target in ("SubscribeOrders", "SubscribePositions", "SubscribeTrades"):
            self._user_hub.require(target, account_id)

    def follow_quotes(self, contract_id: str) -> None:
        """Report the quotes of a contract from now on."""
        self._quotes.follow(contract_id)

    def _receive_user(self, invocation: Invocation, token: Secret) -> Iterator[None]:
        if is_logout(invocation):
            self._logged_out(token)
        for target, payload in user_events(invocation):
            self._payloads.user_event(target, payload)
            yield

    def _receive_market(self, invocation: Invocation, token: Secret) -> Iterator[None]:
        if is_logout(invocation):
            self._logged_out(token)
        for contract_id, payload in quote_events(invocation):
            self._quotes.receive(contract_id, payload)
            yield

    def _logged_out(self, token: Secret) -> None:
        self._login.logged_out(token)
        self._reconnect("the broker has ended the login")

    def _reconnect(self, why: str) -> None:
        # A hub's connection keeps the token that it was opened with, and ends with that token.
        for hub in (self._user_hub, self._market_hub):
            hub.reconnect(why)

    def _hurry(self) -> None:
        """Let waiting hubs try now: an answer shows that the broker is reachable."""
        for hub in (self._user_hub, self._market_hub):
            hub.hurry()

    def _feed_is_up(self) -> None:
        self._down_since = None
        self._listener.feed_restored()
        if not self._started.called:
            self._started.callback(None)

    def _feed_is_down(self, why: str) -> None:
        # Each failed try reports again; the outage began with the first.
        self._down_since = self._down_since or self._now()
        self._listener.feed_lost(
            f"The broker's events are missing since {self._down_since.astimezone():%H:%M:%S}: "
            f"{why}. riskd asks every few seconds what the accounts hold, and reconnects"
        )

    def _user_subscription_refused(self, subscription: Subscription, why: str) -> None:
        """Report one kind of events that the broker does not send; it sends all others."""
        target, arguments = subscription
        what = target.removeprefix("Subscribe").lower()
        if arguments:
            what += f" of account {arguments[0]}"
        sentence = f"The broker does not send {what}: {why}" if why else ""
        self._listener.gateway_problem(what, sentence)
        # The engine must reconcile what this subscription has missed.
        if not why and self._user_hub.is_up:
            self._listener.feed_restored()

    def _quotes_refused(self, subscription: Subscription, why: str) -> None:
        _target, (contract_id,) = subscription
        sentence = f"The broker sends no quotes of {contract_id}: {why}" if why else ""
        self._listener.gateway_problem(f"quotes of {contract_id}", sentence)


def make_agent(reactor: Any) -> BrokerAgent:
    """Return an agent that keeps its connections open between requests."""
    return BrokerAgent(reactor, Random())
