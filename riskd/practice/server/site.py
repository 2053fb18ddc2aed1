"""REST, negotiation and hubs as one site on one port."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta
from http import HTTPStatus
from random import Random
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import uuid4

from autobahn.twisted.resource import WebSocketResource
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from riskd.host.bounded_site import BoundedSite
from riskd.host.loopback import LoopbackServer
from riskd.host.same_host import is_same_host
from riskd.model.exact_json import encode_json
from riskd.practice.gateway import PracticeGateway
from riskd.practice.records import Message
from riskd.practice.server.api import Api, Response, problem, unauthorized, wrong_method
from riskd.practice.server.endpoints import Backend
from riskd.practice.server.event_feed import EventFeed
from riskd.practice.server.http_date import http_date
from riskd.practice.server.hub_conversation import MARKET_HUB, USER_HUB
from riskd.practice.server.hub_sockets import HubFactory, token_of
from riskd.practice.server.tokens import Tokens

DEFAULT_USER_NAME: Final = "practice"
DEFAULT_API_KEY: Final = "practice"

MAX_BODY_BYTES: Final = 64 * 1024

MAX_CONNECTIONS: Final = 128
"""Each connection takes a file descriptor; clients of the hubs count."""

HUBS: Final = "/hubs/"

_log = Logger()


def practice_site(
    reactor: Any,
    gateway: PracticeGateway,
    user_name: str = DEFAULT_USER_NAME,
    api_key: str = DEFAULT_API_KEY,
    random: Random | None = None,
) -> PracticeSite:
    """Return a site that serves ``gateway``; listen with it on a loopback address.

    Tokens expire, and answers are dated, by the exchange's clock.

    :param reactor: times connections, limits and late events.
    :param gateway: the caller starts and stops it.
    :param user_name: the only user.
    :param api_key: that user's key.
    :param random: makes the choices of the hubs' quirks.
    """
    backend = Backend(gateway)
    tokens = Tokens(user_name, api_key, gateway.broker_time)
    feed = EventFeed(reactor, gateway, random or Random())
    hubs = {
        f"{HUBS}{name}": HubFactory(reactor, name, streams, feed)
        for name, streams in (("user", USER_HUB), ("market", MARKET_HUB))
    }

    def chart(message: Message) -> None:
        if message.contract_id is not None:
            at = datetime.fromisoformat(message.payload["timestamp"])
            backend.chart.add(message.contract_id, message.payload["lastPrice"], at)

    def log_out() -> None:
        for hub in hubs.values():
            for client in tuple(hub.clients):
                tokens.revoke(client.token)
                client.log_out()

    # Bars stay right and fresh whatever is wrong with the quotes.
    gateway.observe(chart, before_faults=True)
    api = Api(backend, tokens, reactor.seconds, log_out)
    resource = PracticeResource(gateway, api, tokens, hubs)
    return PracticeSite(reactor, resource, feed, tuple(hubs.values()))


class BoundedRequest(Request):
    """A request that keeps no more of its body than clients may send.

    :ivar is_too_large: whether there was more.
    """

    is_too_large = False

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, whatever length the client announces."""
        super().gotLength(min(length or 0, MAX_BODY_BYTES))

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a piece of the body, or drop it."""
        content: Any = self.content
        if content.tell() + len(data) > MAX_BODY_BYTES:
            self.is_too_large = True
        else:
            super().handleContentChunk(data)


class PracticeSite(BoundedSite):
    """The site; its feed runs while it listens."""

    def __init__(
        self,
        reactor: Any,
        resource: PracticeResource,
        feed: EventFeed,
        hubs: tuple[HubFactory, ...],
    ) -> None:
        super().__init__(resource, reactor, MAX_CONNECTIONS, BoundedRequest)
        self._feed = feed
        self._hubs = hubs

    def startFactory(self) -> None:
        """Start the feed."""
        super().startFactory()
        self._feed.start()

    def stopFactory(self) -> None:
        """Stop the feed."""
        self._feed.stop()
        super().stopFactory()

    def close_hubs(self) -> Deferred[Any]:
        """Say goodbye to all clients of the hubs; fires when they are gone."""
        return gatherResults([hub.close_all() for hub in self._hubs])


class PracticeServer(LoopbackServer):
    """The site on its sockets, as a service.

    :param sockets: listening; the service takes them over.
    """

    def __init__(self, reactor: Any, site: PracticeSite, sockets: list[socket.socket]) -> None:
        url = "http://{place}"
        super().__init__(
            reactor,
            site,
            sockets,
            f"PRACTICE gateway at {url}: REST below {url}/api/, "
            f"hubs {url}{HUBS}user and {url}{HUBS}market",
        )

    def stopService(self) -> Deferred[Any]:
        """Stop accepting requests, then close the clients of the hubs."""
        return super().stopService().addCallback(lambda _: self._factory.close_hubs())


class PracticeResource(Resource):
    """The resource at every path.

    :param gateway: has the clock that answers are dated by.
    :param api: serves what is below ``/api/``.
    :param tokens: checks the tokens of clients of the hubs.
    :param hubs: the hubs, by path.
    """

    isLeaf = True  # Twisted's name

    def __init__(
        self, gateway: PracticeGateway, api: Api, tokens: Tokens, hubs: dict[str, HubFactory]
    ) -> None:
        super().__init__()
        self._gateway = gateway
        self._api = api
        self._tokens = tokens
        self._hubs = {path: WebSocketResource(hub) for path, hub in hubs.items()}
        self._negotiations = {path + "/negotiate" for path in hubs}

    def render(self, request: Any) -> Any:
        """Respond to a request, or hand its connection over to a hub."""
        # In place of Twisted's, which is by this machine's clock.
        _date(request, self._gateway.broker_time())
        # Latin-1 decodes any bytes.
        path = request.path.decode("latin-1")
        refusal = self._refusal(request, path)
        if refusal is not None:
            return _write(request, refusal)
        if path in self._hubs:
            return self._hubs[path].render(request)
        if path in self._negotiations:
            return _write(request, _negotiated(request))
        responded = Deferred.fromCoroutine(self._respond(request, path))
        responded.addErrback(
            lambda failure: _log.failure("cannot write the response to {path}", failure, path=path)
        )
        return NOT_DONE_YET

    def _refusal(self, request: Any, path: str) -> Response | None:
        """Return the response to a refused request; ``None`` to let it pass.

        The API may still refuse its own requests.
        """
        if not is_same_host(request):
            return problem(HTTPStatus.FORBIDDEN, "Foreign Host or Origin.")
        if request.is_too_large:
            return problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body is larger than {MAX_BODY_BYTES} bytes.",
            )
        is_hub = path in self._hubs
        if not is_hub and path not in self._negotiations:
            return None
        method = "GET" if is_hub else "POST"
        refusal = None
        if request.method.decode("latin-1") != method:
            refusal = wrong_method(path, method)
        elif not self._tokens.is_good(_token(request)):
            refusal = unauthorized()
        elif is_hub and request.getHeader("upgrade") is None:
            refusal = problem(HTTPStatus.UPGRADE_REQUIRED, "A hub is a WebSocket.")
        return refusal

    async def _respond(self, request: Any, path: str) -> None:
        # Twisted refuses to write to a client that has left.
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        arrived = self._gateway.broker_time()
        method, body = request.method.decode("latin-1"), request.content.read()
        try:
            response = await self._api.respond(method, path, _token(request), body)
        except Exception:  # noqa: BLE001  # an internal error must not leave the client without answer
            _log.failure("{path} failed", path=path)
            response = problem(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "Internal error of the practice gateway; its log has more.",
            )
        if gone:
            return
        if response is None:
            request.loseConnection()
        else:
            # Dated when it left, which is a latency ago.
            latency = timedelta(seconds=self._gateway.faults.latency_seconds)
            _date(request, max(arrived, self._gateway.broker_time() - latency))
            request.write(_write(request, response))
            request.finish()


def _token(request: Any) -> str:
    return token_of(request.getHeader("authorization"), _query(request).get("access_token", ()))


def _query(request: Any) -> dict[str, list[str]]:
    """Return the query of the address.

    Twisted's own ``args`` may contain the body, which it takes for a form.
    """
    return parse_qs(request.uri.decode("latin-1").partition("?")[2])


def _negotiated(request: Any) -> Response:
    """Return what a client needs to connect.

    A hub accepts any connection id, or none.
    """
    version = _query(request).get("negotiateVersion", ["0"])[0]
    return Response(
        HTTPStatus.OK,
        encode_json(
            {
                "negotiateVersion": 1 if version == "1" else 0,
                "connectionId": uuid4().hex,
                "connectionToken": uuid4().hex,
                "availableTransports": [
                    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}
                ],
            }
        ),
    )


def _date(request: Any, moment: datetime) -> None:
    request.setHeader("Date", http_date(moment))


def _write(request: Any, response: Response) -> bytes:
    """Write the head of a response; return its body."""
    request.setResponseCode(response.status)
    request.setHeader("Content-Type", "application/json")
    for name, value in response.headers:
        request.setHeader(name, value)
    request.setHeader("Content-Length", str(len(response.body)))
    return response.body
