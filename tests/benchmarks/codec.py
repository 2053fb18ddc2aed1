"""SignalR's codec against damaged input: it may raise nothing but its own error.

It reads random bytes, and valid records that were damaged, cut and joined at random; each record that decodes is
encoded and decoded again.  Any other error ends it.
"""

from __future__ import annotations

import time
from collections import Counter
from random import Random

from riskd.gateway.signalr import (
    Completion,
    Invocation,
    Message,
    Ping,
    RecordReader,
    SignalRError,
    decode,
    encode,
)
from tests.benchmarks.outcome import Options, Outcome, show_progress

_SOUND = (
    encode(Ping()),
    encode(Completion("7", 0)),
    encode(Completion("8", error="no")),
    encode(Invocation("GatewayUserOrder", ({"action": 1, "data": {"id": 7, "status": 1}},))),
    encode(Invocation("GatewayQuote", ("CON.F.US.MNQ.Z26", {"lastPrice": 21000.25}))),
    b'{"type":7,"error":"bye","allowReconnect":true}\x1e',
    b'{"type":1,"target":"T","arguments":[[[[[[{"a":[1e400,-0.0,null,true]}]]]]]]}\x1e',
)
_TOKENS = (b"\x1e", b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\u", b"\xff", b"1e999", b'"type"')


def damaged(random: Random) -> bytes:
    """Return valid records with random damage."""
    data = bytearray(b"".join(random.choices(_SOUND, k=random.randint(1, 6))))
    for _ in range(random.randint(0, 8)):
        begin = random.randrange(len(data) + 1)
        end = begin + random.choice((0, 0, 1, 5))
        data[begin:end] = random.choice((random.choice(_TOKENS), random.randbytes(3), b""))
    return bytes(data)


def read(data: bytes, random: Random) -> list[Message | None]:
    """Return the messages of ``data``, which arrives in random chunks.

    :raises SignalRError: a record is not a message.
    """
    reader = RecordReader()
    messages: list[Message | None] = []
    while data:
        length = random.randint(1, len(data))
        messages += map(decode, reader.feed(data[:length]))
        data = data[length:]
    return messages


def benchmark(options: Options) -> Outcome:
    """Read damaged input for a time."""
    seed, seconds = time.time_ns(), options.seconds_or(60.0, 5.0)
    show_progress(f"seed {seed}")
    counts = read_damaged(Random(seed), seconds)
    outcome = Outcome(notes=[f"seed {seed}"])
    for name in ("bytes", "read", "refused", "read otherwise when written again"):
        outcome.add(f"inputs in {seconds:g} s", name, "", counts[name])
    outcome.judge(
        "read otherwise when written again", counts["read otherwise when written again"], "<=", 0
    )
    return outcome


def read_damaged(random: Random, seconds: float) -> Counter[str]:
    """Read damaged input for a time; return how much was read, and how."""
    counts: Counter[str] = Counter()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        data = (
            damaged(random) if random.random() < 0.8 else random.randbytes(random.randint(0, 200))
        )
        counts["bytes"] += len(data)
        try:
            messages = read(data, random)
        except SignalRError:
            counts["refused"] += 1
            continue
        counts["read"] += 1
        for message in messages:
            if message is not None and decode(encode(message)[:-1]) != message:
                show_progress(f"read otherwise when written again: {message}")
                counts["read otherwise when written again"] += 1
    return counts
