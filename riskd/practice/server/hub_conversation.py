"""What a client says on a hub and what comes of it; no socket is known here.

Source: the hub protocol's specification (dotnet/aspnetcore, ``HubProtocol.md``), and the methods in the
ProjectX Gateway API documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from riskd.gateway.signalr import (
    Close,
    Completion,
    Invocation,
    Ping,
    RecordReader,
    SignalRError,
    decode,
    decode_handshake_request,
    encode,
    encode_handshake_response,
)

LOGOUT_TARGET: Final = "GatewayLogout"


class Topic(NamedTuple):
    """Something that is told.

    :ivar target: the event.
    :ivar key: the account or the contract that it is of; ``None`` for all accounts.
    """

    target: str
    key: int | str | None = None


class Stream(NamedTuple):
    """What can be subscribed.

    :ivar target: the event.
    :ivar key: what the methods take: an account's id, a contract's, or nothing.
    """

    target: str
    key: type[int] | type[str] | None


Streams = Mapping[str, Stream]
"""The streams of a hub, by the end of their methods' names."""

USER_HUB: Final[Streams] = {
    "Accounts": Stream("GatewayUserAccount", None),
    "Orders": Stream("GatewayUserOrder", int),
    "Positions": Stream("GatewayUserPosition", int),
    "Trades": Stream("GatewayUserTrade", int),
}
MARKET_HUB: Final[Streams] = {
    "ContractQuotes": Stream("GatewayQuote", str),
    "ContractTrades": Stream("GatewayTrade", str),
    "ContractMarketDepth": Stream("GatewayDepth", str),
}

_SUBSCRIBE: Final = "Subscribe"
_UNSUBSCRIBE: Final = "Unsubscribe"


class Send(NamedTuple):
    """Send a record."""

    record: bytes


class Join(NamedTuple):
    """Tell the client of a topic from now on."""

    topic: Topic


class Leave(NamedTuple):
    """Tell the client of a topic no more."""

    topic: Topic


class Pinged(NamedTuple):
    """The client gives signs of life; from now on it may be missed."""


class End(NamedTuple):
    """Close the connection."""


Step = Send | Join | Leave | Pinged | End
"""Something to do for a client."""


class _InvocationError(Exception):
    """A method cannot be invoked; the text says why."""


class Conversation:
    """One client of a hub, from its handshake on.

    :param streams: those of the hub.
    :param exists: tells whether there is a topic's account or contract.
    :ivar has_begun: whether the handshake is done.
    """

    def __init__(self, streams: Streams, exists: Callable[[Topic], bool]) -> None:
        self._streams = streams
        self._exists = exists
        self._reader = RecordReader()
        self._is_logged_out = False
        self.has_begun = False

    def receive(self, data: bytes) -> list[Step]:
        """Return what is to be done about bytes from the client."""
        steps: list[Step] = []
        try:
            for record in self._reader.feed(data):
                steps += self._record(record)
        except SignalRError as error:
            # The text quotes what was sent, which only the client may see again.
            sentence = str(error)
            sorry = (
                encode(Close(sentence)) if self.has_begun else encode_handshake_response(sentence)
            )
            return [*steps, Send(sorry), End()]
        return steps

    def log_out(self) -> list[Step]:
        """Return what is to be done when the client's session has ended: it is told, and is deaf."""
        self._is_logged_out = True
        return [Send(encode(Invocation(LOGOUT_TARGET, ())))] if self.has_begun else [End()]

    def _record(self, record: bytes) -> list[Step]:
        if not self.has_begun:
            decode_handshake_request(record)
            self.has_begun = True
            return [Send(encode_handshake_response())]
        message = decode(record)
        if isinstance(message, Invocation):
            return self._invoke(message)
        if isinstance(message, Ping):
            return [Pinged()]
        return [End()] if isinstance(message, Close) else []

    def _invoke(self, invocation: Invocation) -> list[Step]:
        name = invocation.invocation_id
        try:
            step = self._step(invocation)
        except _InvocationError as error:
            # Without an id nobody waits to hear of it.
            return [] if name is None else [Send(encode(Completion(name, error=str(error))))]
        # The first event must not overtake the answer.
        return [step] if name is None else [Send(encode(Completion(name, 0))), step]

    def _step(self, invocation: Invocation) -> Step:
        """Return what a method does.

        :raises _InvocationError: it cannot be done.
        """
        target = invocation.target
        prefix = _UNSUBSCRIBE if target.startswith(_UNSUBSCRIBE) else _SUBSCRIBE
        stream = self._streams.get(target.removeprefix(prefix))
        if stream is None or not target.startswith(prefix):
            raise _InvocationError(f"Unknown hub method '{target[:80]}'")
        topic = Topic(stream.target, _key(target, stream, invocation.arguments))
        if prefix == _UNSUBSCRIBE:
            return Leave(topic)
        if self._is_logged_out:
            raise _InvocationError("The session has ended; log in again.")
        if not self._exists(topic):
            raise _InvocationError(f"{target}: there is no {topic.key!r:.80}.")
        return Join(topic)


def _key(target: str, stream: Stream, arguments: tuple[Any, ...]) -> int | str | None:
    wanted = 0 if stream.key is None else 1
    if len(arguments) != wanted:
        raise _InvocationError(f"{target} takes {wanted} argument(s), not {len(arguments)}.")
    if stream.key is None:
        return None
    key: int | str = arguments[0]
    if type(key) is not stream.key:
        kind = "a number" if stream.key is int else "a text"
        raise _InvocationError(f"{target} takes {kind}.")
    return key
