"""The time from a breach to the call of the broker, while many consoles listen.

Each round runs a daemon with the journal and one without.  All twelve rules are in force, and every quote is
broadcast to a hundred clients, of which twenty do not read.  The time runs from the event of a position that is too
large to the daemon's request to close it.

No client answers pings, and the daemon queues what a silent one does not read, so a run must stay short:
at most 300 breaches, on a slow machine half as many.  A run in which the daemon closed a client measured something else and is refused.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from tests.benchmarks.enforcement_daemon import CLIENTS
from tests.benchmarks.outcome import Options, Outcome, percentile, show_progress
from tests.support.websocket_frames import handshake

SILENT_CLIENTS = 20
BREACHES = 150
QUICK_BREACHES = 100
_CHUNK = 256 * 1024


def run(
    with_journal: bool,
    breaches: int,
    *,
    has_outbox: bool = False,
    begin: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Start a daemon, connect many clients, and return what the daemon measured.

    :param has_outbox: whether the daemon keeps its events for a desk.
    :param begin: called with the daemon's port before the clients connect.
    """
    program = [sys.executable, "-m", "tests.benchmarks.enforcement_daemon"]
    arguments = [*program, str(int(with_journal)), str(breaches), str(int(has_outbox))]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        port = int(daemon.stdout.readline())
        if begin is not None:
            begin(port)
        clients = [connect(port) for _ in range(CLIENTS)]
        drain(clients[SILENT_CLIENTS:])
        for client in clients:
            client.close()
        result: dict[str, Any] = msgspec.json.decode(daemon.stdout.readline())
    return result


def connect(port: int) -> socket.socket:
    """Return a client whose handshake has completed."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(handshake(f"localhost:{port}"))
    answer = client.recv(_CHUNK)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return client


def drain(clients: list[socket.socket]) -> None:
    """Read until the daemon has closed every connection."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if not _received(key.fileobj):
                    selector.unregister(key.fileobj)


def _received(client: Any) -> bool:
    try:
        return bool(client.recv(_CHUNK))
    except ConnectionError:
        return False


def figures(result: dict[str, Any]) -> dict[str, float]:
    """Return the figures of a round.

    :raises SystemExit: it ended with clients missing.
    """
    clients = result["clients"]
    if clients < CLIENTS:
        raise SystemExit(f"enforcement: expected {CLIENTS} clients at the end, got {clients}")
    waits = [1000 * wait for wait in result["latencies"]]
    return {
        "breaches": len(waits),
        "p50, ms": percentile(waits, 0.5),
        "p99, ms": percentile(waits, 0.99),
        "max, ms": max(waits),
        "quotes told, 1/s": result["quotes"],
        "longest burst, ms": 1000 * result["longest burst"],
        "CPU, %": 100 * result["cpu"],
    }


def benchmark(options: Options) -> Outcome:
    """Measure with the journal and without, in turn."""
    outcome = Outcome()
    for number in range(options.rounds_or(5, 1)):
        show_progress(f"round {number + 1}")
        for with_journal in (True, False):
            column = f"journal {'on' if with_journal else 'off'}"
            result = run(with_journal, QUICK_BREACHES if options.quick else BREACHES)
            for name, value in figures(result).items():
                outcome.add("from a breach to the call of the broker", name, column, value)
    outcome.notes.append(f"{CLIENTS} clients, {SILENT_CLIENTS} of them not reading.")
    return outcome
