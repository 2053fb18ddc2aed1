"""The uplink: publishes to a desk what one riskd has journaled.

It is a process of its own beside riskd, and only reads: the outbox in the journal, the published copy, and the
broadcast.  riskd does not know of it, and nothing comes back.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from math import inf, isfinite
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from nats.aio.client import Client
from nats.js import JetStreamContext
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from riskd.desk.connection import canceled
from riskd.desk.copy_rows import read_states
from riskd.desk.messages import (
    Heartbeat,
    PublishedState,
    beat_subject,
    encode_beat,
    encode_state,
    event_subject,
    events_stream,
    last_stream,
    message_id,
    quote_subject,
    state_subject,
)
from riskd.desk.riskd_directory import RiskdDirectory
from riskd.desk.settings import DeskSettings
from riskd.desk.state_schedule import StateSchedule
from riskd.desk.stream import Stream
from riskd.journal.database import SUFFIXES
from riskd.journal.outbox import (
    DROPPED_FACT,
    OUTBOX_FACT,
    SENT_AGAIN,
    OutboxEvent,
    number_before,
    read_acknowledged,
    read_outbox,
    write_acknowledged,
)
from riskd.journal.reader import StateFileError, published_mark
from riskd.journal.schema import JOURNAL_NAME
from riskd.model.contracts import known_contract
from riskd.model.event_number import Number
from riskd.model.events import DaemonStatus, EventError
from riskd.model.exact_json import encode_json
from riskd.model.wire import decode_data

BATCH: Final = 200
"""Events that are under way before the first of them is acknowledged."""

ACKNOWLEDGED_SECONDS: Final = 5.0
"""How long the servers may take to store an event."""

BEAT_SECONDS: Final = 5.0
STATE_SECONDS: Final = 1.0
QUOTE_SECONDS: Final = 0.25
"""How often heartbeats are sent, and at most states and each contract's quotes."""

_LOOK_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 1.0
_FIRST_LOOK_SECONDS: Final = 2.0

_LOST_WAKE_SECONDS: Final = 5.0
"""The journal is read so often, even if its files seem unchanged: times of files are coarse."""

_LOCK_NAME: Final = "riskd-uplink.lock"

_T = TypeVar("_T")

_log = Logger()


class Uplink:
    """Publishes one riskd to its desk.

    :param settings: with an instance.
    :param stream: riskd's broadcast.
    :param place: where riskd's state is.
    :param now: returns the time of day, aware.
    :param secret: makes the ids of messages.
    """

    def __init__(
        self,
        settings: DeskSettings,
        stream: Stream,
        place: RiskdDirectory,
        now: Callable[[], datetime],
        secret: bytes,
    ) -> None:
        self._desk = settings.desk
        self._instance = settings.instance or ""
        self._place = place
        self._stream = stream
        self._now = now
        self._secret = secret
        self._last = Number(0, 0)
        self._states: dict[int, PublishedState] = {}
        self._problems: dict[str, str] = {}

    async def use(self, client: Client) -> None:
        """Publish over a connection until it fails."""
        directory = await self._known_directory()
        server = client.jetstream(timeout=ACKNOWLEDGED_SECONDS)
        with _only_one(directory):
            tasks = [
                asyncio.ensure_future(part)
                for part in (
                    self._send_events(server, directory),
                    self._send_states(client, server, directory),
                    self._send_quotes(client),
                    self._send_beats(client),
                    self._watch_directory(directory),
                )
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        await task
            finally:
                await canceled(*tasks)

    async def _watch_directory(self, directory: Path) -> None:
        """Return once riskd has named another directory."""
        await _until(lambda: self._place.current() != directory)

    # The journal.

    async def _send_events(self, server: JetStreamContext, directory: Path) -> None:
        acknowledged = read_acknowledged(directory, self._whose) or Number(0, 0)
        after = await self._read("outbox", _begin, directory, acknowledged, self._now())
        # The first of a connection alone: nats-py makes it wait until answers can be received, and later ones pass it.
        limit = 1
        while True:
            mark = _journal_mark(directory)
            events = await self._read("outbox", read_outbox, directory, after, limit)
            if not events:
                await _until(
                    lambda mark=mark: _journal_mark(directory) != mark, seconds=_LOST_WAKE_SECONDS
                )
                continue
            # All of a run are stored before the first of the next: a later run ends the wait for an earlier one's.
            events = [each for each in events if each.number.epoch == events[0].number.epoch]
            self._last = max(self._last, events[-1].number)
            await self._publish(server, events)
            after, limit = events[-1].number, BATCH
            if after > acknowledged:
                acknowledged = after
                await self._write_acknowledged(directory, acknowledged)

    async def _write_acknowledged(self, directory: Path, number: Number) -> None:
        try:
            await _in_thread(write_acknowledged, directory, self._whose, number)
        except OSError as error:
            # Then they are sent again after the next start, and riskd keeps them for longer.
            self._report("acknowledged", f"cannot write how far the desk has got: {error}")
        else:
            self._report("acknowledged", "")

    async def _publish(self, server: JetStreamContext, events: Sequence[OutboxEvent]) -> None:
        """Publish events at once; return when all are stored."""
        await asyncio.gather(
            *(
                server.publish(
                    event_subject(self._desk, self._instance, event.type, event.account_id),
                    _on_wire(event),
                    # Another stream that takes these subjects is not the desk's.
                    stream=events_stream(self._desk),
                    headers={
                        "Nats-Msg-Id": message_id(
                            self._instance, event.account_id, event.number, self._secret
                        )
                    },
                )
                for event in events
            )
        )

    # The published copy.

    async def _send_states(
        self, client: Client, server: JetStreamContext, directory: Path
    ) -> None:
        mark: object = None
        schedule, clock = StateSchedule(), asyncio.get_running_loop().time
        while True:
            found = published_mark(directory)
            if found is not None and found != mark:
                mark = found
                self._states = await self._read("copy", self._read_states, directory)
                schedule.published(self._states, clock())
            for account_id, state in schedule.take_due(clock()).items():
                await self._send_state(client, server, account_id, state)
            await asyncio.sleep(STATE_SECONDS)

    async def _send_state(
        self, client: Client, server: JetStreamContext, account_id: int, state: PublishedState
    ) -> None:
        payload = await _in_thread(encode_state, state)
        if len(payload) > client.max_payload:
            self._report(
                f"state {account_id}",
                f"the state of account {account_id} has {len(payload)} bytes, and the desk's servers take"
                f" {client.max_payload}",
            )
            return
        subject = state_subject(self._desk, self._instance, account_id)
        await server.publish(subject, payload, stream=last_stream(self._desk))

    def _read_states(self, directory: Path) -> dict[int, PublishedState]:
        states = read_states(directory)
        facts = next((state.facts for state in states.values()), {})
        if self._stream.journal not in ("", facts.get("instance", "")):
            raise StateFileError(f"{directory} is not the state directory of the riskd that runs")
        no_outbox = "" if OUTBOX_FACT in facts else "riskd keeps no events for a desk: set outbox"
        self._report("outbox setting", no_outbox and f"{no_outbox} = true in [desk]")
        return states

    # The broadcast.

    async def _send_quotes(self, client: Client) -> None:
        while True:
            for (account_id, contract_id), quote in self._stream.take_quotes().items():
                contract = known_contract(contract_id)
                ticker = contract_id if contract is None else contract.name
                await client.publish(
                    quote_subject(self._desk, self._instance, account_id, ticker), quote
                )
            await asyncio.sleep(QUOTE_SECONDS)

    async def _send_beats(self, client: Client) -> None:
        # The first one should not say that riskd is gone only because nobody has looked or read yet.
        await _until(lambda: self._stream.is_open and self._states, seconds=BEAT_SECONDS)
        while True:
            was_open = self._stream.is_open
            await client.publish(
                beat_subject(self._desk, self._instance), encode_beat(self._beat())
            )
            # That riskd is gone, or back, is news.
            await _until(
                lambda was_open=was_open: self._stream.is_open is not was_open,
                seconds=BEAT_SECONDS,
            )

    def _beat(self) -> Heartbeat:
        state = next(iter(self._states.values()), None)
        facts = {} if state is None else state.facts
        number = self._last if state is None else max(self._last, state.number)
        daemon = _status(facts.get("daemon_status")) if self._stream.is_open else None
        return Heartbeat(
            epoch=number.epoch,
            seq=number.seq,
            at=self._now(),
            status=None if daemon is None else daemon.status,
            message="" if daemon is None else daemon.message,
            clock_offset=_number(facts.get("clock_offset")),
            feed_age=self._stream.age,
            dropped=int(_number(facts.get(DROPPED_FACT)) or 0),
            accounts=tuple(self._states),
        )

    # What all of them need.

    @property
    def _whose(self) -> str:
        return f"{self._desk} {self._instance}"

    async def _known_directory(self) -> Path:
        """Return riskd's state directory as soon as it is known.

        :raises OSError: it is another user's, or cannot be read.
        """
        await _until(lambda: self._place.is_told, seconds=_FIRST_LOOK_SECONDS)
        self._place.say()
        await _until(lambda: self._place.current() is not None)
        directory = self._place.current()
        assert directory is not None  # noqa: S101
        # Another user may listen at riskd's port while riskd is down.
        if directory.stat().st_uid != os.geteuid():
            raise PermissionError(
                f"{directory} is another user's; run the uplink as the one that runs riskd"
            )
        return directory

    async def _read(self, what: str, read: Callable[..., _T], *arguments: Any) -> _T:
        """Return what ``read`` returns; while a file cannot be read, try again."""
        while True:
            try:
                found = await _in_thread(read, *arguments)
            except StateFileError as error:
                self._report(what, str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._report(what, "")
                return found

    def _report(self, what: str, problem: str) -> None:
        """Log a problem once."""
        if problem and self._problems.get(what) != problem:
            _log.warn("{problem}", problem=problem)
        self._problems[what] = problem


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Let no second uplink send from a state directory meanwhile.

    :raises OSError: there is one already.
    """
    lock = os.open(
        directory / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(f"another uplink sends from {directory}") from None
        yield
    finally:
        os.close(lock)


def _begin(directory: Path, acknowledged: Number, now: datetime) -> Number:
    """Return after which event to begin: those of the last minutes are sent again.

    A server that has lost its power may have lost what it had acknowledged.
    """
    again = number_before(directory, now - SENT_AGAIN)
    return acknowledged if again is None else min(acknowledged, again)


def _on_wire(event: OutboxEvent) -> bytes:
    data = msgspec.Raw(event.data.encode())
    return encode_json({"type": event.type, "account_id": event.account_id, "data": data})


def _status(fact: str | None) -> DaemonStatus | None:
    if fact is None:
        return None
    try:
        status: Any = decode_data("daemon_status", None, fact).data
    except EventError:
        return None
    return status if isinstance(status, DaemonStatus) else None


def _number(fact: str | None) -> float | None:
    try:
        number = None if fact is None else float(fact)
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None


def _journal_mark(directory: Path) -> list[tuple[int, int, int] | None]:
    """Return a value that each commit changes."""
    marks: list[tuple[int, int, int] | None] = []
    for suffix in SUFFIXES[:2]:
        try:
            found = os.lstat(directory / f"{JOURNAL_NAME}{suffix}")
        except OSError:
            marks.append(None)
        else:
            marks.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return marks


async def _until(is_so: Callable[..., object], seconds: float = inf) -> None:
    """Return once it is so, at the latest after so many seconds."""
    end = asyncio.get_running_loop().time() + seconds
    while not is_so() and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(_LOOK_SECONDS)


async def _in_thread(work: Callable[..., _T], *arguments: Any) -> _T:
    """Run what blocks in a thread of Twisted's pool."""
    done: Awaitable[_T] = deferToThread(work, *arguments).asFuture(asyncio.get_running_loop())
    return await done
