"""Reads what a desk's servers have: last values, events, then what comes.

One call of :meth:`DeskReader.use` is one connection.  The library's ordered consumer fetches again what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import NotFoundError
from twisted.logger import Logger

from riskd.desk import messages

API_SECONDS: Final = 5.0
"""How long the servers may take to answer."""

HEARTBEAT_SECONDS: Final = 2.0
"""A consumer that is silent for twice as long is made anew."""

EVENTS_AGE: Final = 7 * 24 * 3600.0
DUPLICATE_SECONDS: Final = 20 * 60.0
"""How long events are kept, and how long an event that is published again is recognized."""

_REPLICAS: Final = 3
_STATES_SECONDS: Final = 60.0

_log = Logger()


class Receiver(Protocol):
    """What takes the messages of a desk."""

    async def recovered(self) -> None:
        """Return when it can take any."""

    def note_connection(self, *, is_connected: bool) -> None:
        """Note that there is a connection, or that it is lost."""

    def receive_event(self, subject: str, id_: str, payload: bytes, place: int) -> None:
        """Take a stored event."""

    def receive_quote(self, subject: str, payload: bytes) -> None:
        """Take a quote."""

    def receive_state(self, subject: str, payload: bytes) -> None:
        """Take a published state."""

    def receive_beat(self, subject: str, payload: bytes, age: timedelta = timedelta(0)) -> None:
        """Take a heartbeat.

        :param age: how long ago it was sent.
        """

    async def read_states(self) -> None:
        """Return when all states so far are read."""

    def first_place(self, stream: str, last: int) -> int:
        """Return the place of the first event to read.

        :param stream: identifies the stream of events.
        :param last: the place of its last message.
        """

    def caught_up(self) -> None:
        """Note that all stored events were received."""


def event_stream(desk: str, servers: int) -> StreamConfig:
    """Return the stream of a desk's events."""
    return StreamConfig(
        name=messages.events_stream(desk),
        subjects=[f"risk.{desk}.*.*.ev.>"],
        max_age=EVENTS_AGE,
        duplicate_window=DUPLICATE_SECONDS,
        storage=StorageType.FILE,
        num_replicas=_replicas(servers),
    )


def last_stream(desk: str, servers: int) -> StreamConfig:
    """Return the stream of a desk's last values: states and heartbeats."""
    return StreamConfig(
        name=messages.last_stream(desk),
        subjects=[f"risk.{desk}.*.*.state", f"risk.{desk}.*.beat"],
        max_msgs_per_subject=1,
        storage=StorageType.FILE,
        num_replicas=_replicas(servers),
    )


def _replicas(servers: int) -> int:
    return _REPLICAS if servers >= _REPLICAS else 1


class DeskReader:
    """Reads a desk.

    :param servers: how many servers it has.
    :param receiver: takes the messages.
    """

    def __init__(self, desk: str, servers: int, receiver: Receiver) -> None:
        self._desk = desk
        self._servers = servers
        self._receiver = receiver

    async def use(self, client: Client) -> None:
        """Read over a connection until it is lost, which cancels this."""
        await self._receiver.recovered()
        try:
            await self._read(client)
        finally:
            self._receiver.note_connection(is_connected=False)

    async def _read(self, client: Client) -> None:
        server = client.jetstream(timeout=API_SECONDS)
        events = await _made(server, event_stream(self._desk, self._servers))
        last = await _made(server, last_stream(self._desk, self._servers))
        await client.subscribe(f"risk.{self._desk}.*.beat", cb=_taking(self._take_beat))
        await client.subscribe(f"risk.{self._desk}.*.*.q.>", cb=_taking(self._take_quote))
        await self._read_last(client, server, last)
        # Only now links are lost for another reason; that of most was this connection.
        self._receiver.note_connection(is_connected=True)
        await self._read_events(server, events)
        await asyncio.Event().wait()

    async def _read_last(
        self, client: Client, server: JetStreamContext, stream: StreamInfo
    ) -> None:
        """Read the last values; return when those that were there are read.

        The last heartbeats say how each link is; without them each would seem lost until its next one, after each loss
        of the relay's own connection.
        """
        has_all = asyncio.Event()
        beats: list[Msg] = []

        def take(message: Msg) -> None:
            if message.subject.endswith(".state"):
                self._receiver.receive_state(message.subject, message.data)
            elif not has_all.is_set():
                beats.append(message)
            if not message.metadata.num_pending:
                has_all.set()

        if not stream.state.messages:
            has_all.set()
        await _follow(server, stream, take, deliver_policy=DeliverPolicy.LAST_PER_SUBJECT)
        await asyncio.wait_for(has_all.wait(), _STATES_SECONDS)
        await self._receiver.read_states()
        now = await _server_time(client, str(stream.config.name)) if beats else None
        if now is None:
            return
        for message in beats:
            age = max(now - message.metadata.timestamp, timedelta(0))
            self._receiver.receive_beat(message.subject, message.data, age)

    async def _read_events(self, server: JetStreamContext, stream: StreamInfo) -> None:
        last = stream.state.last_seq
        begin = self._receiver.first_place(str(stream.created), last)

        def take(message: Msg) -> None:
            place = message.metadata.sequence.stream
            id_ = (message.headers or {}).get("Nats-Msg-Id", "")
            self._receiver.receive_event(message.subject, id_, message.data, place)
            if place >= last:
                self._receiver.caught_up()

        if begin > last or not stream.state.messages:
            self._receiver.caught_up()
        policy = DeliverPolicy.BY_START_SEQUENCE
        await _follow(server, stream, take, deliver_policy=policy, opt_start_seq=begin)

    def _take_beat(self, message: Msg) -> None:
        self._receiver.receive_beat(message.subject, message.data)

    def _take_quote(self, message: Msg) -> None:
        self._receiver.receive_quote(message.subject, message.data)


class _StreamAnswer(msgspec.Struct):
    """What the servers answer about a stream, of which the library leaves this out.

    :ivar ts: the time of day there.  Source: nats-server, server/stream.go, ``StreamInfo``.
    """

    ts: datetime | None = None


async def _server_time(client: Client, stream: str) -> datetime | None:
    """Return the time by the clock with which the servers stamp, if they tell it."""
    answer = await client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=API_SECONDS)
    return msgspec.json.decode(answer.data, type=_StreamAnswer).ts


async def _made(server: JetStreamContext, config: StreamConfig) -> StreamInfo:
    """Return a stream, which is made if it is missing."""
    try:
        return await server.stream_info(str(config.name))
    except NotFoundError:
        _log.info("making the stream {name}", name=config.name)
        return await server.add_stream(config)


async def _follow(
    server: JetStreamContext, stream: StreamInfo, take: Callable[[Msg], None], **begin: Any
) -> None:
    """Take a stream's messages in order.

    :param begin: the consumer's fields that say where they begin.
    """
    await server.subscribe(
        "",
        stream=stream.config.name,
        cb=_taking(take),
        ordered_consumer=True,
        idle_heartbeat=HEARTBEAT_SECONDS,
        config=ConsumerConfig(filter_subjects=stream.config.subjects, **begin),
    )


def _taking(take: Callable[[Msg], None]) -> Callable[[Msg], Awaitable[None]]:
    """Return a callback of the library that logs an exception and goes on."""

    async def take_message(message: Msg) -> None:
        try:
            take(message)
        except Exception:  # noqa: BLE001  # the next message may be better
            _log.failure("internal error in a message of {subject}", subject=message.subject)

    return take_message
