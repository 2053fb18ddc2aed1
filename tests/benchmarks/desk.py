"""What a desk of up to 2,000 accounts costs its server and its relay, and how soon a new relay shows 200.

First a riskd of ten accounts trades on paper, and what its uplink sends is recorded (:mod:`tests.benchmarks.desk_mix`).  A
player (:mod:`tests.benchmarks.desk_player`) sends that for each trader of a desk, over a connection of the trader's own, to
the server as ``riskctl desk init`` sets it up: TLS, and each message on the disk before it is acknowledged.  The server is
measured with nobody who reads, and again with a relay that has a client; CPU is the share of a core.

"Late" is how long after its moment an event was acknowledged.  Of a server or relay that cannot keep up, the figures are
those of what it did.  "Behind" is how long after the last message the relay had journaled everything.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import websocket

from riskd.desk.incoming import Kind
from riskd.model.event_number import Number
from tests.benchmarks.desk_mix import Mix, record_mix
from tests.benchmarks.growth import allowed
from tests.benchmarks.outcome import Options, Outcome, show_progress
from tests.benchmarks.process_counts import cpu_seconds, resident
from tests.benchmarks.processes import Process
from tests.support.desk_delivery import known_numbers
from tests.support.desk_machines import DeskMachine
from tests.support.desk_streams import DeskStreams
from tests.support.nats_server import NatsServer, new_desk
from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.waiting import wait_until

ACCOUNTS: Final = 10
"""The accounts of a trader."""

SIZES: Final = (200, 1_000, 2_000)
QUICK_SIZES: Final = (20, 40)
SHOWN: Final = 200
"""The accounts of which a new relay shows the states."""

DAY: Final = 24 * 3600

_CATCH_UP_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 300.0
_WAIT_SECONDS: Final = 0.1
_MIX: Final = "one account on paper"
PAPER: Final = "{:,} accounts"
SERVER: Final = "server, nobody reads"
_RELAY: Final = "relay, and its server"
_SNAPSHOT: Final = f"a new relay, {SHOWN} accounts"
_SNAPSHOT_SECONDS: Final = 5.0
_BEHIND_SECONDS: Final = 5.0
_SNAPSHOT_PLAYED: Final = 10.0

TIMES: Final = ("ev p50", "ev p99", "state p50", "state p99", "late")
"""The times in the answer of the player."""


def benchmark(options: Options) -> Outcome:
    """Record a riskd, and play it for desks of each size."""
    outcome = Outcome()
    seconds = options.seconds_or(30.0, 5.0)
    sizes, shown = (QUICK_SIZES, QUICK_SIZES[-1]) if options.quick else (SIZES, SHOWN)
    show_progress("what a riskd sends")
    mix = record_mix(2 * seconds, ACCOUNTS)
    add_mix(outcome, mix)
    for number in range(options.rounds_or(1, 1)):
        for size in sizes:
            for table, has_relay in ((SERVER, False), (_RELAY, True)):
                show_progress(f"round {number + 1}: {size:,} accounts, {table}")
                for name, value in measure(mix, size, seconds, has_relay=has_relay).items():
                    outcome.add(table, name, f"{size:,}", value)
    add_paper(outcome, mix, sizes[-1])
    for number in range(options.rounds_or(3, 1)):
        show_progress(f"a new relay, round {number + 1}")
        for name, value in snapshot(mix, shown).items():
            outcome.add(_SNAPSHOT, name, "seconds", value)
    judge(outcome, sizes[0], sizes[-1])
    return outcome


def judge(outcome: Outcome, smallest: int, largest: int) -> None:
    """Hold the largest desk against a core and the smallest, and a new relay against its seconds."""
    least, most = f"{smallest:,}", f"{largest:,}"
    share = outcome.median(SERVER, "server CPU, %", most)
    outcome.judge(f"server, {most} accounts, % of a core", share, "<", 100.0)
    outcome.judge("events not sent", outcome.median(SERVER, "unsent", most), "<=", 0)
    behind = outcome.median(_RELAY, "behind, s", most)
    outcome.judge(f"relay behind, {most} accounts, s", behind, "<=", _BEHIND_SECONDS)
    for table, figure in (
        (SERVER, "server CPU, %"),
        (_RELAY, "relay CPU, %"),
        (_RELAY, "relay memory, MiB"),
    ):
        times = outcome.median(table, figure, most) / outcome.median(table, figure, least)
        outcome.judge(f"{figure}: growth / n log n", times / allowed(smallest, largest), "<=", 1.0)
    seconds = outcome.median(_SNAPSHOT, "a console shows all", "seconds")
    outcome.judge("a new relay's console shows all, s", seconds, "<=", _SNAPSHOT_SECONDS)


def add_mix(outcome: Outcome, mix: Mix) -> None:
    """Add what an account sends, and an instance of heartbeats."""
    for kind in Kind:
        outcome.add(_MIX, kind.value, "an hour", 3600 * mix.rate(kind))
        outcome.add(_MIX, kind.value, "bytes", mix.size(kind))


class PlayedDesk(NamedTuple):
    """A desk whose traders are played.

    :ivar config: ``desk.toml`` of the relay.
    """

    directory: Path
    config: Path
    server: NatsServer
    player: Process


@contextmanager
def played_desk(mix: Mix, accounts: int, seconds: float) -> Iterator[PlayedDesk]:
    """Run the server and the traders of so many accounts, each of which has a state there.

    :param seconds: how long they will play at most.
    """
    with tempfile.TemporaryDirectory(prefix="riskd-") as name:
        directory = Path(name)
        traders = [f"trader-{number:03}" for number in range(accounts // ACCOUNTS)]
        desk = new_desk(directory / "mix", *traders)
        server, config = NatsServer(desk / "server"), desk / "relay/desk.toml"
        recording = directory / "recording"
        recording.write_bytes(msgspec.msgpack.encode(mix))
        arguments = (str(desk), str(recording), str(ACCOUNTS), str(seconds))
        try:
            server.start()
            DeskStreams(config).make()
            with Process("desk_player", *arguments, core=None) as player:
                player.answer(_CONNECT_SECONDS)
                yield PlayedDesk(directory, config, server, player)
        finally:
            server.kill()


def measure(mix: Mix, accounts: int, seconds: float, *, has_relay: bool) -> dict[str, float]:
    """Return the figures of a desk of so many accounts."""
    with played_desk(mix, accounts, seconds) as desk:
        if not has_relay:
            return _played(desk, seconds)[0]
        relay = DeskMachine(desk.directory / "relay", desk.config)
        relay.start()
        try:
            wait_until(lambda: len(known_numbers(relay.state)) == accounts)
            with closing(Reader(relay.port)) as reader:
                before = cpu_seconds(relay.pid), reader.received
                figures, last = _played(desk, seconds)
                share = 100 * (cpu_seconds(relay.pid) - before[0]) / seconds
                return {
                    "relay CPU, %": share,
                    "relay memory, MiB": resident(relay.pid),
                    "to a client, KB/s": (reader.received - before[1]) / seconds / 1000,
                    "behind, s": _catch_up(relay.state, last),
                    **figures,
                }
        finally:
            relay.stop()


def _played(desk: PlayedDesk, seconds: float) -> tuple[dict[str, float], dict[int, Number]]:
    """Return the server's figures while the traders play, and the last number of each account."""
    pid, store = desk.server.process.pid, desk.server.directory / "store"
    streams = DeskStreams(desk.config)
    before, written, stored = cpu_seconds(pid), disk_writes(pid), streams.stored()
    kept = kept_bytes(store)
    answer = desk.player.ask("play", seconds=seconds)
    cpu, flushed = cpu_seconds(pid) - before, disk_writes(pid) - written
    messages, size = (now - then for now, then in zip(streams.stored(), stored, strict=True))
    figures = {
        "server CPU, %": 100 * cpu / seconds,
        "server memory, MiB": resident(pid),
        **{f"{name}/s": count / seconds for name, count in answer["sent"].items()},
        "KB/s": answer["bytes"] / seconds / 1000,
        "ev stored, bytes": size / messages if messages else math.nan,
        "store grows, KB/s": (kept_bytes(store) - kept) / seconds / 1000,
        "disk writes, KB/s": flushed / seconds / 1000,
        **{f"{name}, ms": 1000 * as_time(answer[name]) for name in TIMES},
        "unsent": answer["unsent"],
        "refused": answer["refused"],
        "player CPU, %": 100 * answer["cpu"] / seconds,
    }
    return figures, {int(key): Number(*each) for key, each in answer["last"].items()}


def as_time(seconds: float | None) -> float:
    """Return a time of an answer; NaN if there was none."""
    return math.nan if seconds is None else seconds


def disk_writes(pid: int) -> int:
    """Return the bytes that a process has had written to a disk so far, as of proc(5)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def kept_bytes(directory: Path) -> int:
    """Return the bytes that the files in a directory take on the disk."""
    found = 0
    for path in directory.rglob("*"):
        # The server removes files meanwhile.
        with suppress(FileNotFoundError):
            found += 512 * path.lstat().st_blocks
    return found


def _catch_up(state: Path, last: Mapping[int, Number]) -> float:
    """Return after how many seconds a relay has journaled all; NaN if it takes too long."""
    begun = time.monotonic()
    while time.monotonic() < begun + _CATCH_UP_SECONDS:
        known = known_numbers(state)
        if all(known[account] >= number for account, number in last.items()):
            return time.monotonic() - begun
        time.sleep(_WAIT_SECONDS)
    return math.nan


class Reader:
    """A client of a stream that only counts bytes.

    :ivar received: so many so far.
    """

    def __init__(self, port: int) -> None:
        self.received = 0
        self._client = websocket.create_connection(f"ws://localhost:{port}", timeout=None)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        # A whole client would take a core's share away from what is measured.
        connection = self._client.sock
        with suppress(OSError):
            while received := connection.recv(65536):
                self.received += len(received)

    def close(self) -> None:
        """Disconnect."""
        self._client.shutdown()


def add_paper(outcome: Outcome, mix: Mix, accounts: int) -> None:
    """Add what the mix says of so many accounts, beside what was measured."""
    table, column = PAPER.format(accounts), f"{accounts:,}"
    sources = {kind: accounts / (ACCOUNTS if kind is Kind.BEAT else 1) for kind in Kind}
    paper = {f"{kind.value}/s": mix.rate(kind) * sources[kind] for kind in Kind}
    paper["KB/s"] = sum(mix.rate(kind) * sources[kind] * mix.size(kind) for kind in Kind) / 1000
    for name, value in paper.items():
        outcome.add(table, name, "paper", value)
        outcome.add(table, name, "measured", *outcome.figures(SERVER, name, column))


def snapshot(mix: Mix, accounts: int) -> dict[str, float]:
    """Return the seconds from the start of a relay without a past until all accounts are shown."""
    with played_desk(mix, accounts, _SNAPSHOT_PLAYED) as desk:
        desk.player.send_order("play", seconds=_SNAPSHOT_PLAYED)
        relay = DeskMachine(desk.directory / "relay", desk.config)
        begun = time.monotonic()
        relay.start()
        listening = time.monotonic() - begun
        try:
            # Its heading counts all accounts, and those of which it knows nothing.
            with closing(PseudoTerminal(120, 40)) as terminal:
                where = ("--url", f"ws://localhost:{relay.port}", "--state", str(relay.state))
                terminal.start(*where)
                terminal.wait_until(
                    lambda: shows_all(terminal.shown, accounts), f"{accounts} accounts"
                )
                shown = time.monotonic() - begun
        finally:
            relay.stop()
        desk.player.answer()
    return {"it listens": listening, "a console shows all": shown}


def shows_all(screen: str, accounts: int) -> bool:
    """Return whether a console shows the figures of so many accounts."""
    return f"{accounts} accounts" in screen and "unknown" not in screen
