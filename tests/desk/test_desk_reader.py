"""What the relay reads of a desk's servers when it connects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.desk_reader import DeskReader, last_stream
from riskd.desk.links import LOST_SECONDS

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


class Servers:
    """What stands in for the servers: a stream of events that is empty, and one of last values.

    :ivar stored: subjects of the last values, with their age in seconds.
    :ivar later: those that come after them.
    """

    def __init__(self, time: datetime | None) -> None:
        self.stored: list[tuple[str, float]] = []
        self.later: list[tuple[str, float]] = []
        self._time = time

    def jetstream(self, **_options: object) -> Servers:
        return self

    async def stream_info(self, name: str) -> Any:
        is_last = name == last_stream("alpha", 1).name
        state = SimpleNamespace(messages=len(self.stored) if is_last else 0, last_seq=0)
        config = SimpleNamespace(name=name, subjects=["a subject"])
        return SimpleNamespace(config=config, state=state, created=NOON)

    async def request(self, _subject: str, **_options: object) -> Any:
        answer = {} if self._time is None else {"ts": self._time}
        return SimpleNamespace(data=msgspec.json.encode({"type": "an answer", **answer}))

    async def subscribe(
        self, _subject: str, cb: Callable[[Any], Awaitable[None]], stream: str = "", **_more: Any
    ) -> None:
        if stream == last_stream("alpha", 1).name:
            messages = [*self.stored, *self.later]
            for number, (subject, age) in enumerate(messages, 1):
                stamp = NOON - timedelta(seconds=age)
                metadata = SimpleNamespace(
                    timestamp=stamp, num_pending=max(0, len(self.stored) - number)
                )
                await cb(SimpleNamespace(subject=subject, data=b"{}", metadata=metadata))


class Reader(SimpleNamespace):
    """A receiver that notes heartbeats and states."""

    def __init__(self) -> None:
        super().__init__(beats=[], states=[], is_caught_up=asyncio.Event())

    async def recovered(self) -> None:
        pass

    async def read_states(self) -> None:
        pass

    def note_connection(self, *, is_connected: bool) -> None:
        pass

    def first_place(self, _stream: str, _last: int) -> int:
        return 1

    def receive_state(self, subject: str, _payload: bytes) -> None:
        self.states.append(subject)

    def receive_beat(self, subject: str, _payload: bytes, age: timedelta = timedelta(0)) -> None:
        self.beats.append((subject, age.total_seconds()))

    def caught_up(self) -> None:
        self.is_caught_up.set()


def read(servers: Servers) -> Reader:
    """Return what was received until all that was stored is."""

    async def work() -> Reader:
        receiver = Reader()
        client: Any = servers
        reading = asyncio.ensure_future(DeskReader("alpha", 1, receiver).use(client))
        await receiver.is_caught_up.wait()
        reading.cancel()
        await asyncio.wait((reading,))
        return receiver

    return asyncio.run(work())


class StoredBeatTests(SynchronousTestCase):
    """Heartbeats that came while the relay had no connection."""

    def test_each_is_as_old_as_the_clock_of_the_servers_says(self) -> None:
        servers = Servers(NOON)
        # The clock of another server may be ahead.
        servers.stored = [("anna.beat", 3.0), ("anna.123.state", 1.0), ("ben.beat", -0.5)]
        received = read(servers)
        self.assertEqual(received.beats, [("anna.beat", 3.0), ("ben.beat", 0.0)])
        self.assertEqual(received.states, ["anna.123.state"])

    def test_those_of_a_lost_link_say_since_when_it_is(self) -> None:
        servers = Servers(NOON)
        servers.stored = [("anna.beat", 10 * LOST_SECONDS)]
        self.assertEqual(read(servers).beats, servers.stored)

    def test_later_ones_come_over_another_subscription(self) -> None:
        servers = Servers(NOON)
        servers.stored, servers.later = [("anna.beat", 3.0)], [("anna.beat", -2.0)]
        self.assertEqual(len(read(servers).beats), 1)

    def test_servers_that_do_not_tell_the_time_have_none(self) -> None:
        servers = Servers(None)
        servers.stored = [("anna.beat", 3.0), ("anna.123.state", 1.0)]
        received = read(servers)
        self.assertEqual((received.beats, received.states), ([], ["anna.123.state"]))
