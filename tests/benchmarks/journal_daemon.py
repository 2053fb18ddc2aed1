"""The daemon that ``tests.benchmarks.journal`` measures, with the journal or without.

It prints its port, then for each load its CPU seconds and the number of events it made.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall, deferLater

from riskd.app import tap
from riskd.engine.tracked_account import TrackedAccount
from riskd.host.loopback import listen
from riskd.journal.service import JournalService
from riskd.journal.state_directory import StateDirectory
from riskd.journal.store import Recovery
from riskd.model.account import AccountState
from riskd.model.broker import BrokerPosition
from riskd.model.events import Event, MarketQuote, PositionType
from riskd.practice.gateway import PracticeGateway
from riskd.testing import unguarded_settings

EVENTS_A_SECOND = 60
FLOOD_EVENTS = 20_000
_BATCH = 50
_CONTRACTS = 7


class NoJournal(JournalService):
    """A journal that writes nothing."""

    def recover(
        self,
        account_ids: Iterable[int],
        states: Callable[[], Iterable[AccountState]],
        found: Callable[[Recovery], None],
        report: Callable[[str], None],
    ) -> Deferred[None]:
        found(Recovery({number: AccountState(account_id=number) for number in account_ids}))
        return succeed(None)

    def changed(self, *, only_quotes: bool = False) -> None:
        """Ignore the change."""

    def note_event(self, event: Event) -> None:
        """Keep nothing."""

    def make_durable(self) -> Deferred[str]:
        return succeed("")

    def published(self) -> Deferred[None]:
        return succeed(None)

    def stopService(self) -> Deferred[None]:
        self._thread.stop()
        return succeed(None)


class Source:
    """Make events as a gateway would: every tenth is a position, the others are quotes.

    Each carries the time at which it was made, by a clock that all processes share.
    """

    def __init__(self, account: TrackedAccount) -> None:
        self._account = account
        self.count = 0

    def emit(self) -> None:
        self.count += 1
        now = tap.utc_now() + timedelta(milliseconds=self.count)
        stamp = Decimal(time.monotonic_ns() // 1000) / 1_000_000
        contract = f"CON.F.US.MNQ.{self.count % _CONTRACTS}"
        if self.count % 10:
            quote = MarketQuote(
                contract_id=contract, bid=stamp, ask=stamp, last=Decimal(1), timestamp=now
            )
            self._account.update_quote(quote)
            return
        position = BrokerPosition(
            id=self.count,
            contract_id=contract,
            type=PositionType.LONG,
            size=self.count,
            average_price=stamp,
            created_at=now,
            updated_at=now,
            stamp=now,
        )
        self._account.update(position)


def cpu() -> float:
    """Return the CPU seconds of all threads of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(source: Source, seconds: float) -> None:
    """Run the two loads and print their costs."""
    begun = cpu()
    steady = LoopingCall(source.emit)
    done = steady.start(1 / EVENTS_A_SECOND)
    await deferLater(reactor, seconds)
    steady.stop()
    await done
    print(cpu() - begun, source.count, flush=True)  # noqa: T201
    begun = cpu()
    for _ in range(FLOOD_EVENTS // _BATCH):
        for _ in range(_BATCH):
            source.emit()
        await deferLater(reactor, 0)
    print(cpu() - begun, flush=True)  # noqa: T201
    reactor.stop()


def main(*, with_journal: bool, seconds: float) -> None:
    """Run until both loads are measured."""
    if not with_journal:
        tap.JournalService = NoJournal
    sockets = listen(0)
    port = sockets[0].getsockname()[1]
    accounts: dict[int, tuple[str, ...]] = {123: (), 456: ()}
    gateway = PracticeGateway(reactor, tap.utc_now, accounts, is_open=False)
    with tempfile.TemporaryDirectory() as directory:
        state = StateDirectory(Path(directory))
        daemon, engine = tap.assemble(
            tap.EngineService,
            reactor,
            gateway,
            sockets,
            state,
            unguarded_settings(),
            catalogue={},
        )
        reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
        daemon.startService()
        source = Source(engine.accounts[123].account)
        factory = engine._broadcast.__self__

        async def begin() -> None:
            await engine.started
            while not factory.statistics.clients:
                await deferLater(reactor, 0.01)
            await measure(source, seconds)

        Deferred.fromCoroutine(begin()).addErrback(lambda failure: failure.printTraceback())
        print(port, flush=True)  # noqa: T201
        reactor.run()


if __name__ == "__main__":
    main(with_journal=sys.argv[1] == "1", seconds=float(sys.argv[2]))
