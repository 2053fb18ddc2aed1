"""What an HTTP answer of the gateway says: payloads, a refusal, or nothing that can be relied on.

It is pure.  A normal failure comes as HTTP 200 with ``success`` false and a code.  Whatever else is not a
success leaves open what became of the request.

Source: the ProjectX Gateway API documentation, and what its clients see of the live gateway.
"""

from __future__ import annotations

from typing import Final

from riskd.gateway.exact_json import JsonError, decode_json
from riskd.gateway.fields import whole
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError, Payload

_OK: Final = 200
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_TOO_MANY: Final = 429

MAX_RETRY_AFTER: Final = 60.0

_DEFAULT_RETRY_AFTER: Final = 10.0

_WHOLE: Final = ("id", "orderId", "type", "side", "status", "size", "fillVolume")


class TokenRefusedError(GatewayUnansweredError):
    """The token is not, or no longer, good; another login may help."""


class TooManyRequestsError(GatewayUnansweredError):
    """The broker answers no more requests for a while.

    :ivar seconds: how long, as far as it says.
    """

    def __init__(self, request: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(request, f"HTTP 429, too many requests, {seconds:g} s to wait")


class BrokerFaultError(GatewayUnansweredError):
    """Something is wrong at the broker or on the way to it, and may be over in a moment."""


def read_answer(request: str, status: int, retry_after: str | None, body: bytes) -> Payload:
    """Return the fields of an answer.

    :param request: what was asked, such as ``Order/place``.
    :param retry_after: the header of that name.
    :raises GatewayRefusedError: the broker understood and refused.
    :raises TokenRefusedError: the token is not good.
    :raises TooManyRequestsError: the broker answers no more for a while.
    :raises BrokerFaultError: the answer says nothing of what became of the request.
    """
    if status == _UNAUTHORIZED:
        raise TokenRefusedError(request, "HTTP 401, the token is not valid")
    if status == _TOO_MANY:
        raise TooManyRequestsError(request, _seconds(retry_after))
    if status == _BAD_REQUEST:
        # It was not understood, and will not be if it is asked again.
        raise GatewayRefusedError(request, -status, f"HTTP {status}{_hint(body)}")
    if status != _OK:
        # It may come from what stands between: that an order is not found is not told so.
        raise BrokerFaultError(request, f"HTTP {status}")
    return _read_envelope(request, body)


def _read_envelope(request: str, body: bytes) -> Payload:
    try:
        fields = decode_json(body)
    except JsonError as error:
        raise BrokerFaultError(request, f"the answer is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BrokerFaultError(request, "the answer is no JSON object")
    has_succeeded, code = fields.get("success"), fields.get("errorCode")
    if has_succeeded is True and code in (0, None):
        return fields
    if type(code) is not int or (code == 0 and has_succeeded is not False):
        raise BrokerFaultError(request, f"the answer has no error code: {_shown(code)}")
    raise GatewayRefusedError(request, code, words(fields.get("errorMessage")))


def items(request: str, fields: Payload, name: str) -> list[Payload]:
    """Return the list of payloads that an answer has under ``name``.

    :raises BrokerFaultError: there is none, which is not the same as an empty one.
    """
    found = fields.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BrokerFaultError(request, f"the answer has no list of {name}")
    return found


def item(request: str, fields: Payload, name: str) -> Payload:
    """Return the payload that an answer has under ``name``.

    :raises BrokerFaultError: there is none.
    """
    found = fields.get(name)
    if not isinstance(found, dict):
        raise BrokerFaultError(request, f"the answer has no {name}")
    return found


def of_account(request: str, payload: Payload, account_id: int) -> Payload:
    """Return what an answer says of an account, its ids and sizes as ``int`` where they are whole.

    :raises BrokerFaultError: it says that of another account.
    """
    read = {name: whole(payload.get(name)) for name in _WHOLE}
    plain: Payload = {name: number for name, number in read.items() if number is not None}
    told = payload.get("accountId", account_id)
    if told is not None and whole(told) != account_id:
        raise BrokerFaultError(request, f"the answer is of account {_shown(told)}")
    return {**payload, **plain, "accountId": account_id}


def _seconds(retry_after: str | None) -> float:
    if retry_after is None or not retry_after.strip().isdecimal():
        return _DEFAULT_RETRY_AFTER
    return min(float(retry_after), MAX_RETRY_AFTER)


def words(message: object) -> str:
    """Return what the broker gives as its reason, fit for a line of the log and for a console."""
    return _shown(message) if message else "no reason given"


def _hint(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    return f": {_shown(text)}" if text else ""


def _shown(what: object) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in str(what))[:200]
