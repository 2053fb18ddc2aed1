"""What a broker that misbehaves costs riskd: memory, the reactor's time, and the time from a breach to a close.

Run as ``python -m tests.benchmarks.hostile_broker [--quick]``.  The daemon that users run guards an account at a
broker whose answers and market hub attack it, one way after the other; in between the broker is quiet.  The account
holds a position whose product is quoted, and every three seconds it enters a product that is blocked.

"Breach to close" runs from the sending of that position's event to the arrival of the request that closes it, both
at the broker.  "Memory" is the peak of the daemon's memory over what it had when the attack began.  "Held" is the
longest time that one turn has held the daemon's reactor, without the time in which other programs had the core; in
parentheses with it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from riskd.host.timing import use_steady_clock
from riskd.practice.server.site import DEFAULT_API_KEY, DEFAULT_USER_NAME
from tests.benchmarks.goals import show
from tests.benchmarks.link_broker import until
from tests.benchmarks.processes import Process
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
[gateway]
kind = "projectx"
user_name = "{user}"
rest_url = "{rest}"
user_hub_url = "{rest}/hubs/user"
market_hub_url = "{market}/hubs/market"
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
    :ivar times: seconds from each breach to the close.
    :ivar cpu: the share of a core that riskd used.
    """

    growth: float
    held: float
    held_in_all: float
    times: list[float]
    cpu: float


async def breach(broker: HostileBroker) -> float:
    """Enter the blocked product; return the seconds until the request to close it came."""
    began = reactor.seconds()
    broker.closed_at = 0.0
    broker.buy("MES")
    await until(lambda: broker.closed_at and not broker.size("MES"), 60.0)
    seconds = broker.closed_at - broker.sent_at
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
        times,
        (after["cpu"] - before["cpu"]) / (reactor.seconds() - began),
    )


async def run(breaches: int) -> bool:
    """Measure all attacks, print the table, and return whether all goals are reached."""
    broker = HostileBroker()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        config = directory / "riskd.toml"
        config.write_text(
            _CONFIG.format(
                user=DEFAULT_USER_NAME, rest=broker.url, market=broker.market_url, account=ACCOUNT
            )
        )
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
                calm = await measure(broker, daemon, breaches, lambda _broker: None)
                quiet += calm.times
                results.append(
                    (attack.name, await measure(broker, daemon, breaches, attack.begin))
                )
            daemon_log = log.read_text()
    await broker.close()
    if "Traceback" in daemon_log:
        show(daemon_log)
    return print_table(results, quiet) and "Traceback" not in daemon_log


def print_table(results: list[tuple[str, Measured]], quiet: list[float]) -> bool:
    """Print what each attack did, beside the goals; return whether all are reached."""
    calm = statistics.median(quiet)
    show(
        f"breach to close while the broker is quiet: median {1000 * calm:.1f} ms, "
        f"worst {1000 * max(quiet):.1f} ms, {len(quiet)} breaches"
    )
    show(
        f"\n{'':26}{'memory, MB':>18}{'held, ms (in all)':>26}"
        f"{'breach to close, ms':>26}{'times quiet':>18}{'core':>7}"
    )
    are_met = True
    for name, measured in results:
        median = statistics.median(measured.times)
        ratio = median / calm
        goals = (
            measured.growth < MAX_GROWTH,
            measured.held <= MAX_HELD,
            ratio <= MAX_RATIO,
        )
        memory, held, times = ("PASS" if each else "MISS" for each in goals)
        are_met &= all(goals)
        own = f"{1000 * measured.held:.1f} ({1000 * measured.held_in_all:.1f})"
        both = f"{1000 * median:.1f}, worst {1000 * max(measured.times):.1f}"
        show(
            f"{name:26}{measured.growth:13.1f} {memory}{own:>21} {held}{both:>26}"
            f"{ratio:13.2f} {times}{100 * measured.cpu:6.0f}%"
        )
    show(
        f"\ngoals: memory below {MAX_GROWTH:g} MB, held at most {1000 * MAX_HELD:g} ms, "
        f"at most {MAX_RATIO:g} times the quiet figure: {'PASS' if are_met else 'MISS'}"
    )
    return are_met


def main(breaches: int) -> None:
    """Run the reactor until everything is measured."""
    use_steady_clock(reactor)
    outcome: list[Any] = []

    def begin() -> None:
        running = Deferred.fromCoroutine(run(breaches))
        running.addBoth(outcome.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if outcome[0] is not True and outcome[0] is not False:
        outcome[0].raiseException()
    sys.exit(0 if outcome[0] else 1)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true")
    main(_QUICK_BREACHES if options.parse_args().quick else _BREACHES)
