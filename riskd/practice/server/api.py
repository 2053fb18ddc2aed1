"""The REST API, from a request to its answer; it knows neither HTTP's bytes nor sockets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from riskd.gateway.exact_json import encode_json
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError, Payload
from riskd.practice.exchange import OrderRejectedError
from riskd.practice.server import rate_limit as limits
from riskd.practice.server.bodies import BodyError, LoginKey, read_body
from riskd.practice.server.endpoints import ENDPOINTS, Desk, Endpoint
from riskd.practice.server.rate_limit import RequestLimit
from riskd.practice.server.tokens import Tokens

_PING: Final = "/api/Status/ping"
_LOGIN: Final = "/api/Auth/loginKey"
_VALIDATE: Final = "/api/Auth/validate"
_LOGOUT: Final = "/api/Auth/logout"
_PRACTICE_LOGOUT: Final = "/api/Practice/logout"
_BARS: Final = "/api/History/retrieveBars"
_PRACTICE: Final = "/api/Practice/"

_OK: Final = 200
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_NOT_ALLOWED: Final = 405
_TOO_MANY: Final = 429

_INVALID_CREDENTIALS: Final = 3


class Request(NamedTuple):
    """A request.

    :ivar token: the bearer's token; empty when there is none.
    """

    method: str
    path: str
    token: str = ""
    body: bytes = b""


class Answer(NamedTuple):
    """An answer; its body is JSON."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Api:
    """Answers requests.

    :param desk: what the endpoints work on.
    :param tokens: who may ask.
    :param seconds: a clock that does not go back, for the limits of requests.
    :param log_out: called to tell all hubs of a logout.
    """

    def __init__(
        self,
        desk: Desk,
        tokens: Tokens,
        seconds: Callable[[], float],
        log_out: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._tokens = tokens
        self._seconds = seconds
        self._log_out = log_out
        self._bars_limit = RequestLimit(*limits.BARS)
        self._limit = RequestLimit(*limits.ALL_ELSE)
        self._session: dict[str, Callable[[Request], Payload]] = {
            _LOGIN: self._log_in,
            _VALIDATE: self._validate,
            _LOGOUT: self._revoke,
            _PRACTICE_LOGOUT: self._tell_logout,
        }

    async def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; ``None`` where the connection is to be cut without one."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if request.path == _PING:
            return Answer(_OK, encode_json("pong"))
        try:
            return _enveloped(await self._fields(request))
        except BodyError as error:
            return problem(_BAD_REQUEST, str(error), {error.field: [str(error)]})
        except GatewayUnansweredError:
            return None

    def _refusal(self, request: Request) -> Answer | None:
        """Return why a request is not even looked into; ``None`` if it is."""
        if request.path not in (_PING, *self._session, *ENDPOINTS):
            return problem(_NOT_FOUND, f"There is no {request.path}; upper and lower case count.")
        method = "GET" if request.path == _PING else "POST"
        if request.method != method:
            sentence = f"{request.path} is asked with {method}."
            return problem(_NOT_ALLOWED, sentence, headers=(("Allow", method),))
        wait = self._wait(request.path)
        if wait:
            after = ("Retry-After", str(math.ceil(wait)))
            return problem(_TOO_MANY, "Too many requests.", headers=(after,))
        if request.path in (_PING, _LOGIN) or self._tokens.is_good(request.token):
            return None
        return unauthorized()

    def _wait(self, path: str) -> float:
        """Return the seconds after which there is room for a request, 0 if there is; it counts."""
        if path.startswith(_PRACTICE):
            # No broker has these, and so they take nothing away from what a broker grants.
            return 0.0
        return (self._bars_limit if path == _BARS else self._limit).wait(self._seconds())

    async def _fields(self, request: Request) -> Payload:
        if request.path in self._session:
            return self._session[request.path](request)
        endpoint = ENDPOINTS[request.path]
        body = read_body(request.body, endpoint.body)
        try:
            return await endpoint.act(self._desk, body)
        except GatewayRefusedError as refusal:
            return _refused(endpoint, refusal)

    # Sessions.

    def _log_in(self, request: Request) -> Payload:
        body = read_body(request.body, LoginKey)
        token = self._tokens.log_in(body.user_name, body.api_key)
        if token is None:
            return {"token": None, **_failure(_INVALID_CREDENTIALS, "Invalid credentials.")}
        return {"token": token}

    def _validate(self, _request: Request) -> Payload:
        return {"newToken": self._tokens.issue()}

    def _revoke(self, request: Request) -> Payload:
        self._tokens.revoke(request.token)
        return {}

    def _tell_logout(self, _request: Request) -> Payload:
        self._log_out()
        return {}


def problem(
    status: int,
    sentence: str,
    errors: dict[str, list[str]] | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """Return an answer that is an error of HTTP.

    :param errors: what is wrong with each field.
    """
    body: dict[str, Any] = {"title": sentence, "status": status}
    return Answer(status, encode_json(body | ({"errors": errors} if errors else {})), headers)


def unauthorized() -> Answer:
    """Return the answer to a token that is missing, or not good."""
    headers = (("WWW-Authenticate", "Bearer"),)
    return problem(_UNAUTHORIZED, "The token is missing, expired or revoked.", headers=headers)


def _enveloped(fields: Payload) -> Answer:
    envelope = {"success": True, "errorCode": 0, "errorMessage": None}
    return Answer(_OK, encode_json(envelope | fields))


def _refused(endpoint: Endpoint, refusal: GatewayRefusedError) -> Payload:
    fields = {**endpoint.nothing, **_failure(refusal.code, refusal.message)}
    if isinstance(refusal, OrderRejectedError):
        fields["orderId"] = refusal.order_id
    return fields


def _failure(code: int, message: str) -> Payload:
    return {"success": False, "errorCode": code, "errorMessage": message}
