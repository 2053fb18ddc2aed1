"""Plays a recording of one riskd for many traders, as their uplinks would publish it.

``python -m tests.benchmarks.desk_player DESK MIX ACCOUNTS`` connects each trader of the directory that ``riskctl desk init``
has written with the trader's own certificate, publishes a state of each account, and answers a line.  At the order ``play``
each trader publishes ``seconds`` of the recording, which begin at another moment of it; the answer has the figures.

What waits for what is as in the uplink: events of a trader that are due go together, and the next ones once they are
acknowledged; states go one after the other, the newest of each account.  So servers that are late get less, and what was
not sent in time is counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import nats

from riskd.desk.connection import client_context
from riskd.desk.incoming import Kind
from riskd.desk.messages import (
    account_subject,
    beat_subject,
    decode_beat,
    decode_state,
    encode_beat,
    events_stream,
    inbox_prefix,
    last_stream,
    message_id,
    state_subject,
)
from riskd.desk.settings import DeskSettings, load_desk
from riskd.desk.uplink import BATCH
from riskd.model.event_number import Number
from tests.benchmarks.desk_mix import FIRST_ACCOUNT, Message, Mix
from tests.benchmarks.outcome import percentile

_CONNECTING: Final = 8
"""So many traders connect at once."""

_ACKNOWLEDGED_SECONDS: Final = 30.0
_KINDS: Final = (Kind.EVENT, Kind.STATE)
"""The kinds that are acknowledged."""


class State(NamedTuple):
    """A state of the recording, to be written for another account.

    :ivar rest: the JSON after the number.
    """

    at: float
    place: int
    schema: int
    rest: bytes


class Prepared:
    """A recording as it is played."""

    def __init__(self, mix: Mix) -> None:
        self.mix = mix
        self.events = mix.of(Kind.EVENT)
        self.others = sorted((*mix.of(Kind.QUOTE), *mix.of(Kind.BEAT)), key=lambda each: each.at)
        self.first = [_state(0.0, place, payload) for place, payload in enumerate(mix.first)]
        self.states = [
            _state(each.at, each.place, each.payload)
            for each in mix.of(Kind.STATE)
            if each.place is not None
        ]


def _state(at: float, place: int, payload: bytes) -> State:
    state = decode_state(payload)
    text = msgspec.json.encode(state)
    return State(at, place, state.schema, text[text.index(b'"facts"') :])


def written_for(payload: bytes, place: int, account_id: int) -> bytes:
    """Return a payload of the recording as that of another account."""
    return payload.replace(b"%d" % (FIRST_ACCOUNT + place), b"%d" % account_id)


def state_written_for(state: State, account_id: int, number: Number) -> bytes:
    """Return the payload of a state of the recording as that of another account, with another number."""
    head = b'{"schema":%d,"epoch":%d,"seq":%d,' % (state.schema, *number)
    return zlib.compress(head + written_for(state.rest, state.place, account_id), 1)


class Figures:
    """What all traders have sent.

    :ivar sent: messages by kind.
    :ivar written: their bytes.
    :ivar waits: seconds until the acknowledgment, by kind.
    :ivar late: seconds after they were due at which events were acknowledged.
    :ivar unsent: events that were due and not sent.
    :ivar refused: messages that were not acknowledged.
    """

    def __init__(self) -> None:
        self.sent = dict.fromkeys(Kind, 0)
        self.written = 0
        self.waits: dict[Kind, list[float]] = {kind: [] for kind in _KINDS}
        self.late: list[float] = []
        self.unsent = 0
        self.refused = 0

    def answer(self) -> dict[str, Any]:
        """Return them for the answer."""
        return {
            "sent": {kind.value: count for kind, count in self.sent.items()},
            "bytes": self.written,
            "unsent": self.unsent,
            "refused": self.refused,
            "late": percentile(self.late, 0.99),
            **{
                f"{kind.value} p{round(100 * share)}": percentile(waits, share)
                for kind, waits in self.waits.items()
                for share in (0.5, 0.99)
            },
        }


class Trader:
    """One trader's uplink.

    :param number: which trader it is, from 0.
    :param begin: the moment of the recording at which it begins.
    """

    def __init__(
        self, settings: DeskSettings, number: int, prepared: Prepared, begin: float, accounts: int
    ) -> None:
        self.number = Number(int(time.time()), 0)
        self._settings = settings
        self._desk, self._name = settings.desk, settings.instance or ""
        self._first = FIRST_ACCOUNT + number * accounts
        self._accounts = accounts
        self._prepared = prepared
        self._begin = begin
        self._client: Any = None
        self._server: Any = None
        # Of each account the last number that was published.
        self.last: dict[int, Number] = {}

    async def connect(self) -> None:
        """Connect, and publish a state of each account."""
        self._client = await nats.connect(
            servers=list(self._settings.servers),
            tls=client_context(self._settings),
            inbox_prefix=inbox_prefix(self._name),
            tls_handshake_first=True,
            allow_reconnect=False,
            # What matters raises; the library also says how each connection with TLS has ended.
            error_cb=_ignore,
        )
        self._server = self._client.jetstream(timeout=_ACKNOWLEDGED_SECONDS)
        first = dict(enumerate(self._prepared.first))
        first |= {each.place: each for each in self._prepared.states if each.at < self._begin}
        for place in range(self._accounts):
            await self._send_state(first[place], Figures())
        beat = next(each for each in self._prepared.others if each.kind is Kind.BEAT)
        await self._send_beat(beat)

    async def play(self, begun: float, seconds: float, figures: Figures) -> None:
        """Publish a part of the recording.

        :param begun: when its first moment is, by the loop's clock.
        """
        end = self._begin + seconds

        def part(messages: Iterable[Any]) -> deque[Any]:
            return deque(
                each
                for each in messages
                if self._begin <= each.at < end
                and (each.place is None or each.place < self._accounts)
            )

        begun -= self._begin
        await asyncio.gather(
            self._play_events(part(self._prepared.events), begun, end, figures),
            self._play_states(part(self._prepared.states), begun, end, figures),
            self._play_others(part(self._prepared.others), begun, end, figures),
        )

    async def _play_events(
        self, waiting: deque[Message], begun: float, end: float, figures: Figures
    ) -> None:
        clock = asyncio.get_running_loop().time
        while waiting:
            now = await _until(begun + waiting[0].at) - begun
            if now > end:
                break
            due = []
            while waiting and waiting[0].at <= now and len(due) < BATCH:
                due.append(waiting.popleft())
            await asyncio.gather(*(self._send_event(each, figures) for each in due))
            figures.late += [clock() - begun - each.at for each in due]
        figures.unsent += len(waiting)

    async def _play_states(
        self, waiting: deque[State], begun: float, end: float, figures: Figures
    ) -> None:
        while waiting:
            now = await _until(begun + waiting[0].at) - begun
            if now > end:
                break
            newest = {}
            while waiting and waiting[0].at <= now:
                state = waiting.popleft()
                newest[state.place] = state
            for state in newest.values():
                await self._send_state(state, figures)

    async def _play_others(
        self, waiting: deque[Message], begun: float, end: float, figures: Figures
    ) -> None:
        while waiting:
            message = waiting.popleft()
            if await _until(begun + message.at) - begun > end:
                break
            if message.kind is Kind.BEAT:
                figures.written += await self._send_beat(message)
            else:
                figures.written += await self._send_quote(message)
            figures.sent[message.kind] += 1

    async def _send_event(self, event: Message, figures: Figures) -> None:
        place, account_id, payload = event.place, None, event.payload
        if place is not None:
            account_id = self._first + place
            payload = written_for(payload, place, account_id)
        number = self.number = Number(self.number.epoch, self.number.seq + 1)
        subject = f"{account_subject(self._desk, self._name, account_id)}.ev.{event.last}"
        headers = {"Nats-Msg-Id": message_id(self._name, account_id, number, b"secret")}
        figures.written += event.wire_bytes
        stream = events_stream(self._desk)
        is_stored = await self._publish(subject, payload, stream, headers, Kind.EVENT, figures)
        if is_stored and account_id is not None:
            self.last[account_id] = number

    async def _send_state(self, state: State, figures: Figures) -> None:
        number, account_id = self.number, self._first + state.place
        payload = state_written_for(state, account_id, number)
        subject = state_subject(self._desk, self._name, account_id)
        figures.written += Message(0.0, Kind.STATE, state.place, "", payload).wire_bytes
        if await self._publish(
            subject, payload, last_stream(self._desk), None, Kind.STATE, figures
        ):
            self.last[account_id] = number

    async def _publish(
        self,
        subject: str,
        payload: bytes,
        stream: str,
        headers: Mapping[str, str] | None,
        kind: Kind,
        figures: Figures,
    ) -> bool:
        """Publish; return whether it is acknowledged."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            await self._server.publish(subject, payload, stream=stream, headers=headers)
        except (TimeoutError, nats.errors.Error):
            figures.refused += 1
            return False
        figures.waits[kind].append(clock() - begun)
        figures.sent[kind] += 1
        return True

    async def _send_quote(self, quote: Message) -> int:
        assert quote.place is not None
        account_id = self._first + quote.place
        subject = f"{account_subject(self._desk, self._name, account_id)}.q.{quote.last}"
        await self._client.publish(subject, written_for(quote.payload, quote.place, account_id))
        return quote.wire_bytes

    async def _send_beat(self, beat: Message) -> int:
        heartbeat = msgspec.structs.replace(
            decode_beat(beat.payload),
            epoch=self.number.epoch,
            seq=self.number.seq,
            at=datetime.now(UTC),
            accounts=tuple(range(self._first, self._first + self._accounts)),
        )
        payload = encode_beat(heartbeat)
        await self._client.publish(beat_subject(self._desk, self._name), payload)
        return Message(0.0, Kind.BEAT, None, "", payload).wire_bytes

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()


async def _ignore(_error: Exception) -> None:
    """Say nothing of an error."""


async def _until(at: float) -> float:
    """Return at a time of the loop's clock, or later; return the time then."""
    clock = asyncio.get_running_loop().time
    if (wait := at - clock()) > 0:
        await asyncio.sleep(wait)
    return clock()


def traders_of(desk: Path, prepared: Prepared, accounts: int, longest: float) -> list[Trader]:
    """Return the traders of a desk, each of whom begins at another moment.

    :param longest: the most seconds that may be played.
    """
    chance = random.Random(1)
    begins = max(0.0, prepared.mix.seconds - longest)
    directories = sorted((desk / "traders").iterdir())
    return [
        Trader(
            load_desk(each / "desk.toml"), number, prepared, chance.uniform(0, begins), accounts
        )
        for number, each in enumerate(directories)
    ]


async def main(desk: Path, mix: Path, accounts: int, longest: float) -> None:
    """Connect; play at each order; end with standard input."""
    # asyncio warns of each end of a connection with TLS.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    prepared = Prepared(msgspec.msgpack.decode(mix.read_bytes(), type=Mix))
    traders = traders_of(desk, prepared, accounts, longest)
    turn = asyncio.Semaphore(_CONNECTING)

    async def connect(trader: Trader) -> None:
        async with turn:
            await trader.connect()

    await asyncio.gather(*map(connect, traders))
    _answer({"traders": len(traders)})
    while line := await asyncio.to_thread(sys.stdin.readline):
        seconds = msgspec.json.decode(line)["seconds"]
        figures = Figures()
        begun, cpu = asyncio.get_running_loop().time(), time.process_time()
        await asyncio.gather(*(each.play(begun, seconds, figures) for each in traders))
        last = {str(key): each for one in traders for key, each in one.last.items()}
        _answer({**figures.answer(), "cpu": time.process_time() - cpu, "last": last})
    await asyncio.gather(*(each.close() for each in traders))


def _answer(answer: object) -> None:
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
