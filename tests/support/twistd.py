"""``twistd riskd`` as a process, started as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.waiting import DEADLINE_SECONDS, wait_until


class Twistd:
    """A ``twistd -n riskd`` process in a directory of its own.

    :param waits: whether to wait until the daemon reports RUNNING; otherwise until it listens.
    """

    def __init__(self, directory: Path, *arguments: str, waits: bool = True) -> None:
        self._log_path = directory / "log"
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                twistd_command(*arguments), cwd=directory, stdout=log, stderr=subprocess.STDOUT
            )
        begun = "status RUNNING" if waits else "listening on ws://[::1]"
        try:
            wait_until(lambda: begun in self.log or self.process.poll() is not None)
        except AssertionError:
            # Nobody else knows the process yet.
            self.process.kill()
            self.process.wait()
            raise
        assert self.process.poll() is None, self.log
        self.port = int(re.findall(r"listening on ws://127\.0\.0\.1:(\d+)", self.log)[0])

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)


def twistd_command(*arguments: str) -> list[str]:
    """Return the command that starts riskd with the twistd beside this Python."""
    twistd = Path(sys.executable).with_name("twistd")
    return [os.fspath(twistd), "-n", "--pidfile=", "riskd", *arguments]
