"""The broker over the network: TopstepX, and whoever else speaks the ProjectX gateway's API.

Two hubs tell what happens, REST answers what is asked.  The hub of accounts is the feed: while it is
down, events are lost, and whoever listens is told so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, succeed
from twisted.web.client import Agent, HTTPConnectionPool, _HTTP11ClientFactory
from twisted.web.iweb import IAgent
from zope.interface import implementer

from riskd.gateway.fields import FieldReader, MappingError
from riskd.gateway.interface import GatewayRefusedError, IGateway, IGatewayListener, Payload
from riskd.gateway.projectx.backoff import Backoff
from riskd.gateway.projectx.credentials import Credentials, Secret
from riskd.gateway.projectx.hub import Connect, Hub, Subscription
from riskd.gateway.projectx.login import Session
from riskd.gateway.projectx.market_data import QuoteFeed
from riskd.gateway.projectx.payloads import is_logout, user_events
from riskd.gateway.projectx.responses import BrokerFaultError, item, items, of_account
from riskd.gateway.projectx.rest import ANSWER_SECONDS, BrokerRequests, Rest
from riskd.gateway.signalr import Invocation

_CONNECT_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 30
_CONNECTIONS: Final = 8

_ACCOUNT_NOT_FOUND: Final = 1


@implementer(IGateway)
class ProjectXGateway:
    """Follows accounts through the ProjectX gateway's API.

    :param reactor: the reactor.
    :param now: gives the time of day, aware.
    :param agent: sends HTTP requests; :func:`make_agent` makes one.
    :param rest_url: where the API is.
    :param connect_user_hub: makes a connection to the hub of accounts.
    :param connect_market_hub: makes a connection to the hub of markets.
    :param credentials: finds the user name and the API key, at each login.
    :param watch: tickers whose quotes are told, whatever is held.
    :param random: spreads tries in time.
    """

    name = "projectx"
    answer_seconds = ANSWER_SECONDS

    def __init__(
        self,
        reactor: Any,
        now: Callable[[], datetime],
        *,
        agent: IAgent,
        rest_url: str,
        connect_user_hub: Connect,
        connect_market_hub: Connect,
        credentials: Callable[[], Credentials],
        watch: Iterable[str],
        random: Random,
    ) -> None:
        self._now = now
        self._listener: IGatewayListener | None = None
        self._started: Deferred[None] = Deferred()
        self._down_since: datetime | None = None
        rest = Rest(HTTPClient(agent), rest_url, reactor)
        self._session = Session(
            rest.post,
            credentials,
            reactor,
            now,
            random,
            lambda sentence: self._tell_trouble("login", sentence),
            lambda: self._reconnect("the token was renewed"),
        )
        self._requests = BrokerRequests(rest, self._session, reactor, random, self._answered)
        self._user_hub = Hub(
            "user",
            connect_user_hub,
            self._session,
            reactor,
            Backoff(random),
            self._heard_user,
            self._feed_is_up,
            self._feed_is_down,
            self._not_told,
        )
        self._user_hub.require("SubscribeAccounts")
        self._quotes = QuoteFeed(
            self._requests,
            reactor,
            now,
            watch,
            subscribe=self._subscribe_quotes,
            # The hub needs the feed, too; one of them comes first.
            reconnect=lambda why: self._market_hub.reconnect(why),  # noqa: PLW0108
            tell=self._tell_quote,
            tell_trouble=lambda sentence: self._tell_trouble("quotes", sentence),
        )
        self._market_hub = Hub(
            "market",
            connect_market_hub,
            self._session,
            reactor,
            Backoff(random),
            self._heard_market,
            self._quotes.connected,
            self._quotes.lost,
            self._not_quoted,
        )

    def start(self, listener: IGatewayListener) -> Deferred[None]:
        """Log in, connect, and tell ``listener`` what happens; fire when its accounts are subscribed."""
        self._listener = listener
        self._session.start()
        self._user_hub.start()
        self._market_hub.start()
        self._quotes.start()
        return self._started

    def stop(self) -> Deferred[None]:
        """Leave the broker."""
        self._listener = None
        self._quotes.stop()
        for hub in (self._user_hub, self._market_hub):
            hub.stop()
        self._session.stop()
        return succeed(None)

    # What is told.

    def follow_account(self, account_id: int) -> None:
        """Tell the events of an account from now on."""
        for target in ("SubscribeOrders", "SubscribePositions", "SubscribeTrades"):
            self._user_hub.require(target, account_id)

    def follow_quotes(self, contract_id: str) -> None:
        """Tell the quotes of a contract from now on."""
        self._quotes.follow(contract_id)

    def _subscribe_quotes(self, contract_id: str) -> None:
        self._market_hub.subscribe("SubscribeContractQuotes", contract_id)

    def _heard_user(self, invocation: Invocation, token: Secret) -> None:
        if is_logout(invocation):
            self._logged_out(token)
            return
        for event in user_events(invocation):
            if self._listener is not None:
                self._listener.user_event(event.target, event.payload)

    def _heard_market(self, invocation: Invocation, token: Secret) -> None:
        if is_logout(invocation):
            self._logged_out(token)
        else:
            self._quotes.heard(invocation)

    def _tell_quote(self, contract_id: str, payload: Payload) -> None:
        if self._listener is not None:
            self._listener.market_event("GatewayQuote", contract_id, payload)

    def _logged_out(self, token: Secret) -> None:
        self._session.logged_out(token)
        self._reconnect("the broker has ended the login")

    def _reconnect(self, why: str) -> None:
        # A hub keeps the token that it was connected with, and ends with it.
        for hub in (self._user_hub, self._market_hub):
            hub.reconnect(why)

    def _answered(self) -> None:
        """Take it that the way to the broker is open again, whatever a hub is waiting for."""
        for hub in (self._user_hub, self._market_hub):
            if not hub.is_up:
                hub.hurry()

    # How it is.

    def _feed_is_up(self) -> None:
        self._down_since = None
        self._tell_restored()
        if not self._started.called:
            self._started.callback(None)

    def _tell_restored(self) -> None:
        if self._listener is not None:
            self._listener.feed_restored()

    def _feed_is_down(self, why: str) -> None:
        self._down_since = self._down_since or self._now()
        if self._listener is not None:
            self._listener.feed_lost(
                f"The broker's events are missing since {self._down_since.astimezone():%H:%M:%S}: "
                f"{why}. riskd asks every few seconds what the accounts hold, and reconnects"
            )

    def _not_told(self, subscription: Subscription, why: str) -> None:
        """Say that the broker tells nothing of one kind; all else is told."""
        target, arguments = subscription
        what = target.removeprefix("Subscribe").lower()
        if arguments:
            what += f" of account {arguments[0]}"
        if why:
            self._tell_trouble(what, f"The broker does not tell riskd of {what}: {why}")
        else:
            self._tell_trouble(what, "")
            if self._user_hub.is_up:
                self._tell_restored()

    def _not_quoted(self, subscription: Subscription, why: str) -> None:
        _target, (contract_id,) = subscription
        sentence = f"The broker tells no quotes of {contract_id}: {why}" if why else ""
        self._tell_trouble(f"quotes of {contract_id}", sentence)

    def _tell_trouble(self, source: str, sentence: str) -> None:
        if self._listener is not None:
            self._listener.gateway_problem(source, sentence)

    # What is asked.

    def has_room(self, requests: int) -> bool:
        """Tell whether so many reads can be made without taking what is kept for enforcement."""
        return self._requests.has_room(requests)

    def search_account(self, account_id: int) -> Deferred[Payload]:
        """Return an account, restricted or not."""
        return Deferred.fromCoroutine(self._search_account(account_id))

    async def _search_account(self, account_id: int) -> Payload:
        request = "Account/search"
        fields = await self._requests.read(request, {"onlyActiveAccounts": False})
        accounts = items(request, fields, "accounts")
        for account in accounts:
            if account.get("id") == account_id:
                return account
        known = ", ".join(f"{each.get('id')} ({each.get('name')})" for each in accounts)
        raise GatewayRefusedError(
            request,
            _ACCOUNT_NOT_FOUND,
            f"this login has no such account, but {known or 'none'}",
        )

    def search_open_positions(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Return the account's open positions."""
        return self._list("Position/searchOpen", account_id, "positions", urgent=urgent)

    def search_open_orders(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Return the account's working orders."""
        return self._list("Order/searchOpen", account_id, "orders", urgent=urgent)

    def search_orders(
        self, account_id: int, since: datetime, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        """Return the account's orders placed at ``since`` or later."""
        return self._list("Order/search", account_id, "orders", urgent=urgent, since=since)

    def search_order(
        self, account_id: int, order_id: int, *, urgent: bool = False
    ) -> Deferred[Payload]:
        """Return an order, working or ended."""
        request = "Order/searchById"
        body = {"accountId": account_id, "orderId": order_id}
        found = self._one(request, body, "order", urgent=urgent)
        return found.addCallback(lambda order: of_account(request, order, account_id))

    def search_trades(self, account_id: int, since: datetime) -> Deferred[list[Payload]]:
        """Return the account's trades made at ``since`` or later, oldest first."""
        found = self._list("Trade/search", account_id, "trades", since=since)
        return found.addCallback(lambda trades: sorted(trades, key=_age))

    def search_contract(self, contract_id: str) -> Deferred[Payload]:
        """Return a contract."""
        return self._one("Contract/searchById", {"contractId": contract_id}, "contract")

    def place_order(self, account_id: int, order: Payload) -> Deferred[int]:
        """Place an order, once; return its id."""
        return Deferred.fromCoroutine(self._place_order({"accountId": account_id, **order}))

    async def _place_order(self, order: Payload) -> int:
        request = "Order/place"
        order_id = (await self._requests.change(request, order)).get("orderId")
        if type(order_id) is not int:
            raise BrokerFaultError(request, "the answer has no orderId")
        return order_id

    def cancel_order(self, account_id: int, order_id: int) -> Deferred[None]:
        """Cancel a working order."""
        return self._change("Order/cancel", {"accountId": account_id, "orderId": order_id})

    def modify_order(self, account_id: int, order_id: int, changes: Payload) -> Deferred[None]:
        """Change a working order."""
        body = {"accountId": account_id, "orderId": order_id, **changes}
        return self._change("Order/modify", body)

    def close_contract(self, account_id: int, contract_id: str) -> Deferred[None]:
        """Close a position at the market."""
        body = {"accountId": account_id, "contractId": contract_id}
        return self._change("Position/closeContract", body)

    def partial_close_contract(
        self, account_id: int, contract_id: str, size: int
    ) -> Deferred[None]:
        """Close ``size`` contracts of a position at the market."""
        body = {"accountId": account_id, "contractId": contract_id, "size": size}
        return self._change("Position/partialCloseContract", body)

    def _change(self, request: str, body: Payload) -> Deferred[None]:
        return Deferred.fromCoroutine(self._requests.change(request, body)).addCallback(
            lambda _: None
        )

    def _list(
        self,
        request: str,
        account_id: int,
        name: str,
        *,
        since: datetime | None = None,
        urgent: bool = False,
    ) -> Deferred[list[Payload]]:
        body: Payload = {"accountId": account_id}
        if since is not None:
            body["startTimestamp"] = since.astimezone(UTC).isoformat()
        asked = Deferred.fromCoroutine(self._requests.read(request, body, urgent=urgent))
        return asked.addCallback(
            lambda fields: [
                of_account(request, payload, account_id)
                for payload in items(request, fields, name)
            ]
        )

    def _one(
        self, request: str, body: Payload, name: str, *, urgent: bool = False
    ) -> Deferred[Payload]:
        asked = Deferred.fromCoroutine(self._requests.read(request, body, urgent=urgent))
        return asked.addCallback(lambda fields: item(request, fields, name))


class _QuietFactory(_HTTP11ClientFactory):
    noisy = False


def make_agent(reactor: Any) -> IAgent:
    """Return what sends HTTP requests over connections that are kept for a while."""
    pool = HTTPConnectionPool(reactor)
    # Twisted has no public name for it; each connection would be two lines of the log.
    pool._factory = _QuietFactory  # noqa: SLF001
    # The broker's side lets go of an idle connection; what is sent into one is lost.
    pool.cachedConnectionTimeout = _IDLE_SECONDS
    pool.maxPersistentPerHost = _CONNECTIONS
    return Agent(reactor, connectTimeout=_CONNECT_SECONDS, pool=pool)


def _age(trade: Payload) -> tuple[datetime, int]:
    number = trade.get("id")
    try:
        moment = FieldReader("GatewayUserTrade", trade).time("creationTimestamp")
    except MappingError:
        # Whoever reads it will say so.
        moment = datetime.min.replace(tzinfo=UTC)
    return moment, number if isinstance(number, int) else 0
