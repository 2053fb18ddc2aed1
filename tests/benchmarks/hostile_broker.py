"""What a broker that misbehaves costs riskd: memory, the reactor's time, and the time from a breach to a close.

The daemon that users run guards an account at a
broker whose answers and market hub attack it, one way after the other; in between the broker is quiet.  The account
holds a position whose product is quoted, and every three seconds it enters a product that is blocked.

"Breach to close" runs from the sending of that position's event to the arrival of the request that closes it, both
at the broker.  "Memory" is the peak of the daemon's memory over what it had when the attack began.  "Held" is the
longest time that one turn has held the daemon's reactor, without the time in which other programs had the core;
"in all" is with it.  "of it CPU" is for how long the thread has computed in that turn, and "most CPU" the longest in
any turn: what is held beyond that is not riskd's computing, but a pause of the host or of the thread, for a disk or
for another thread.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from twisted.internet import reactor
from twisted.internet.task import deferLater

from riskd.host.timing import use_steady_clock
from riskd.practice.server.site import DEFAULT_API_KEY
from tests.benchmarks.link_broker import until
from tests.benchmarks.outcome import Options, Outcome, median, show_progress
from tests.benchmarks.processes import Process
from tests.benchmarks.reactor_run import run_reactor
from tests.integration.hostile_broker import (
    ACCOUNT,
    HostileBroker,
    deep_nesting,
    endless_body,
    gzip_bomb,
    three_gigabytes,
)

MAX_GROWTH: Final = 32.0
"""Megabytes."""

MAX_HELD: Final = 0.05
"""Seconds."""

MAX_RATIO: Final = 3.0
"""Of the times from a breach to the close: in an attack to quiet ones."""

QUOTES_A_SECOND: Final = 20_000

_BREACHES: Final = 6
_QUICK_BREACHES: Final = 3

_PERIOD: Final = 3.0
"""Seconds from one breach to the next: the broker answers 200 requests a minute, and a breach takes five."""

_SETTLE_SECONDS: Final = 2.0

_CONFIG: Final = """
[rules.max_contracts]
limit = 10_000
[rules.daily_realized_loss]
loss_limit = 1_000_000
[rules.daily_unrealized_loss]
[rules.max_unrealized_profit]
[rules.trade_frequency_limit]
max_trades = 1_000_000
[rules.symbol_blocks]
blocked_symbols = ["MES"]
{gateway}
[[accounts]]
id = {account}
watch = ["MNQ", "MES"]
"""


class Attack(NamedTuple):
    """A way to attack.

    :ivar begin: begins it.
    """

    name: str
    begin: Callable[[HostileBroker], None]


def on_request(request: str, answer: Callable[[Any], None]) -> Callable[[HostileBroker], None]:
    """Return an attack by the answers to a request."""
    return lambda broker: broker.answers.update({request: answer})


def on_hub(
    flood: Callable[[HostileBroker], Callable[[], bytes]],
) -> Callable[[HostileBroker], None]:
    """Return an attack by the market hub."""

    def begin(broker: HostileBroker) -> None:
        broker.flood = flood(broker)

    return begin


def attacks() -> list[Attack]:
    """Return all attacks."""
    return [
        Attack("a body of 3 GB", on_request("Trade/search", three_gigabytes)),
        Attack("an endless body", on_request("Trade/search", endless_body)),
        Attack("a bomb of gzip", on_request("Trade/search", gzip_bomb)),
        Attack("5 MB of [", on_request("Trade/search", deep_nesting)),
        Attack("100,000 positions", HostileBroker.invent_positions),
        Attack("100,000 orders", HostileBroker.invent_orders),
        Attack("an endless record", on_hub(lambda broker: broker.endless_record)),
        Attack("20,000 records a message", on_hub(lambda broker: broker.full_records)),
        Attack("10,000 quotes a record", on_hub(lambda broker: broker.full_record)),
        Attack("empty frames", on_hub(lambda broker: broker.empty_frames)),
        Attack("20,000 quotes/s", on_hub(lambda broker: broker.quotes(QUOTES_A_SECOND))),
    ]


class Measured(NamedTuple):
    """What an attack did.

    :ivar growth: megabytes at the peak.
    :ivar held: seconds.
    :ivar held_in_all: seconds.
    :ivar held_cpu: seconds of computing in the turn that has held longest.
    :ivar held_switches: how often the thread has begun to wait within that turn.
    :ivar most_cpu: the most seconds of computing in one turn.
    :ivar times: seconds from each breach to the close.
    :ivar cpu: the share of a core that riskd used.
    """

    growth: float
    held: float
    held_in_all: float
    held_cpu: float
    held_switches: int
    most_cpu: float
    times: list[float]
    cpu: float


async def breach(broker: HostileBroker) -> float:
    """Enter the blocked product; return the seconds from its event to the close.

    That is 0 if a search has shown the position before its event was sent.
    """
    began = reactor.seconds()
    broker.sent_at = broker.closed_at = 0.0
    broker.buy("MES")
    await until(lambda: broker.sent_at and broker.closed_at and not broker.size("MES"), 60.0)
    seconds = max(0.0, broker.closed_at - broker.sent_at)
    await deferLater(reactor, max(0.0, began + _PERIOD - reactor.seconds()))
    return seconds


async def measure(
    broker: HostileBroker, daemon: Process, breaches: int, begin: Callable[[HostileBroker], None]
) -> Measured:
    """Measure while the broker does what ``begin`` begins."""
    before, began = daemon.ask("begin"), reactor.seconds()
    begin(broker)
    await deferLater(reactor, _SETTLE_SECONDS / 4)
    times = [await breach(broker) for _ in range(breaches)]
    broker.answers.clear()
    broker.flood = None
    after = daemon.ask("figures")
    await deferLater(reactor, _SETTLE_SECONDS)
    return Measured(
        after["peak"] - before["rss"],
        after["longest"],
        after["longest_in_all"],
        after["longest_cpu"],
        after["longest_switches"],
        after["most_cpu"],
        times,
        (after["cpu"] - before["cpu"]) / (reactor.seconds() - began),
    )


async def run(breaches: int) -> Outcome:
    """Measure all attacks."""
    broker = HostileBroker()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        config = directory / "riskd.toml"
        config.write_text(_CONFIG.format(gateway=broker.gateway_table, account=ACCOUNT))
        os.environ["RISKD_API_KEY"] = DEFAULT_API_KEY
        log = directory / "log"
        arguments = (str(log), place, "--port", "0", "--config", str(config), "--state", "state")
        with Process("hostile_daemon", *arguments, core=None) as daemon:
            await until(
                lambda: log.exists() and "status RUNNING" in log.read_text(),
                60.0,
                lambda: log.read_text() if log.exists() else "",
            )
            broker.buy("MNQ")
            broker.flood = lambda: broker.quote(int(100 * reactor.seconds()))
            await deferLater(reactor, _SETTLE_SECONDS)
            await measure(broker, daemon, breaches, lambda _broker: None)
            quiet: list[float] = []
            results: list[tuple[str, Measured]] = []
            for attack in attacks():
                show_progress(attack.name)
                calm = await measure(broker, daemon, breaches, lambda _broker: None)
                quiet += calm.times
                results.append(
                    (attack.name, await measure(broker, daemon, breaches, attack.begin))
                )
            daemon_log = log.read_text()
    await broker.close()
    outcome = outcome_of(results, quiet)
    tracebacks = daemon_log.count("Traceback")
    outcome.judge("tracebacks in the log", tracebacks, "<=", 0)
    if tracebacks:
        show_progress(daemon_log)
    return outcome


def outcome_of(results: list[tuple[str, Measured]], quiet: list[float]) -> Outcome:
    """Return what each attack did, beside the goals."""
    calm = median(quiet)
    outcome = Outcome()
    outcome.notes.append(
        f"breach to close while the broker is quiet: median {1000 * calm:.1f} ms, "
        f"worst {1000 * max(quiet):.1f} ms, {len(quiet)} breaches"
    )
    for name, measured in results:
        ratio = median(measured.times) / calm
        milliseconds = [1000 * each for each in measured.times]
        for column, values in {
            "memory, MB": [measured.growth],
            "held, ms": [1000 * measured.held],
            "in all": [1000 * measured.held_in_all],
            "of it CPU": [1000 * measured.held_cpu],
            "most CPU": [1000 * measured.most_cpu],
            "breach to close, ms": milliseconds,
            "worst": [max(milliseconds)],
            "times quiet": [ratio],
            "core, %": [100 * measured.cpu],
        }.items():
            outcome.add("attack", name, column, *values)
        outcome.judge(f"{name}: memory, MB", measured.growth, "<", MAX_GROWTH)
        outcome.judge(f"{name}: held, ms", 1000 * measured.held, "<=", 1000 * MAX_HELD)
        if measured.held > MAX_HELD:
            outcome.notes.append(f"{name}: {what_held(measured)}")
        outcome.judge(f"{name}: breach to close, times quiet", ratio, "<=", MAX_RATIO)
    return outcome


def what_held(measured: Measured) -> str:
    """Return as a clause what has held the reactor for the longest time."""
    others = measured.held - measured.held_cpu
    paused = (
        f"waited for the host, a disk or another thread, {measured.held_switches} times of its own will"
        if measured.held_switches
        else "was paused by the host"
    )
    return (
        f"in the turn that held the reactor for {1000 * measured.held:.1f} ms the thread computed for "
        f"{1000 * measured.held_cpu:.1f} ms, and {paused} for {1000 * others:.1f} ms"
    )


def benchmark(options: Options) -> Outcome:
    """Run the reactor until everything is measured."""
    use_steady_clock(reactor)
    return run_reactor(lambda: run(options.rounds_or(_BREACHES, _QUICK_BREACHES)))
