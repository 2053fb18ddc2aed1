"""HTTP responses of the gateway: payloads, refusals or unknown outcomes.

A normal refusal is HTTP 200 with ``success`` false and an error code.  After any other
failure it is unknown what became of the request.  For HTTP 429, and for a 503 that says when to try again, see
:mod:`riskd.gateway.projectx.rate_limit`.

Source: the ProjectX Gateway API documentation, and what its clients see of the live gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from riskd.gateway.broker_text import broker_text
from riskd.gateway.fields import Payload, whole
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.gateway.projectx.http_date import read_http_date
from riskd.gateway.projectx.long_answer import LongList
from riskd.gateway.projectx.rate_limit import TooManyRequestsError, retry_after_seconds
from riskd.model.exact_json import JsonError, decode_json

_MAX_HINT: Final = 64 * 1024
"""How many bytes of an error's body are read."""


class TokenRefusedError(GatewayUnansweredError):
    """The broker does not accept the token; another login may help."""


class UnsoundAnswerError(GatewayUnansweredError):
    """The answer cannot be read; nothing else on its connection is to be trusted."""


class AnswerTooLargeError(UnsoundAnswerError):
    """The answer is larger than any that riskd reads."""


def read_answer(
    request: str, status: int, retry_after: str | None, body: bytes, date: str | None = None
) -> Payload:
    """Return the fields of a response.

    :param request: its name, such as ``Order/place``.
    :param retry_after: the ``Retry-After`` header.
    :param date: the ``Date`` header, which is the broker's clock; without it, dates are by this machine's.
    :raises GatewayRefusedError: the broker understood and refused.
    :raises TokenRefusedError: the broker does not accept the token.
    :raises TooManyRequestsError: the broker refuses requests for a while.
    :raises UnsoundAnswerError: the response is no JSON, or nested too deeply.
    :raises GatewayUnansweredError: the response does not say what became of the request.
    """
    if status == HTTPStatus.UNAUTHORIZED:
        raise TokenRefusedError(request, "HTTP 401, the token is not valid")
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None
    ):
        seconds = retry_after_seconds(retry_after, read_http_date(date), datetime.now(UTC))
        raise TooManyRequestsError(request, seconds, HTTPStatus(status))
    if status == HTTPStatus.BAD_REQUEST:
        # The broker did not understand the request; repeating it would not help.
        hint = reason_of(body[:_MAX_HINT].decode(errors="replace").strip())
        raise GatewayRefusedError(request, -status, f"HTTP {status}: {hint}")
    if status != HTTPStatus.OK:
        # A proxy in between may send any status, so 404 does not mean that an order was not found.
        raise GatewayUnansweredError(request, f"HTTP {status}")
    return _read_envelope(request, body)


def _read_envelope(request: str, body: bytes) -> Payload:
    try:
        fields = decode_json(body)
    except JsonError as error:
        raise unsound(request, error) from None
    if not isinstance(fields, dict):
        raise GatewayUnansweredError(request, "the answer is not a JSON object")
    return checked(request, fields)


def unsound(request: str, error: JsonError) -> UnsoundAnswerError:
    """Return the error for an answer that cannot be read."""
    return UnsoundAnswerError(request, f"the answer is not JSON: {error}")


def checked(request: str, fields: Payload) -> Payload:
    """Return the fields of an answer of HTTP 200.

    :raises GatewayError: it is no success.
    """
    has_succeeded, code = fields.get("success"), fields.get("errorCode")
    if has_succeeded is True and code in (0, None):
        return fields
    if type(code) is not int or (code == 0 and has_succeeded is not False):
        raise GatewayUnansweredError(request, f"the answer has no error code: {broker_text(code)}")
    raise GatewayRefusedError(request, code, reason_of(fields.get("errorMessage")))


def items(request: str, fields: Payload, name: str) -> list[Payload]:
    """Return the list of payloads that a response has under ``name``.

    :raises GatewayUnansweredError: there is no list, which is not the same as an empty one.
    """
    found = fields.get(name)
    if isinstance(found, LongList):
        raise UnsoundAnswerError(request, f"the answer lists too many {name}")
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise GatewayUnansweredError(request, f"the answer has no list of {name}")
    return found


def payloads(request: str, fields: Payload, name: str, most: int) -> Iterator[Payload]:
    """Yield the payloads that a response has under ``name``.

    :param most: of those after so many, perhaps only id and contract id.
    :raises GatewayUnansweredError: there is no list, which is not the same as an empty one.
    """
    found = fields.get(name)
    if not isinstance(found, LongList):
        yield from items(request, fields, name)
        return
    try:
        yield from found.payloads(most)
    except JsonError as error:
        raise unsound(request, error) from None


def item(request: str, fields: Payload, name: str) -> Payload:
    """Return the payload that a response has under ``name``.

    :raises GatewayUnansweredError: there is no payload.
    """
    found = fields.get(name)
    if not isinstance(found, dict):
        raise GatewayUnansweredError(request, f"the answer has no {name}")
    return found


def check_account(request: str, payload: Payload, account_id: int) -> None:
    """Check that a payload is of an account, if it says of which.

    :raises GatewayUnansweredError: the payload is of another account.
    """
    found = payload.get("accountId", account_id)
    if found is not None and whole(found) != account_id:
        raise GatewayUnansweredError(request, f"the answer is of account {broker_text(found)}")


def reason_of(message: object) -> str:
    """Return the reason that the broker gives, fit for a log and a console."""
    return broker_text(message) if message else "no reason given"
