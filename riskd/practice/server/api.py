"""The REST API, from a request to its response, without bytes or sockets."""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.model.exact_json import encode_json
from riskd.practice.exchange import OrderRejectedError
from riskd.practice.request_limit import RequestLimit
from riskd.practice.server.bodies import BodyError, LoginKey, read_body
from riskd.practice.server.endpoints import ENDPOINTS, Backend
from riskd.practice.server.tokens import Tokens

_PING: Final = "/api/Status/ping"
_LOGIN: Final = "/api/Auth/loginKey"
_VALIDATE: Final = "/api/Auth/validate"
_LOGOUT: Final = "/api/Auth/logout"
_SESSIONS: Final = (_LOGIN, _VALIDATE, _LOGOUT, "/api/Practice/logout")
_BARS: Final = "/api/History/retrieveBars"
_PRACTICE: Final = "/api/Practice/"

_BARS_LIMIT: Final = (50, 30.0)
"""So many requests for bars are answered in so many seconds."""

_LIMIT: Final = (200, 60.0)
"""The same for all others together.  Source of both: the ProjectX Gateway API documentation."""

_INVALID_CREDENTIALS: Final = 3


class Response(NamedTuple):
    """A response; its body is JSON."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Api:
    """Responds to requests.

    :param seconds: a clock that does not go back, for the limits of requests.
    :param log_out: called to log out the clients of all hubs.
    """

    def __init__(
        self,
        backend: Backend,
        tokens: Tokens,
        seconds: Callable[[], float],
        log_out: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._tokens = tokens
        self._seconds = seconds
        self._log_out = log_out
        self._bars_limit = RequestLimit(*_BARS_LIMIT)
        self._limit = RequestLimit(*_LIMIT)

    async def respond(self, method: str, path: str, token: str, body: bytes) -> Response | None:
        """Return the response to a request; ``None`` to cut the connection without one.

        :param token: the bearer's token; empty if there is none.
        """
        refusal = self._refusal(method, path, token)
        if refusal is not None or path in (_PING, _LOGIN, _VALIDATE, _LOGOUT):
            # These never reach the exchange, and so are not delayed there.
            await self._backend.gateway.round_trip()
        if refusal is not None:
            return refusal
        if path == _PING:
            return Response(HTTPStatus.OK, encode_json("pong"))
        envelope = {"success": True, "errorCode": 0, "errorMessage": None}
        try:
            fields = await self._fields(path, token, body)
            return Response(HTTPStatus.OK, encode_json(envelope | fields))
        except BodyError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error), {error.field: [str(error)]})
        except GatewayUnansweredError:
            return None

    def _refusal(self, method: str, path: str, token: str) -> Response | None:
        """Return why a request is refused before its body is read; ``None`` if it is not."""
        # First, because a path or a method that does not exist does not count against the limits.
        if path not in (_PING, *_SESSIONS, *ENDPOINTS):
            return problem(HTTPStatus.NOT_FOUND, f"There is no {path}; paths are case-sensitive.")
        allowed = "GET" if path == _PING else "POST"
        if method != allowed:
            return wrong_method(path, allowed)
        # No broker has the practice endpoints, so they do not count against a broker's limits.
        if not path.startswith(_PRACTICE):
            limit = self._bars_limit if path == _BARS else self._limit
            wait = limit.wait(self._seconds())
            if wait:
                return problem(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "Too many requests.",
                    headers=(("Retry-After", str(math.ceil(wait))),),
                )
        # After the limit, so that guessing tokens is limited, too.
        if path in (_PING, _LOGIN) or self._tokens.is_good(token):
            return None
        return unauthorized()

    async def _fields(self, path: str, token: str, body: bytes) -> Payload:
        """Return the fields of the response; those of a refusal replace the envelope's."""
        if path in _SESSIONS:
            return self._session_fields(path, token, body)
        endpoint = ENDPOINTS[path]
        read = read_body(body, endpoint.body)
        try:
            return await endpoint.act(self._backend, read) or {}
        except GatewayRefusedError as refusal:
            fields = endpoint.when_refused | _failure(refusal.code, refusal.why)
            if isinstance(refusal, OrderRejectedError):
                fields["orderId"] = refusal.order_id
            return fields

    def _session_fields(self, path: str, token: str, body: bytes) -> Payload:
        if path == _LOGIN:
            credentials = read_body(body, LoginKey)
            issued = self._tokens.log_in(credentials.user_name, credentials.api_key)
            failure = _failure(_INVALID_CREDENTIALS, "Invalid credentials.")
            return {"token": issued} if issued else {"token": None, **failure}
        if path == _VALIDATE:
            return {"newToken": self._tokens.issue()}
        if path == _LOGOUT:
            self._tokens.revoke(token)
        else:
            self._log_out()
        return {}


def problem(
    status: int,
    sentence: str,
    errors: dict[str, list[str]] | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    """Return a response that is an HTTP error.

    :param errors: sentences by the name of the wrong field.
    """
    body: dict[str, Any] = {"title": sentence, "status": status}
    return Response(status, encode_json(body | ({"errors": errors} if errors else {})), headers)


def wrong_method(path: str, method: str) -> Response:
    """Return the response to a request whose method is not ``method``."""
    return problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"{path} takes {method} only.",
        headers=(("Allow", method),),
    )


def unauthorized() -> Response:
    """Return the response to a token that is missing or not good."""
    return problem(
        HTTPStatus.UNAUTHORIZED,
        "The token is missing, expired or revoked.",
        headers=(("WWW-Authenticate", "Bearer"),),
    )


def _failure(code: int, message: str) -> Payload:
    return {"success": False, "errorCode": code, "errorMessage": message}
