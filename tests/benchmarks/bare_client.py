"""An Autobahn client that drops every event: no console on Autobahn can cost less.

Its argument is the daemon's port.  It writes ``{"pid": PID}`` once it is connected, and runs until its input ends.
"""

from __future__ import annotations

import os
import sys

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO

from tests.benchmarks.reactor_run import run_reactor


class Dropping(WebSocketClientProtocol):
    """Receives events, and does nothing with them."""


class Input(Protocol):
    """Waits for the end of the process's input."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: object = None) -> None:
        """Note the end."""
        self.ended.callback(None)


async def receive(port: int) -> None:
    """Receive events until the input ends."""
    factory = WebSocketClientFactory(f"ws://localhost:{port}")
    factory.protocol = Dropping
    client = await HostnameEndpoint(reactor, "localhost", port).connect(factory)
    await client.is_open
    sys.stdout.write(f'{{"pid": {os.getpid()}}}\n')
    sys.stdout.flush()
    waiting = Input()
    StandardIO(waiting)
    await waiting.ended


if __name__ == "__main__":
    run_reactor(lambda: receive(int(sys.argv[1])))
