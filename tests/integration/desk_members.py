"""The people of a desk, connected to its server with the files that ``riskctl desk`` has written."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import nats
from nats.aio.client import Client
from nats.js.api import StreamConfig
from nats.js.errors import APIError, NoStreamResponseError

from riskd.desk.messages import events_stream, inbox_prefix, last_stream
from tests.support.waiting import DEADLINE_SECONDS, POLL_SECONDS

EVENTS: Final = events_stream("alpha")
LAST: Final = last_stream("alpha")
"""The streams of the desk alpha."""


class Member:
    """Somebody who is connected with the files of a directory.

    :ivar client: the connection.
    :ivar refused: what the server has said against this client.
    """

    def __init__(self, client: Client, refused: list[str]) -> None:
        self.client = client
        self.refused = refused
        self.streams = client.jetstream(timeout=DEADLINE_SECONDS)

    async def publish(self, subject: str) -> None:
        """Publish as an uplink does, and wait until the stream has it."""
        await accepted(lambda: self.streams.publish(subject, b"{}", timeout=DEADLINE_SECONDS))

    async def says(self) -> list[str]:
        """Return what the server says against all that was sent so far."""
        # The first ping may overtake what was sent before it.
        await self.client.flush()
        await self.client.flush()
        said = list(self.refused)
        self.refused.clear()
        return said


async def accepted(request: Callable[[], Awaitable[object]]) -> None:
    """Request something until the servers accept it.

    Those that have just been started may not know each other, or the streams, yet.
    """
    while True:
        try:
            await request()
        except (NoStreamResponseError, APIError):
            await asyncio.sleep(POLL_SECONDS)
        else:
            return


def context_of(directory: Path, authority: Path | None = None) -> ssl.SSLContext:
    """Return what TLS needs of the files in a directory.

    :param authority: that of the server; by default the directory's.
    """
    settings = tomllib.loads((directory / "desk.toml").read_text())
    context = ssl.create_default_context(cafile=authority or directory / settings["ca"])
    context.load_cert_chain(directory / settings["certificate"], directory / settings["key"])
    return context


def servers_of(directory: Path) -> list[str]:
    servers: list[str] = tomllib.loads((directory / "desk.toml").read_text())["servers"]
    return servers


@asynccontextmanager
async def member(directory: Path, server: int = 0) -> AsyncIterator[Member]:
    """Connect with the files in a directory; each error is noted."""
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error))

    client = await nats.connect(
        servers_of(directory)[server],
        tls=context_of(directory),
        tls_handshake_first=True,
        inbox_prefix=inbox_prefix(directory.name),
        allow_reconnect=False,
        connect_timeout=DEADLINE_SECONDS,
        error_cb=note,
    )
    try:
        yield Member(client, refused)
    finally:
        await client.close()


def is_let_in(directory: Path, context: ssl.SSLContext | None = None) -> bool:
    """Return whether the server takes commands of somebody; ``context`` stands in for the directory's own.

    Without a client, which would try again, or leave a connection open that was refused.
    """
    with connected(directory) as plain:
        try:
            with (context or context_of(directory)).wrap_socket(
                plain, server_hostname=plain.getpeername()[0]
            ) as secure:
                secure.sendall(b'CONNECT {"verbose": false}\r\nPING\r\n')
                with secure.makefile("rb") as lines:
                    return lines.readline().startswith(b"INFO ") and b"PONG\r\n" in lines
        except OSError:
            return False


def connected(directory: Path) -> socket.socket:
    """Return a connection to somebody's server, on which nothing is said yet."""
    host, _, port = servers_of(directory)[0].removeprefix("tls://").rpartition(":")
    return socket.create_connection((host, int(port)), DEADLINE_SECONDS)


async def make_streams(relay: Member, replicas: int = 1) -> None:
    """Make the two streams of the desk, as the relay does."""
    for name, subjects in (
        (EVENTS, ["risk.alpha.*.*.ev.>"]),
        (LAST, ["risk.alpha.*.*.state", "risk.alpha.*.beat"]),
    ):
        config = StreamConfig(
            name=name,
            subjects=subjects,
            num_replicas=replicas,
            max_msgs_per_subject=1 if name == LAST else -1,
        )
        await accepted(partial(relay.streams.add_stream, config))


async def stored(relay: Member) -> dict[str, int]:
    """Return how many messages the streams have of each subject."""
    found: dict[str, int] = {}
    for name in (EVENTS, LAST):
        found |= (await relay.streams.stream_info(name, subjects_filter=">")).state.subjects or {}
    return found
