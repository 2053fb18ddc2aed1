"""Every benchmark by name."""

from __future__ import annotations

from importlib import import_module
from typing import Final, NamedTuple

from tests.benchmarks.outcome import Options, Outcome


class Benchmark(NamedTuple):
    """A benchmark.

    :ivar module: the module in this package whose ``benchmark`` measures.
    :ivar summary: what it measures, in a line.
    """

    module: str
    summary: str

    def measure(self, options: Options) -> Outcome:
        """Measure in this process."""
        # Each has other needs: an extra, a reactor of its own.
        module = import_module(f"tests.benchmarks.{self.module}")
        outcome: Outcome = module.benchmark(options)
        return outcome


BENCHMARKS: Final = {
    "broadcast": Benchmark("broadcast", "riskd's broadcast beside other libraries"),
    "real": Benchmark("real", "60 events/s to 1, 2 and 10 clients that sleep between them"),
    "steps": Benchmark("steps", "where an event's time goes, hot and cold"),
    "soak": Benchmark("soak", "memory and descriptors while clients come and go"),
    "slow": Benchmark("slow", "memory and the others, while 20 of 100 clients read nothing"),
    "console": Benchmark("console", "a console's CPU, and the time from an event to its screen"),
    "accounts": Benchmark("accounts", "the same of a console that shows 200 accounts"),
    "unwatched": Benchmark("unwatched", "the CPU of a daemon without a client"),
    "enforcement": Benchmark("enforcement", "the time from a breach to the call of the broker"),
    "uplink": Benchmark("uplink", "the same whatever becomes of an uplink to a desk"),
    "link": Benchmark("link", "the time from a breach to flat at a distant broker"),
    "hostile": Benchmark("hostile_broker", "what a broker that misbehaves costs"),
    "journal": Benchmark("journal", "the cost of the journal"),
    "recording": Benchmark(
        "recording", "the cost of recording a day, and the speed of replaying it"
    ),
    "replay": Benchmark("replay", "how fast a year of trading passes through the rules"),
    "quotes": Benchmark("quotes", "the way of a quote with all rules, beside that with twelve"),
    "growth": Benchmark("growth", "how costs grow with accounts, positions, rows and days"),
    "start": Benchmark("start", "how long programs take to start"),
    "memory": Benchmark("memory", "the memory of a daemon and of a console"),
    "desk": Benchmark("desk", "what a desk of 2,000 accounts costs its server and its relay"),
    "codec": Benchmark("codec", "damaged input for the codec of the broker's hubs"),
}
