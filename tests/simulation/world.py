"""The daemon of a simulated day, the exchange, and the way between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import txaio
from twisted.python.monkey import MonkeyPatcher

from riskd.gateway.interface import GatewayRefusedError, IGateway
from riskd.gateway.projectx.connections import BrokerAgent
from riskd.gateway.projectx.credentials import Credentials
from riskd.gateway.projectx.gateway import ProjectXGateway
from riskd.gateway.projectx.websocket import HubConnector
from riskd.gateway.targets import QUOTE
from riskd.host.secrets import Secret
from riskd.journal.reader import Snapshot
from riskd.journal.store import Store
from riskd.practice.records import Message
from riskd.practice.server.site import practice_site
from tests.simulation.network import HOST, Machine, Network, SteppingClock
from tests.support.practice_daemon import PracticeDaemon

UNREACHABLE = {
    "lost_events": 1.0,
    "lost_requests": 1.0,
    "failed_reads": 1.0,
    "quote_freezes": 1.0,
    "freeze_seconds": 600.0,
}
"""What a broker is like that cannot be reached."""

BUSY_REQUESTS = 120
"""With so many requests in a minute, riskd may have to wait before the next ones."""

PORT = 5000
USER, KEY = "practice", "a key"


class _LoneStore(Store):
    """A journal that no other program opens, so SQLite takes its locks once and not with each write."""

    def _open_whole(self, path: Path) -> Snapshot:
        snapshot = super()._open_whole(path)
        self._journal.execute("PRAGMA main.locking_mode = EXCLUSIVE")
        return snapshot


class World(PracticeDaemon):
    """A daemon, and traders who are nearer to the exchange than riskd."""

    def make_store(self) -> Store:
        return _LoneStore(self.directory)

    def broker_time(self) -> datetime:
        # Asked dozens of times a quote, so the clock is not called for it.
        seconds = self.clock.rightNow
        if seconds != self._shown_at:
            self._shown_at, self._shown = seconds, self._origin + timedelta(seconds=seconds)
        return self._shown

    def quotes_late(self) -> AbstractContextManager[None]:
        """Send the quotes of the block only at its end."""
        return self.late(QUOTE)

    @contextmanager
    def late(
        self, *targets: str, is_doubled: bool = False, is_reversed: bool = False
    ) -> Iterator[None]:
        """Send messages of some kinds at the end of the block.

        :param is_doubled: whether also at once.
        :param is_reversed: whether the last comes first.
        """
        gateway, late = self.gateway, list[Message]()
        events = gateway.payload_faults.events

        def without_some(message: Message, seconds: float) -> Iterable[Message]:
            if message.target in targets:
                late.append(message)
                if not is_doubled:
                    return ()
            return events(message, seconds)

        patch = MonkeyPatcher((gateway.payload_faults, "events", without_some))
        patch.patch()
        try:
            yield
        finally:
            patch.restore()
            gateway._network.deliver(late[::-1] if is_reversed else late)

    def at_exchange(self, act: Callable[..., Any], *args: object) -> None:
        """Do what a trader does, at once."""
        try:
            act(*args, self.gateway.broker_time())
        except GatewayRefusedError:
            pass
        finally:
            self.gateway._publish()

    # The way to the broker.

    noticed_after = 0.0
    """After so many seconds riskd says that the broker cannot be reached."""

    back_after = 0.0
    """So many seconds riskd may take to be back when the broker can be reached again."""

    def lose_broker(self) -> dict[str, Any]:
        """Let the broker be out of reach; return the faults that this takes."""
        self.engine.feed_lost("the broker cannot be reached")
        return UNREACHABLE

    def find_broker(self) -> None:
        self.engine.feed_restored()

    def troubles(self) -> Collection[str]:
        """Return what may keep riskd from acting now, by names of faults."""
        return ()


class NetworkedWorld(World):
    """A daemon whose gateway is the ProjectX client, over a network in memory.

    :param latency: how many seconds bytes are under way.
    :param jitter: up to so much longer.
    """

    noticed_after = 45.0
    back_after = 40.0

    def __init__(self, config: str, *, latency: float, jitter: float, **options: Any) -> None:
        self._latency, self._jitter = latency, jitter
        self._random = Random("network")
        self._loop = txaio.config.loop
        self.requests: deque[float] = deque()
        super().__init__(config, **options)

    def make_clock(self) -> SteppingClock:
        clock = SteppingClock()
        # Autobahn's timers run on the loop of txaio.
        txaio.config.loop = clock
        self.network = Network(clock, self._random, self._latency, self._jitter)
        return clock

    def connect(self) -> tuple[Any, IGateway]:
        if not hasattr(self, "site"):
            self.site = practice_site(self.clock, self.gateway, USER, KEY, Random("quirks"))
            self.site.log = lambda _request: self.requests.append(self.clock.seconds())
            self.gateway.start()
            self.site.doStart()
            self.network.listen(PORT, self.site)
        self.machine = Machine(self.network)
        url = f"http://{HOST}:{PORT}"
        gateway = ProjectXGateway(
            self.machine,
            self.now,
            agent=BrokerAgent(self.machine, self._random),
            rest_url=url,
            connect_user_hub=HubConnector(self.machine, f"{url}/hubs/user"),
            connect_market_hub=HubConnector(self.machine, f"{url}/hubs/market"),
            credentials=lambda: Credentials(USER, Secret(KEY)),
            watch={"MNQ"},
            random=self._random,
        )
        return self.machine, gateway

    def kill(self) -> None:
        self.engine._broadcast = lambda _event: None
        self.machine.crash()
        # What is still under way must not open the journal again and overwrite the next daemon's.
        self.journal.running = False
        self.journal._store.close()

    def sleep(self, **duration: Any) -> None:
        self.clock.jump(timedelta(**duration).total_seconds())

    def close(self) -> None:
        super().close()
        self.site.doStop()
        self.gateway.stop()
        txaio.config.loop = self._loop

    def lose_broker(self) -> dict[str, Any]:
        self.network.unplug()
        return {}

    def find_broker(self) -> None:
        self.network.plug()

    def troubles(self) -> Collection[str]:
        oldest = self.clock.seconds() - 60
        while self.requests and self.requests[0] < oldest:
            self.requests.popleft()
        return ("requests_per_minute",) if len(self.requests) > BUSY_REQUESTS else ()
