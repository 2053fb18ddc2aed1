"""Where an event's time goes in riskd: each step hot, one event after the other, and cold, 60 events a second.

The steps are those from the bytes of a broker's hub to the client's socket, in this process and without the reactor,
its system calls but the send, and the journal's thread.  Between two cold events the core has slept, and its caches
have what the kernel and other programs left there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from riskd.gateway.signalr import Invocation, decode
from tests.benchmarks.outcome import Options, Outcome, median
from tests.benchmarks.processes import bench
from tests.benchmarks.reactor_run import run_reactor
from tests.benchmarks.twisted_peers import Riskd, hub_record
from tests.benchmarks.workload import Stamps

EVENTS_A_SECOND: Final = 60
READ: Final = "split the hub's record"
DECODE: Final = "decode it"
MAP: Final = "make a quote of it"
APPLY: Final = "apply it, note it for the journal"
ENCODE: Final = "encode and frame the event"
SEND: Final = "send it"
STEPS: Final = (READ, DECODE, MAP, APPLY, ENCODE, SEND)
ALL: Final = "all"

_HOT_EVENTS: Final = 3000
_WARM_UP: Final = 300


class Watch:
    """The nanoseconds of nested steps, each without those within it.

    :ivar events: by step, of each event.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, int]] = []
        self._within = [0]

    def begin(self) -> None:
        """Begin an event."""
        self.events.append(dict.fromkeys(STEPS, 0))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step."""
        self._within.append(0)
        began = time.perf_counter_ns()
        try:
            yield
        finally:
            taken = time.perf_counter_ns() - began
            self.events[-1][name] += taken - self._within.pop()
            self._within[-1] += taken

    def timed(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that times its calls."""

        def timed(*arguments: Any) -> Any:
            with self.step(name):
                return act(*arguments)

        return timed


class TimedRiskd(Riskd):
    """riskd, with a watch at each step."""

    def watch_steps(self) -> None:
        """Begin to time; riskd has started."""
        self.watch = watch = Watch()
        engine: Any = self._engine
        engine.receive_quote = watch.timed(APPLY, engine.receive_quote)
        for guarded in engine.accounts.values():
            guarded.account._broadcast = watch.timed(ENCODE, guarded.account._broadcast)

    async def emit(self, stamps: Sequence[int]) -> None:
        watch = self.watch
        for stamp in stamps:
            watch.begin()
            data = hub_record(stamp)
            with watch.step(READ):
                records = list(self._records.feed(data))
            with watch.step(DECODE):
                (message,) = map(decode, records)
            assert isinstance(message, Invocation)
            with watch.step(MAP):
                self._payloads.market_event(message.target, *message.arguments)
            with watch.step(SEND):
                self._factory.flush()


async def run(rounds: int, seconds: float) -> Outcome:
    """Measure hot and cold events in turn, with one client."""
    outcome, stamps = Outcome(), Stamps()
    with bench() as stand:
        riskd = TimedRiskd(reactor)
        port = await riskd.listen()
        riskd.watch_steps()
        await deferToThread(stand.receiver.ask, "connect", port=port, clients=1, sampled=0)
        for _ in range(_WARM_UP):
            await riskd.emit(stamps.take(1))
            await riskd.sleep(0)
        for _ in range(rounds):
            for column, count, pause in (
                ("hot, us", _HOT_EVENTS, 0.0),
                ("cold, us", round(EVENTS_A_SECOND * seconds), 1 / EVENTS_A_SECOND),
            ):
                riskd.watch.events.clear()
                for _ in range(count):
                    await riskd.emit(stamps.take(1))
                    await riskd.sleep(pause)
                add(outcome, column, riskd.watch.events)
        await deferToThread(stand.receiver.ask, "leave", clients=1)
    return outcome


def add(outcome: Outcome, column: str, events: Sequence[dict[str, int]]) -> None:
    """Add the median of each step."""
    for name in STEPS:
        outcome.add("step", name, column, median(each[name] / 1000 for each in events))
    outcome.add("step", ALL, column, median(sum(each.values()) / 1000 for each in events))


def benchmark(options: Options) -> Outcome:
    """Run the reactor until everything is measured."""
    return run_reactor(lambda: run(options.rounds_or(5, 1), options.seconds_or(10.0, 3.0)))
