"""What one riskd sends to a desk, recorded from the real programs.

A riskd of some accounts trades on paper, its uplink publishes to a nats-server, and the relay's user there takes down each
message with its time.  :mod:`tests.benchmarks.desk_player` plays such a recording for as many traders as it is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import nats
from nats.aio.msg import Msg

from riskd.desk.connection import client_context
from riskd.desk.incoming import Kind, read_subject
from riskd.desk.messages import inbox_prefix, last_stream, state_subject
from riskd.desk.settings import load_desk
from tests.support.desk_machines import PRACTICE, TraderMachine
from tests.support.desk_streams import DeskStreams
from tests.support.nats_server import NatsServer, new_desk
from tests.support.waiting import wait_until

DESK: Final = "mix"
_TRADER: Final = "anna"

FIRST_ACCOUNT: Final = 7_310_001
"""The id of the first account, with as many digits as those of a desk of thousands: sizes stay as they are."""

SETTLING: Final = 5.0
"""The seconds after the start that are not counted: all accounts begin with a flat position."""

_OVERHEAD: Final = len(
    "HPUB  _INBOX_trader-001.0123456789012345678901.0123456789012345678901  \r\n\r\n"
)
_HEADERS: Final = len(
    "NATS/1.0\r\nNats-Msg-Id: 01234567890123456789012345678901.trader-001.7310001.1796000000.1000"
    "\r\nNats-Expected-Stream: RISK_mix_EVENTS\r\n\r\n"
)


class Message(msgspec.Struct, frozen=True, array_like=True):
    """A message that an uplink has sent.

    :ivar at: seconds since the recording began.
    :ivar place: which account it is of, from 0; ``None`` for one of the daemon.
    :ivar last: the event's type, or the ticker; empty for a state and a heartbeat.
    """

    at: float
    kind: Kind
    place: int | None
    last: str
    payload: bytes

    @property
    def wire_bytes(self) -> int:
        """About how long it is on the wire, without TLS."""
        headers = _HEADERS if self.kind is Kind.EVENT else 0
        return (
            len(self.payload)
            + len("risk.mix.trader-001.7310001.")
            + len(self.last)
            + headers
            + _OVERHEAD
        )


class Mix(msgspec.Struct, frozen=True):
    """A recording.

    :ivar seconds: how long it lasts.
    :ivar accounts: how many the riskd has.
    :ivar first: the last state of each account before it begins.
    :ivar messages: in the order of their times.
    """

    seconds: float
    accounts: int
    first: list[bytes]
    messages: list[Message]

    def of(self, kind: Kind) -> list[Message]:
        """Return the messages of a kind."""
        return [each for each in self.messages if each.kind is kind]

    def rate(self, kind: Kind) -> float:
        """Return the messages of a kind in a second, an account; of heartbeats, an instance."""
        sources = 1 if kind is Kind.BEAT else self.accounts
        return len(self.of(kind)) / self.seconds / sources

    def size(self, kind: Kind) -> float:
        """Return the mean length of a message of a kind on the wire; 0 without one."""
        sizes = [each.wire_bytes for each in self.of(kind)]
        return sum(sizes) / len(sizes) if sizes else 0.0


def settings(accounts: int) -> str:
    """Return a ``riskd.toml``: as many accounts as asked for, by turns the two of practice."""
    common, *blocks = PRACTICE.read_text().split("[[accounts]]\n")
    text = common
    for place in range(accounts):
        block = blocks[place % len(blocks)]
        text += "[[accounts]]\n" + re.sub(
            r"(?m)^id = \d+$", f"id = {FIRST_ACCOUNT + place}", block
        )
    return text


def record_mix(seconds: float, accounts: int) -> Mix:
    """Record a riskd on paper for some seconds."""
    with tempfile.TemporaryDirectory(prefix="riskd-") as name:
        desk = new_desk(Path(name) / DESK, _TRADER)
        server, config = NatsServer(desk / "server"), desk / "relay/desk.toml"
        machine = TraderMachine(
            Path(name) / _TRADER, desk / "traders" / _TRADER / "desk.toml", settings(accounts)
        )
        try:
            server.start()
            DeskStreams(config).make()
            machine.start()
            streams = DeskStreams(config)
            last = FIRST_ACCOUNT + accounts - 1
            wait_until(lambda: streams.state(_TRADER, last) is not None)
            return asyncio.run(_recorded(config, seconds, accounts))
        finally:
            machine.stop()
            server.kill()


async def _recorded(config: Path, seconds: float, accounts: int) -> Mix:
    # asyncio warns of each end of a connection with TLS.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    clock = asyncio.get_running_loop().time
    begun, found = clock(), list[Message]()

    async def take(message: Msg) -> None:
        found.append(_message(message.subject, message.data, clock() - begun - SETTLING))

    desk = load_desk(config)
    client: Any = await nats.connect(
        servers=list(desk.servers),
        tls=client_context(desk),
        inbox_prefix=inbox_prefix("relay"),
        tls_handshake_first=True,
    )
    try:
        await client.subscribe(f"risk.{DESK}.>", cb=take)
        for number in range(FIRST_ACCOUNT, FIRST_ACCOUNT + accounts):
            subject = state_subject(DESK, _TRADER, number)
            found.append(_message(subject, await _last(client, subject), -SETTLING))
        await asyncio.sleep(SETTLING + seconds)
    finally:
        await client.close()
    return mix_of(found, seconds, accounts)


async def _last(client: Any, subject: str) -> bytes:
    message = await client.jetstream().get_last_msg(last_stream(DESK), subject)
    payload: bytes = message.data
    return payload


def _message(text: str, payload: bytes, at: float) -> Message:
    subject = read_subject(DESK, text)
    place = None if subject.account_id is None else subject.account_id - FIRST_ACCOUNT
    return Message(at, subject.kind, place, subject.last, payload)


def mix_of(found: Iterable[Message], seconds: float, accounts: int) -> Mix:
    """Return the recording of messages, of which those before 0 are not a part."""
    first: dict[int, bytes] = {}
    messages = []
    for message in sorted(found, key=lambda each: each.at):
        if message.at >= 0:
            messages.append(message)
        elif message.kind is Kind.STATE and message.place is not None:
            first[message.place] = message.payload
    return Mix(seconds, accounts, [first[place] for place in range(accounts)], messages)
