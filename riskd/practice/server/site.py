"""REST, negotiation and hubs as one site on one port."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import uuid4

from autobahn.twisted.resource import WebSocketResource
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from riskd.gateway.exact_json import encode_json
from riskd.host.same_host import is_same_host
from riskd.practice.exchange import Message
from riskd.practice.gateway import PracticeGateway
from riskd.practice.server.api import Answer, Api, problem, unauthorized
from riskd.practice.server.api import Request as ApiRequest
from riskd.practice.server.endpoints import Desk
from riskd.practice.server.event_feed import Feed
from riskd.practice.server.hub_conversation import MARKET_HUB, USER_HUB
from riskd.practice.server.hub_sockets import HubFactory, token_of
from riskd.practice.server.tokens import Tokens

DEFAULT_USER_NAME: Final = "practice"
DEFAULT_API_KEY: Final = "practice"

MAX_BODY_BYTES: Final = 64 * 1024
HUBS: Final = "/hubs/"

_NEGOTIATE: Final = "/negotiate"
_FORBIDDEN: Final = 403
_NOT_ALLOWED: Final = 405
_TOO_LARGE: Final = 413
_UPGRADE_REQUIRED: Final = 426
_SERVER_ERROR: Final = 500

_log = Logger()


def practice_site(
    reactor: Any,
    gateway: PracticeGateway,
    now: Callable[[], datetime],
    user_name: str = DEFAULT_USER_NAME,
    api_key: str = DEFAULT_API_KEY,
) -> PracticeSite:
    """Return a site that is the network face of ``gateway``; listen with it on a loopback address.

    :param reactor: clock of connections, limits and what is told later.
    :param gateway: whoever made it starts it and stops it, with a listener of its own or with
        :class:`riskd.practice.gateway.NoListener`.
    :param now: gives the time of day, aware; tokens expire by it.
    :param user_name: who may log in.
    :param api_key: with which key.
    """
    desk = Desk(gateway, now)
    tokens = Tokens(user_name, api_key, now)
    feed = Feed(reactor, gateway, now, Random())
    gateway.observe(lambda message: _chart(desk, message))
    hubs = {
        f"{HUBS}{name}": HubFactory(reactor, name, streams, feed)
        for name, streams in (("user", USER_HUB), ("market", MARKET_HUB))
    }

    def log_out() -> None:
        for hub in hubs.values():
            for client in tuple(hub.clients):
                tokens.revoke(client.token)
                client.log_out()

    api = Api(desk, tokens, reactor.seconds, log_out)
    return PracticeSite(reactor, PracticeResource(api, tokens, hubs), feed, tuple(hubs.values()))


def _chart(desk: Desk, message: Message) -> None:
    if message.contract_id is not None:
        at = datetime.fromisoformat(message.payload["timestamp"])
        desk.chart.add(message.contract_id, message.payload["lastPrice"], at)


class BoundedRequest(Request):
    """A request of whose body no more is kept than may be sent.

    :ivar is_too_large: whether there was more.
    """

    is_too_large = False

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, however long it is said to be."""
        super().gotLength(min(length or 0, MAX_BODY_BYTES))

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a piece of the body, or drop it."""
        content: Any = self.content
        if content.tell() + len(data) > MAX_BODY_BYTES:
            self.is_too_large = True
        else:
            super().handleContentChunk(data)


class PracticeSite(Site):
    """The site; while it listens, the hubs are told what happens."""

    def __init__(
        self,
        reactor: Any,
        resource: PracticeResource,
        feed: Feed,
        hubs: tuple[HubFactory, ...],
    ) -> None:
        super().__init__(resource, requestFactory=BoundedRequest, reactor=reactor)
        self.displayTracebacks = False
        self.noisy = False
        self._feed = feed
        self._hubs = hubs

    def startFactory(self) -> None:
        """Begin to tell."""
        super().startFactory()
        self._feed.start()

    def stopFactory(self) -> None:
        """Stop telling."""
        self._feed.stop()
        super().stopFactory()

    def log(self, request: Any) -> None:
        """Write no access log: addresses of hubs hold tokens."""

    def close_hubs(self) -> Deferred[Any]:
        """Say goodbye to all clients of the hubs; fire when they are gone."""
        return gatherResults([hub.close_all() for hub in self._hubs])


class PracticeResource(Resource):
    """Everything there is, at every path.

    :param api: what is below ``/api/``.
    :param tokens: with whose tokens hubs are opened.
    :param hubs: the hubs, by path.
    """

    isLeaf = True  # Twisted's name

    def __init__(self, api: Api, tokens: Tokens, hubs: dict[str, HubFactory]) -> None:
        super().__init__()
        self._api = api
        self._tokens = tokens
        self._hubs = {path: WebSocketResource(hub) for path, hub in hubs.items()}

    def render(self, request: Any) -> Any:
        """Answer a request, or hand its connection over to a hub."""
        path = request.path.decode("latin-1")
        refusal = _door(request)
        if refusal is not None:
            return _write(request, refusal)
        if path in self._hubs:
            refusal = self._hub_refusal(request, "GET")
            if refusal is None and request.getHeader("upgrade") is None:
                refusal = problem(_UPGRADE_REQUIRED, "A hub is a WebSocket.")
            return _write(request, refusal) if refusal else self._hubs[path].render(request)
        if path.removesuffix(_NEGOTIATE) in self._hubs:
            refusal = self._hub_refusal(request, "POST")
            return _write(request, refusal or _negotiated(request))
        return self._ask(request, path)

    def _hub_refusal(self, request: Any, method: str) -> Answer | None:
        if request.method.decode("latin-1") != method:
            return problem(
                _NOT_ALLOWED, f"It is asked with {method}.", headers=(("Allow", method),)
            )
        return None if self._tokens.is_good(_token(request)) else unauthorized()

    def _ask(self, request: Any, path: str) -> int:
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        asked = ApiRequest(
            request.method.decode("latin-1"), path, _token(request), request.content.read()
        )

        def write(answer: Answer | None) -> None:
            if gone:
                return
            if answer is None:
                request.loseConnection()
                return
            request.write(_write(request, answer))
            request.finish()

        def failed(failure: Failure) -> None:
            _log.failure("{path} failed", failure, path=path)
            write(problem(_SERVER_ERROR, "A mistake of the practice gateway; its log has more."))

        answered = Deferred.fromCoroutine(self._api.answer(asked))
        answered.addCallbacks(write, failed).addErrback(_unwritten, path)
        return NOT_DONE_YET


def _door(request: Any) -> Answer | None:
    """Return why a request is not let in; ``None`` if it is."""
    if not is_same_host(request):
        return problem(_FORBIDDEN, "Foreign Host or Origin.")
    if request.is_too_large:
        return problem(_TOO_LARGE, f"The body is larger than {MAX_BODY_BYTES} bytes.")
    return None


def _token(request: Any) -> str:
    return token_of(request.getHeader("authorization"), _query(request).get("access_token", ()))


def _query(request: Any) -> dict[str, list[str]]:
    """Return what the address asks; the body, which Twisted may take for a form, has no say in it."""
    return parse_qs(request.uri.decode("latin-1").partition("?")[2])


def _negotiated(request: Any) -> Answer:
    """Return what a client needs to connect; whatever id it brings, it is welcome without one, too."""
    version = _query(request).get("negotiateVersion", ["0"])[0]
    return Answer(
        200,
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


def _write(request: Any, answer: Answer) -> bytes:
    request.setResponseCode(answer.status)
    request.setHeader("Content-Type", "application/json")
    for name, value in answer.headers:
        request.setHeader(name, value)
    request.setHeader("Content-Length", str(len(answer.body)))
    return answer.body


def _unwritten(failure: Failure, path: str) -> None:
    _log.failure("the answer to {path} could not be written", failure, path=path)
