"""The console on a pseudo-terminal, with an emulator that shows what it wrote."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from typing import Final

import pyte

from tests.support.waiting import DEADLINE_SECONDS

MAIN: Final = "import sys; from trader.cli.main import main; sys.exit(main())"
"""A script that runs the console."""

CONTROLLED: Final = f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {MAIN}"
"""A script that makes the terminal the controlling one, as a shell's is, and runs the console."""

QUICK: Final = f"from trader.cli import console; console._TICK_SECONDS = 0.05; {MAIN}"
"""A script that runs a console which polls the state file and the clock more often."""

_READ_SECONDS: Final = 0.05


class PseudoTerminal:
    """A pseudo-terminal with a console in it.

    :ivar slave: the console's end, a file descriptor.
    :ivar written: all bytes that the console has written.
    """

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self._master, self.slave = pty.openpty()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._process: subprocess.Popen[bytes] | None = None
        self.written = b""
        self._is_open = True
        self._set_size(columns, rows)
        self._before = termios.tcgetattr(self.slave)

    def start(self, *arguments: str, script: str = MAIN, **environment: str) -> None:
        """Run ``script``, which runs the console, with ``arguments``."""
        inherited = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, *arguments],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            env={**inherited, "TERM": "xterm-256color", "PYTHON_COLORS": "0", **environment},
        )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The console's process."""
        assert self._process is not None
        return self._process

    @property
    def rows(self) -> list[str]:
        """The text of each row of the screen, without the blanks at its end."""
        return [row.rstrip() for row in self._screen.display]

    @property
    def shown(self) -> str:
        """The text of the screen."""
        return "\n".join(self.rows)

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal has the attributes that it had before the console."""
        return termios.tcgetattr(self.slave) == self._before

    def wait_for(self, *words: str) -> None:
        """Wait until the screen shows all ``words``."""
        self.wait_until(lambda: all(word in self.shown for word in words), " and ".join(words))

    def wait_until(self, condition: Callable[[], bool], description: str) -> None:
        """Read from the console until ``condition`` holds."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            left = deadline - time.monotonic()
            assert left > 0, f"never saw {description}; the screen shows:\n{self.shown}"
            self.read(min(left, _READ_SECONDS))

    @property
    def is_full(self) -> bool:
        """Whether the terminal takes no more output until it is read."""
        return not select.select([], [self.slave], [], 0)[1]

    def scribble(self, text: str) -> None:
        """Write as another program on the terminal does."""
        os.write(self.slave, text.encode())

    def drain(self) -> None:
        """Read all that was written so far.

        A console whose terminal is full cannot go on.
        """
        while self.read(0):
            pass

    def read(self, seconds: float) -> bool:
        """Show the output of the next ``seconds``; return whether there was any."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        output = os.read(self._master, 65536)
        self.written += output
        self._stream.feed(output)
        return True

    def press(self, key: str) -> None:
        """Type a key."""
        self.send(key.encode())

    def send(self, data: bytes) -> None:
        """Send bytes as a terminal does for what is typed or pasted."""
        os.write(self._master, data)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the console."""
        self.process.send_signal(number)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, and send the signal for it."""
        self._screen.resize(rows, columns)
        self._set_size(columns, rows)
        self.signal(signal.SIGWINCH)

    def exit_status(self) -> int:
        """Wait for the end of the console; return its exit status."""
        self.wait_until(lambda: self.process.poll() is not None, "the end of the console")
        self.drain()
        return self.process.returncode

    def check_restored(self) -> None:
        """Check that line discipline, screen, cursor and pasting are as before the console."""
        assert self.is_as_before
        assert self.written.rfind(b"\x1b[?1049l") > self.written.rfind(b"\x1b[?1049h") >= 0
        assert self.written.rfind(b"\x1b[?25h") > self.written.rfind(b"\x1b[?25l")
        assert self.written.rfind(b"\x1b[?2004l") > self.written.rfind(b"\x1b[?2004h") >= 0

    def hang_up(self) -> None:
        """Close the terminal, as closing its window does."""
        os.close(self.slave)
        os.close(self._master)
        self._is_open = False

    def close(self) -> None:
        """Kill a console that still runs, and close the terminal."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._is_open:
            self.hang_up()

    def _set_size(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)
