"""The processes of a benchmark, each pinned to its own core where there are two."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self

import msgspec

SERVER_CORE: Final = 0
RECEIVER_CORE: Final = 1

_ANSWER_SECONDS: Final = 180


class Process:
    """A process that answers each line with a line.

    :param module: the module that the process runs.
    :param core: the core to pin it to; ``None`` for any.
    """

    def __init__(self, module: str, *arguments: str, core: int | None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if core is not None and core < (os.cpu_count() or 1):
            os.sched_setaffinity(self._process.pid, {core})

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Send an order and return its answer.

        :raises RuntimeError: the process does not answer.
        """
        self.send_order(do, **more)
        return self.answer()

    def send_order(self, do: str, **more: Any) -> None:
        """Send an order; :meth:`answer` returns its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"do": do, **more}) + b"\n")
        self._process.stdin.flush()

    def answer(self, seconds: float = _ANSWER_SECONDS) -> dict[str, Any]:
        """Return the next answer.

        :raises RuntimeError: the process does not answer.
        """
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise RuntimeError(f"{self._process.args} does not answer")
        answer: dict[str, Any] = msgspec.json.decode(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Bench:
    """A receiver, and the servers that it connects to in turn."""

    def __init__(self, receiver: Process, progress: Path, *, is_pinned: bool) -> None:
        self.receiver = receiver
        self._progress = progress
        self._core = SERVER_CORE if is_pinned else None

    @contextmanager
    def server(self, name: str) -> Iterator[tuple[Process, int]]:
        """Run a server of :mod:`tests.benchmarks.peer`; yield it and its port."""
        with Process("peer", name, str(self._progress), core=self._core) as server:
            yield server, server.answer()["port"]
            self.receiver.ask("leave", clients=sys.maxsize)


@contextmanager
def bench(*, is_pinned: bool = True) -> Iterator[Bench]:
    """Yield a bench; with ``is_pinned``, servers and receiver each have a core."""
    with TemporaryDirectory() as directory:
        progress = Path(directory, "progress")
        core = RECEIVER_CORE if is_pinned else None
        with Process("receiver", str(progress), core=core) as receiver:
            yield Bench(receiver, progress, is_pinned=is_pinned)
