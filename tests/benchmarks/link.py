"""The time from a breach to flat at a broker that is 80 ms of round trip away.

The daemon that users run guards an account at the
practice gateway's server through its ProjectX client.  Between them is a proxy that delays bytes by half a
round trip each way, and those of a new connection by one round trip more.  One link is plain, the other has
TLS, whose own handshakes take round trips too; the breaches of the two take turns.

The time runs from the hub's sending of the position that breaches a limit to the fill that ends the breach,
both at the exchange, in round trips; light alone takes one.  "fill to fill" is the time from the fill that
breaches the limit, 100 ms before that event.  A scenario of a full close is over when all positions are closed
and all orders are canceled.  Requests are all that the broker receives until the next breach, pings aside; a note names
those that most flattens of a scenario do without.  One of them is known: every five to ten minutes riskd asks for the
account alone, ``Account/search``, because the answer's date makes its estimate of the broker's time exact again.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from riskd.host.timing import use_steady_clock
from tests.benchmarks.link_broker import DistantBroker, GuardingDaemon, until
from tests.benchmarks.link_proxy import ROUND_TRIP
from tests.benchmarks.outcome import Options, Outcome, median, show_progress
from tests.benchmarks.reactor_run import run_reactor

_TABLE: Final = f"round trips of {1000 * ROUND_TRIP:g} ms"
TIMES: Final = 20
QUICK_TIMES: Final = 5

_PERIOD: Final = 6.0
"""Seconds from one breach to the next: more than a reconciliation that follows may wait."""

_SETTLE_SECONDS: Final = 0.5
"""How long the daemon has to learn of orders and of a first position."""

_DROP_SECONDS: Final = 1.0
"""How long before a breach the broker closes its idle connections."""


class Scenario(NamedTuple):
    """What is to be flattened, and the goals.

    :ivar first: the ticker and size of a position that is held before the breach.
    :ivar orders: tickers, of an order each.
    :ivar breach: the ticker and size that breaches the limit.
    :ivar kept: how many contracts of that ticker are kept.
    :ivar drops: whether the broker closes its idle connections beforehand.
    :ivar median: round trips.
    :ivar worst: round trips.
    :ivar requests: the most that the broker may receive; ``None`` for any number.
    """

    name: str
    breach: tuple[str, int]
    median: float
    worst: float | None = None
    first: tuple[str, int] | None = None
    orders: tuple[str, ...] = ()
    kept: int = 0
    drops: bool = False
    requests: int | None = None


SCENARIOS: Final = (
    Scenario("one position", ("MES", 6), 1.3, 1.6, requests=5),
    Scenario("idle connections closed", ("MES", 6), 1.3, 1.6, drops=True, requests=5),
    Scenario(
        "2 positions, 2 orders",
        ("MES", 4),
        1.3,
        1.6,
        first=("MNQ", 2),
        orders=("MNQ", "MES"),
        requests=8,
    ),
    Scenario("part of a position", ("MNQ", 3), 2.4, kept=2),
)


class Measured(NamedTuple):
    """One flatten.

    :ivar sent: round trips from the sending of the event.
    :ivar filled: round trips from the fill.
    :ivar requests: their names.
    """

    sent: float
    filled: float
    requests: list[str]


async def flatten_once(broker: DistantBroker, scenario: Scenario) -> Measured:
    """Breach a limit, and measure until the account is as it must be."""
    began = reactor.seconds()
    ticker, size = scenario.breach
    for order in scenario.orders:
        broker.work_order(order)
    if scenario.first is not None:
        broker.buy(*scenario.first)
    if scenario.drops:
        broker.drop_idle()
    await deferLater(reactor, _DROP_SECONDS if scenario.drops else _SETTLE_SECONDS)
    broker.requests.clear()
    broker.sent_at.clear()
    filled_at = broker.buy(ticker, size)
    contract_id = broker.contract(ticker)
    await until(lambda: broker.sent_at)
    sent_at = broker.sent_at[contract_id]
    left = bool(scenario.kept)
    await until(lambda: broker.open_things == left and broker.size(ticker) == scenario.kept)
    done_at = broker.done_at[-1]
    await deferLater(reactor, began + _PERIOD - _SETTLE_SECONDS - reactor.seconds())
    requests = list(broker.requests)
    broker.sell_all()
    await deferLater(reactor, _SETTLE_SECONDS)
    return Measured((done_at - sent_at) / ROUND_TRIP, (done_at - filled_at) / ROUND_TRIP, requests)


async def measure(
    broker: DistantBroker, scenario: Scenario, times: int, after: float
) -> list[Measured]:
    """Measure a scenario a number of times, and begin ``after`` seconds from now."""
    await deferLater(reactor, after)
    return [await flatten_once(broker, scenario) for _ in range(times)]


def add(outcome: Outcome, scenario: Scenario, link: str, results: Sequence[Measured]) -> None:
    """Add the figures of a scenario on a link, and hold them against their goals."""
    sent = [each.sent for each in results]
    requests = [len(each.requests) for each in results]
    row = f"{scenario.name}, {link}"
    outcome.add(_TABLE, row, "from the event", *sent)
    outcome.add(_TABLE, row, "worst", max(sent))
    outcome.add(_TABLE, row, "from the fill", *(each.filled for each in results))
    outcome.add(_TABLE, row, "requests", *requests)
    outcome.add(_TABLE, row, "most", max(requests))
    outcome.judge(f"{row}, median", median(sent), "<=", scenario.median)
    if scenario.worst is not None:
        outcome.judge(f"{row}, worst", max(sent), "<=", scenario.worst)
    if scenario.requests is not None:
        outcome.judge(f"{row}, requests", max(requests), "<=", scenario.requests)
    for more, number in more_than_usual([each.requests for each in results]).items():
        outcome.notes.append(
            f"{row}: {', '.join(more)} beyond the usual, {number} of {len(results)}"
        )


def more_than_usual(requests: Sequence[Sequence[str]]) -> Counter[tuple[str, ...]]:
    """Return the requests that most flattens do without, and how many flattens had them."""
    usual, _times = Counter(tuple(sorted(each)) for each in requests).most_common(1)[0]
    beyond = ((Counter(each) - Counter(usual)).elements() for each in requests)
    return Counter(names for names in map(tuple, map(sorted, beyond)) if names)


def certificate(directory: Path) -> tuple[bytes, Path]:
    """Return a key with its certificate, and the file of the authority that signed it."""
    # Part of the extra "bench" alone.
    import trustme  # noqa: PLC0415

    authority = trustme.CA()
    path = directory / "authority.pem"
    authority.cert_pem.write_to_path(path)
    issued = authority.issue_cert("127.0.0.1")
    return issued.private_key_and_cert_chain_pem.bytes(), path


async def run(times: int) -> Outcome:
    """Measure all scenarios on both links."""
    outcome = Outcome()
    with ExitStack() as stack:
        brokers = {}
        for link in ("plain", "TLS"):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            pem, authority = certificate(directory) if link == "TLS" else (b"", None)
            brokers[link] = broker = DistantBroker(pem)
            daemon = GuardingDaemon(directory, broker, authority)
            stack.callback(daemon.stop)
            await daemon.start()
        for scenario in SCENARIOS:
            show_progress(scenario.name)
            both = await gatherResults(
                [
                    Deferred.fromCoroutine(
                        measure(broker, scenario, times, turn * _PERIOD / len(brokers))
                    )
                    for turn, broker in enumerate(brokers.values())
                ]
            )
            for link, results in zip(brokers, both, strict=True):
                add(outcome, scenario, link, results)
        for link, broker in brokers.items():
            outcome.notes.append(f"{link}: {broker.proxy.connections} connections in all")
    for broker in brokers.values():
        await broker.stop()
    return outcome


def benchmark(options: Options) -> Outcome:
    """Run the reactor until everything is measured."""
    use_steady_clock(reactor)
    return run_reactor(lambda: run(options.rounds_or(TIMES, QUICK_TIMES)))
