"""The options of Autobahn's server protocol that riskd's WebSocket servers share."""

from __future__ import annotations

from typing import Any


def server_options(
    *, max_message_bytes: int, handshake_seconds: float, closing_seconds: float
) -> dict[str, Any]:
    """Return the options for ``WebSocketServerFactory.setProtocolOptions``.

    :param max_message_bytes: the largest message that a client may send.
    :param handshake_seconds: how long an opening handshake may take.
    :param closing_seconds: how long a closing handshake may take.
    """
    return {
        # The version of RFC 6455; its drafts are long gone.
        "versions": [13],
        # Autobahn would answer a plain request with a page of its own.
        "webStatus": False,
        # A protocol error is answered with a close frame, so that the client's author learns of it.
        "failByDrop": False,
        "maxFramePayloadSize": max_message_bytes,
        "maxMessagePayloadSize": max_message_bytes,
        "openHandshakeTimeout": handshake_seconds,
        "closeHandshakeTimeout": closing_seconds,
        # Autobahn's pings cost twice as much, and all clients of one second are pinged at once.
        "autoPingInterval": 0,
        # The same-host check decides about origins; Autobahn would answer 400 instead of 403.
        "allowNullOrigin": True,
    }
