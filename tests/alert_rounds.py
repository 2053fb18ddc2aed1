"""Whatever dies, ``trader-alerts`` says so in time, and says when it is back.

``python -m tests.alert_rounds 20`` plays so many rounds with the real programs: a practice gateway, riskd behind a
proxy, ``trader-alerts``, and two services that take its messages, one on this machine and one beyond its network.  In
each round riskd is killed and stopped, the gateway is stopped and the network is cut, in a random order.  The service
on this machine must hear each within ten seconds, and the end of each; the other one must hear all of it once, after
the network is back.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from tests.integration.alerts_program import (
    HEARD_WITHIN_SECONDS,
    PASSWORD,
    AlertsProgram,
    Sink,
)
from tests.integration.fault_proxy import FaultProxy
from tests.integration.practice_gateway import KEY, Gateway, config, key_file
from tests.support.twistd import Twistd
from tests.support.waiting import until


class Stage:
    """All the programs, in a directory of their own.

    :ivar here: the service on this machine.
    :ivar away: the service beyond the network.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._state = directory / "state"
        self._starts = 0
        self.here, self.away = Sink(), Sink()
        (directory / "gateway").mkdir()
        key_file(directory, KEY)
        self.gateway = Gateway(directory / "gateway", "--quiet")
        self.proxy = FaultProxy(self.gateway.port)
        rest, hubs = self.proxy.rest_port, self.proxy.hub_port
        file = Path(config(directory, f"http://127.0.0.1:{rest}"))
        file.write_text(file.read_text().replace(f"{rest}/hubs", f"{hubs}/hubs"))
        self._config = ("--config", str(file))
        settings = directory / "alerts.toml"
        settings.write_text(f'heartbeat_url = "{self.here.heartbeat_url}"\n')
        settings.chmod(0o600)
        targets = directory / "alert-targets"
        targets.write_text(f"# one here, one away\n{self.here.target}\n{self.away.target}\n")
        targets.chmod(0o600)
        self.daemon: Twistd | None = None
        self.alerts: AlertsProgram | None = None

    async def start_alerts(self) -> None:
        """Start the alerts, and wait until they watch."""
        since = time.monotonic()
        self.alerts = AlertsProgram(
            self._directory / "alerts.log",
            *("--config", str(self._directory / "alerts.toml"), "--state", str(self._state)),
        )
        for sink in (self.here, self.away):
            await self.hears("watched from now on", since=since, sink=sink)

    async def end_alerts(self) -> None:
        """End the alerts as a service is ended, and check what they have written."""
        assert self.alerts is not None
        assert await deferToThread(self.alerts.end) == 0
        self._check_log()

    async def start_daemon(self) -> None:
        """Start riskd, on the same state as before; wait until it listens."""
        own = self._directory / f"daemon-{self._starts}"
        own.mkdir()
        self._starts += 1
        # The proxy is in this process, whose reactor must go on meanwhile.
        self.daemon = await deferToThread(
            Twistd, own, "--port", "0", "--state", str(self._state), *self._config, waits=False
        )

    async def close(self) -> None:
        """End all, and check what the alerts have written."""
        for program in (self.alerts, self.daemon, self.gateway):
            if program is not None:
                program.process.kill()
                program.process.wait()
        await self.proxy.stop()
        for sink in (self.here, self.away):
            sink.close()
        self._check_log()

    def _check_log(self) -> None:
        log = self.alerts.log if self.alerts is not None else ""
        for words in ("Traceback", "internal error", PASSWORD):
            assert words not in log, log

    async def hears(self, *words: str, since: float, sink: Sink | None = None) -> float:
        """Wait until a service hears a line with these words; return the seconds since then."""
        service = sink or self.here
        await until(lambda: service.heard(*words, since=since) is not None)
        at = service.heard(*words, since=since)
        assert at is not None
        return at - since

    async def hears_soon(self, *words: str, since: float) -> float:
        """Check that the service on this machine hears it within ten seconds."""
        seconds = await self.hears(*words, since=since)
        assert seconds <= HEARD_WITHIN_SECONDS, f"{words} were heard after {seconds:.1f} s"
        return seconds

    # What dies, and comes back.

    async def kill_daemon(self) -> float:
        """Kill riskd, and start it again."""
        assert self.daemon is not None
        since = time.monotonic()
        self.daemon.process.kill()
        seconds = await self.hears_soon("riskd is GONE: lost connection", since=since)
        self.daemon.process.wait()
        since = time.monotonic()
        await self.start_daemon()
        await self.hears("riskd is back, after", since=since)
        return seconds

    async def stop_daemon(self) -> float:
        """Stop riskd with SIGSTOP, and let it go on."""
        assert self.daemon is not None
        since = time.monotonic()
        self.daemon.send_signal(signal.SIGSTOP)
        seconds = await self.hears_soon("riskd is GONE", "has not answered", since=since)
        since = time.monotonic()
        self.daemon.send_signal(signal.SIGCONT)
        await self.hears("riskd is back, after", since=since)
        return seconds

    async def stop_gateway(self) -> float:
        """Stop the gateway, and start it again."""
        since = time.monotonic()
        await deferToThread(self.gateway.end, signal.SIGKILL)
        seconds = await self.hears_soon("riskd has an ERROR", since=since)
        since = time.monotonic()
        await deferToThread(self.gateway.start)
        await self.hears("error has ended", since=since)
        return seconds

    async def cut_network(self) -> float:
        """Cut the machine's network: the gateway is gone, and so is a service elsewhere."""
        since = time.monotonic()
        before = self.away.refused
        self.away.is_gone = True
        self.proxy.cut()
        seconds = await self.hears_soon("riskd has an ERROR", since=since)
        await until(lambda: self.away.refused > before)
        assert self.away.heard("riskd has an ERROR", since=since) is None
        since = time.monotonic()
        self.proxy.is_cut = False
        self.away.is_gone = False
        await self.hears("error has ended", since=since)
        # Both the trouble and its end arrive, however late.
        for words in ("riskd has an ERROR", "error has ended"):
            await self.hears(words, since=since, sink=self.away)
        return seconds


DEATHS: dict[str, Callable[[Stage], Any]] = {
    "riskd killed": Stage.kill_daemon,
    "riskd stopped": Stage.stop_daemon,
    "gateway stopped": Stage.stop_gateway,
    "network cut": Stage.cut_network,
}


async def play(directory: Path, rounds: int, randomness: random.Random) -> dict[str, float]:
    """Play rounds; return the longest time after which each death was heard."""
    longest: dict[str, float] = {}
    stage = Stage(directory)
    try:
        await stage.start_daemon()
        for number in range(1, rounds + 1):
            # Begun anew, the alerts may send as many messages as they like.
            await stage.start_alerts()
            for name in randomness.sample(list(DEATHS), len(DEATHS)):
                seconds = await ensureDeferred(DEATHS[name](stage))
                longest[name] = max(longest.get(name, 0.0), seconds)
            await stage.end_alerts()
            print(f"round {number} of {rounds}", flush=True)  # noqa: T201
        # What was heard elsewhere is what was heard here, each line once, whatever the network did.
        here, away = Counter(stage.here.lines), Counter(stage.away.lines)
        assert here == away, (here - away, away - here)
        repeated = [line for line, times in here.items() if times > 1]
        assert not repeated, repeated
    finally:
        await stage.close()
    return longest


def main(arguments: list[str]) -> None:
    """Play the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.alert_rounds", description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)  # noqa: T201

    async def run(_reactor: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="riskd-") as directory:
            longest = await play(Path(directory), options.rounds, random.Random(options.seed))
        for name, seconds in longest.items():
            print(f"{name}: heard after {seconds:.1f} s at most")  # noqa: T201

    react(lambda clock: Deferred.fromCoroutine(run(clock)), _reactor=reactor)


if __name__ == "__main__":
    main(sys.argv[1:])
