"""A hub's side of the conversation with a client, without sockets.

A client's bytes go in, and the steps to take come out.

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
from riskd.gateway.targets import ACCOUNT, ORDER, POSITION, QUOTE, TRADE

LOGOUT_TARGET: Final = "GatewayLogout"
MARKET_TRADE: Final = "GatewayTrade"
DEPTH: Final = "GatewayDepth"

_SUBSCRIBE: Final = "Subscribe"
_UNSUBSCRIBE: Final = "Unsubscribe"


class Topic(NamedTuple):
    """Something to subscribe to.

    :ivar target: the event.
    :ivar key: the account or the contract of its events; ``None`` for all accounts.
    """

    target: str
    key: int | str | None = None


class Stream(NamedTuple):
    """Topics that share a method of the hub.

    :ivar target: the event.
    :ivar key: the type of the method's argument: an account's id, a contract's, or none.
    """

    target: str
    key: type[int] | type[str] | None


Streams = Mapping[str, Stream]
"""The streams of a hub, by the end of their methods' names."""

USER_HUB: Final[Streams] = {
    "Accounts": Stream(ACCOUNT, None),
    "Orders": Stream(ORDER, int),
    "Positions": Stream(POSITION, int),
    "Trades": Stream(TRADE, int),
}
MARKET_HUB: Final[Streams] = {
    "ContractQuotes": Stream(QUOTE, str),
    "ContractTrades": Stream(MARKET_TRADE, str),
    "ContractMarketDepth": Stream(DEPTH, str),
}


class Send(NamedTuple):
    """Send the client a record."""

    record: bytes


class Subscribe(NamedTuple):
    """Send the client a topic from now on."""

    topic: Topic


class Unsubscribe(NamedTuple):
    """Stop sending the client a topic."""

    topic: Topic


class WatchSilence(NamedTuple):
    """Cut the client if it falls silent.

    It has pinged, so it goes on pinging while it lives.
    """


class End(NamedTuple):
    """Close the connection."""


Step = Send | Subscribe | Unsubscribe | WatchSilence | End
"""Something to do for a client."""


class _InvocationError(Exception):
    """A method cannot be invoked; the text says why."""


class Conversation:
    """One client of a hub, from its handshake on.

    :param streams: those of the hub.
    :param exists: returns whether a topic's account or contract exists.
    :ivar has_begun: whether the handshake is done.
    """

    def __init__(self, streams: Streams, exists: Callable[[Topic], bool]) -> None:
        self._streams = streams
        self._exists = exists
        self._reader = RecordReader()
        self._is_logged_out = False
        self.has_begun = False

    def receive(self, data: bytes) -> list[Step]:
        """Return the steps that bytes from the client call for."""
        steps: list[Step] = []
        try:
            for record in self._reader.feed(data):
                steps += self._receive_record(record)
        except SignalRError as error:
            # The text quotes what the client sent, which belongs in no log.
            why = str(error)
            reply = encode(Close(why)) if self.has_begun else encode_handshake_response(why)
            return [*steps, Send(reply), End()]
        return steps

    def log_out(self) -> list[Step]:
        """Return the steps that end the session; refuse later subscriptions."""
        self._is_logged_out = True
        return [Send(encode(Invocation(LOGOUT_TARGET, ())))] if self.has_begun else [End()]

    def _receive_record(self, record: bytes) -> list[Step]:
        if not self.has_begun:
            decode_handshake_request(record)
            self.has_begun = True
            return [Send(encode_handshake_response())]
        message = decode(record)
        if isinstance(message, Invocation):
            return self._invoke(message)
        if isinstance(message, Ping):
            return [WatchSilence()]
        return [End()] if isinstance(message, Close) else []

    def _invoke(self, invocation: Invocation) -> list[Step]:
        steps: list[Step] = []
        error = None
        try:
            steps = [self._step(invocation)]
        except _InvocationError as failure:
            error = str(failure)
        if invocation.invocation_id is None:
            # The client waits for no completion.
            return steps
        completion = Completion(invocation.invocation_id, 0 if error is None else None, error)
        # The first event must not overtake the completion.
        return [Send(encode(completion)), *steps]

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
            return Unsubscribe(topic)
        if self._is_logged_out:
            raise _InvocationError("The session has ended; log in again.")
        if not self._exists(topic):
            raise _InvocationError(f"{target}: there is no {topic.key!r:.80}.")
        return Subscribe(topic)


def _key(target: str, stream: Stream, arguments: tuple[Any, ...]) -> int | str | None:
    """Return the key of a topic from a method's arguments.

    :raises _InvocationError: there are too many or too few, or one of another type.
    """
    # The exact type, because JSON's true is an int for Python's isinstance.
    if stream.key is not None and [type(each) for each in arguments] == [stream.key]:
        key: int | str = arguments[0]
        return key
    if arguments or stream.key is not None:
        wanted = {None: "no argument", int: "one number", str: "one text"}[stream.key]
        raise _InvocationError(f"{target} takes {wanted}.")
    return None
