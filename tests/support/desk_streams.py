"""What a desk's servers have stored, read as the relay would read it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import nats
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from riskd.desk.connection import client_context
from riskd.desk.messages import (
    Heartbeat,
    PublishedState,
    beat_subject,
    decode_beat,
    decode_state,
    events_stream,
    inbox_prefix,
    last_stream,
    number_of,
    state_subject,
)
from riskd.desk.settings import load_desk
from riskd.model.event_number import Number

_T = TypeVar("_T")


class DeskStreams:
    """The two streams of a desk, made if they are missing.

    :param config: ``desk.toml`` of the relay.
    """

    def __init__(self, config: Path) -> None:
        self._settings = load_desk(config)
        self.name = self._settings.desk
        self.servers = self._settings.servers

    def make(self) -> None:
        """Make the streams, as the relay does."""

        async def work(server: JetStreamContext) -> None:
            await server.add_stream(
                name=events_stream(self.name),
                subjects=[f"risk.{self.name}.*.*.ev.>"],
                duplicate_window=20 * 60,
            )
            await server.add_stream(
                name=last_stream(self.name),
                subjects=[f"risk.{self.name}.*.*.state", f"risk.{self.name}.*.beat"],
                max_msgs_per_subject=1,
            )

        self._do(work)

    def stored(self) -> tuple[int, int]:
        """Return how many events are stored, and their bytes."""

        async def work(server: JetStreamContext) -> tuple[int, int]:
            state = (await server.stream_info(events_stream(self.name))).state
            return state.messages, state.bytes

        return self._do(work)

    def events(self) -> list[tuple[Number, str, bytes]]:
        """Return number, subject and payload of each stored event, in the order of the stream."""

        async def work(server: JetStreamContext) -> list[tuple[Number, str, bytes]]:
            stream = events_stream(self.name)
            wanted = (await server.stream_info(stream)).state.messages
            if not wanted:
                return []
            subscription = await server.subscribe(
                f"risk.{self.name}.*.*.ev.>", stream=stream, ordered_consumer=True
            )
            found = [await subscription.next_msg(timeout=5) for _ in range(wanted)]
            return [
                (number_of((each.headers or {})["Nats-Msg-Id"]), each.subject, each.data)
                for each in found
            ]

        return self._do(work)

    def leader(self) -> str:
        """Return the name of the server that leads the stream of events; empty without one."""

        async def work(server: JetStreamContext) -> str:
            cluster = (await server.stream_info(events_stream(self.name))).cluster
            return (cluster and cluster.leader) or ""

        return self._do(work)

    def state(self, instance: str, account_id: int) -> PublishedState | None:
        """Return the last state of an account; ``None`` without one."""
        payload = self._last(state_subject(self.name, instance, account_id))
        return None if payload is None else decode_state(payload)

    def beat(self, instance: str) -> Heartbeat | None:
        """Return the last heartbeat of an instance; ``None`` without one."""
        payload = self._last(beat_subject(self.name, instance))
        return None if payload is None else decode_beat(payload)

    def _last(self, subject: str) -> bytes | None:
        async def work(server: JetStreamContext) -> bytes | None:
            try:
                return (await server.get_last_msg(last_stream(self.name), subject)).data
            except NotFoundError:
                return None

        return self._do(work)

    def _do(self, work: Callable[[JetStreamContext], Awaitable[_T]]) -> _T:
        # asyncio warns of each end of a connection with TLS.
        logging.getLogger("asyncio").setLevel(logging.ERROR)

        async def connected() -> _T:
            client: Any = await nats.connect(
                servers=list(self._settings.servers),
                tls=client_context(self._settings),
                inbox_prefix=inbox_prefix("relay"),
                connect_timeout=5,
                tls_handshake_first=True,
            )
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(connected())
