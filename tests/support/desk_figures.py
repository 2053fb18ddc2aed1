"""What a desk costs, how long its events take, and how soon a lost link is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Final, NamedTuple

from riskd.journal.outbox import read_outbox
from riskd.journal.reader import read_published
from riskd.model.event_number import Number
from tests.benchmarks.outcome import percentile
from tests.benchmarks.process_counts import cpu_seconds, resident
from tests.support.desk_delivery import known_numbers
from tests.support.desk_faults import mend
from tests.support.desk_machines import DeskMachine, Told, told
from tests.support.desk_screen import LOCKS
from tests.support.desk_world import DeskWorld
from tests.support.link_proxy import LinkProxy
from tests.support.waiting import wait_until

LINK_LOST: Final = "LINK LOST"
SOONEST_LOST: Final = 12.0
"""Within so many seconds a console says that a link is lost."""

SOONEST_BACK: Final = 3.0
"""Within so many seconds of a link's return the desk has caught up."""

_ARRIVING_SECONDS: Final = 2.0
_TimedEvent = tuple[float, Told]

_LOCKING: Final = ("lockout_set", "lockout_cleared")


def figures(world: DeskWorld, seconds: float) -> Iterator[str]:
    """Yield, in sentences, what a desk costs to which nothing happens."""
    programs = {"the relay": [world.relay.pid]}
    programs["an uplink"] = [machine.uplink.pid for machine in world.machines if machine.uplink]
    programs["a server"] = [server.process.pid for server in world.servers]
    begun = time.monotonic()
    before = {pid: cpu_seconds(pid) for pids in programs.values() for pid in pids}
    time.sleep(seconds)
    ended = time.monotonic()
    for name, pids in programs.items():
        shares = [100 * (cpu_seconds(pid) - before[pid]) / (ended - begun) for pid in pids]
        memory = max(map(resident, pids))
        mean = sum(shares) / len(shares)
        yield f"{name}: {memory:.0f} MiB and {max(shares):.1f} % of a core at most, {mean:.1f} % in the mean"
    time.sleep(_ARRIVING_SECONDS)
    sent = sorted(each for watch in world.watches for each in watch.events)
    own = [each for each in sent if begun <= each[0] <= ended]
    assert world.watch is not None
    for name, shown in (
        ("the relay's port", world.watch.events),
        ("a line of trader-console --json", list(console_events(world.lines))),
    ):
        yield _waits(name, list(_arrivals(own, shown)))
    yield _waits("a row on the screen of trader-console", list(screen_waits(world, sent, begun)))


def _arrivals(own: Iterable[_TimedEvent], shown: Iterable[_TimedEvent]) -> Iterator[float]:
    """Yield how long events took to arrive, of those that did."""
    arrived: dict[Told, list[float]] = {}
    for at, event in shown:
        arrived.setdefault(event, []).append(at)
    for at, event in own:
        # Two ends of locks are the same event.
        if found := [each for each in arrived.get(event, ()) if each >= at]:
            yield found[0] - at


def console_events(lines: Iterable[tuple[float, str]]) -> Iterator[_TimedEvent]:
    """Yield the events of accounts in the lines of a console, but quotes, with the time of each."""
    for at, line in tuple(lines):
        event = json.loads(line)
        if event["account_id"] is not None and event["type"] != "MarketQuote":
            yield at, told(event["type"], event["account_id"], event["data"])


def screen_waits(world: DeskWorld, sent: Iterable[_TimedEvent], since: float) -> Iterator[float]:
    """Yield how long the locks that were set and ended have taken to their row on the screen.

    :param sent: all events of the daemons, in order.
    """
    assert world.screen is not None
    changes = tuple(world.screen.changes)
    locks: dict[int, list[tuple[float, bool]]] = {}
    for at, (event_type, account_id, _) in sent:
        if event_type in _LOCKING and account_id is not None:
            locks.setdefault(account_id, []).append((at, event_type == _LOCKING[0]))
    for account_id, found in locks.items():
        rows = [each for each in changes if each.account == str(account_id)]
        was_locked = False
        for number, (at, is_locked) in enumerate(found):
            until = found[number + 1][0] if number + 1 < len(found) else inf
            shown = [
                each.at
                for each in rows
                if at <= each.at <= until and each.standing.startswith(LOCKS) is is_locked
            ]
            # A lock that follows another one changes no row.
            if at >= since and was_locked is not is_locked and shown:
                yield shown[0] - at
            was_locked = is_locked


def _waits(to: str, seconds: Sequence[float]) -> str:
    if not seconds:
        return f"from a daemon's port to {to}: no event"
    p50, p99 = (1000 * percentile(seconds, share) for share in (0.5, 0.99))
    longest = 1000 * max(seconds)
    return f"from a daemon's port to {to}: p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {longest:.0f} ms, of {len(seconds)}"


class Outage(NamedTuple):
    """How soon the desk's screen said what a link was.

    :ivar lost: seconds from the link's loss until all rows said so.
    :ivar live: seconds from its return until no row said so.
    :ivar back: seconds from its return until the relay had all events of before it as well.
    """

    lost: float
    live: float
    back: float


def outage(
    world: DeskWorld,
    how: Callable[[LinkProxy], object],
    proxies: Sequence[LinkProxy],
    seconds: float,
) -> Outage:
    """Lose links, mend them some seconds after the screen has said so, and see how soon it is current.

    :param proxies: of one machine.
    """
    assert world.screen is not None
    screen = world.screen
    places = [
        place
        for place, own in enumerate(world.proxies)
        if own is proxies or proxies is world.relay_proxies
    ]
    begun = time.monotonic()
    for proxy in proxies:
        how(proxy)

    def standings() -> list[str]:
        shown = screen.standings
        return [shown[str(account)] for place in places for account in world.accounts[place]]

    # A row of a locked account says that it is locked.
    wait_until(lambda: all(each.startswith((LINK_LOST, *LOCKS)) for each in standings()))
    wait_until(lambda: LINK_LOST in screen.shown)
    lost = time.monotonic() - begun
    time.sleep(seconds)
    sent = {place: _last(world, place) for place in places}
    begun = time.monotonic()
    mend(proxies)
    try:
        wait_until(lambda: not any(each.startswith(LINK_LOST) for each in standings()))
    except AssertionError:
        known = read_published(world.relay.state).accounts.values()
        lost_at_relay = [
            each.account_id
            for each in known
            if each.daemon is not None and each.daemon.message.startswith(LINK_LOST)
        ]
        raise AssertionError(
            f"still {LINK_LOST} at the relay: {lost_at_relay}, and on the screen:\n{screen.shown}"
        ) from None
    live = time.monotonic() - begun
    wait_until(lambda: all(_has(world, place, number) for place, number in sent.items()))
    return Outage(lost, live, time.monotonic() - begun)


def _last(world: DeskWorld, place: int) -> dict[int, Number]:
    """Return the number of the last event of each account of a machine."""
    events = read_outbox(world.machines[place].state, Number(0, 0), 1_000_000)
    return {each.account_id: each.number for each in events if each.account_id is not None}


def _has(world: DeskWorld, place: int, numbers: dict[int, Number]) -> bool:
    known = known_numbers(world.relay.state)
    return all(
        account in known and known[account] >= number for account, number in numbers.items()
    )


def snapshot(world: DeskWorld) -> Iterator[str]:
    """Yield how soon a relay without a past has all accounts; the other one is stopped."""
    world.relay.stop()
    (world.directory / "new").mkdir()
    new = DeskMachine(world.directory / "new/desk", world.config)
    try:
        new.start()
        begun = time.monotonic()
        count = sum(map(len, world.accounts))
        wait_until(lambda: len(known_numbers(new.state)) == count)
        has_all = time.monotonic() - begun
        begun = time.monotonic()
        wait_until(lambda: len(read_published(new.state).accounts) == count)
        read = 1000 * (time.monotonic() - begun)
        yield (
            f"a new relay has the states of {count} accounts {has_all:.1f} s after it listens, "
            f"and they are read from its copy in {read:.0f} ms"
        )
    finally:
        new.stop()
