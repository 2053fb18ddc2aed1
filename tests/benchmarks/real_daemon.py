"""The daemon that users run at a broker of this process, for :mod:`tests.benchmarks.real` and a test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from riskd.practice.server.site import DEFAULT_API_KEY
from tests.benchmarks.process_counts import (
    CALLS,
    SWITCHES,
    TIMERS,
    TURNS,
    call_counts,
    has_strace,
    thread_switches,
    traced,
)
from tests.benchmarks.twisted_peers import hub_record
from tests.benchmarks.workload import Stamps
from tests.integration.hostile_broker import ACCOUNT, HostileBroker
from tests.support.twistd import Twistd
from tests.support.waiting import until
from tests.support.websocket_frames import TEXT, server_frame

_CONFIG: Final = """
[rules.max_contracts]
limit = 10
[rules.daily_realized_loss]
loss_limit = 1_000
[rules.daily_unrealized_loss]
[rules.max_unrealized_profit]
{gateway}
[[accounts]]
id = {account}
watch = ["MNQ"]
"""


class RealDaemon:
    """``twistd riskd`` at a broker whose market hub sends quotes that carry the time at which they were made.

    :ivar sent: quotes so far.
    """

    def __init__(self, directory: Path, core: int | None = None) -> None:
        self.sent = 0
        self._broker = HostileBroker()
        self._stamps = Stamps()
        config = directory / "riskd.toml"
        config.write_text(_CONFIG.format(gateway=self._broker.gateway_table, account=ACCOUNT))
        os.environ["RISKD_API_KEY"] = DEFAULT_API_KEY
        arguments = ("--debuggable", "--port", "0", "--config", os.fspath(config))
        self._twistd = Twistd(directory, *arguments, "--state", "state", waits=False)
        self.pid, self.port = self._twistd.process.pid, self._twistd.port
        if core is not None:
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {core})

    async def start(self) -> None:
        """Wait until the daemon is RUNNING and has its market data."""
        await until(lambda: "status RUNNING" in self._twistd.log and self._broker.hubs)

    def send_quote(self) -> None:
        """Send a quote."""
        frame = server_frame(TEXT, hub_record(self._stamps.take(1)[0]))
        for hub in self._broker.hubs:
            hub.transport.write(frame)
        self.sent += 1

    async def stop(self) -> None:
        """End the daemon and the broker."""
        self._twistd.process.terminate()
        await deferToThread(self._twistd.wait)
        await self._broker.close()


async def count(daemon: RealDaemon, seconds: float, directory: Path) -> dict[str, float]:
    """Return what the daemon does in a time, without strace's own share in the thread switches."""
    switched, began = thread_switches(daemon.pid), daemon.sent
    await deferLater(reactor, seconds)
    switches = (thread_switches(daemon.pid) - switched, daemon.sent - began)
    counts = {SWITCHES: float(switches[0]) / (switches[1] or seconds)}
    if has_strace():
        path, began = directory / "calls", daemon.sent
        with traced(daemon.pid, path):
            await deferLater(reactor, seconds)
            made = daemon.sent - began
        with path.open() as lines:
            called = call_counts(lines)
        counts |= {name: called[name] / (made or seconds) for name in (CALLS, TURNS, TIMERS)}
    return counts
