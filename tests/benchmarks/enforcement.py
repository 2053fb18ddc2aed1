"""The time from a breach to the call of the broker, while many consoles listen.

Run as ``python -m tests.benchmarks.enforcement [BREACHES [REPEATS]]``.  Each repeat runs a daemon with
the journal and one without.  All twelve rules are in force, and every quote is broadcast to a hundred
clients, of which twenty do not read.  The time runs from the event of a position that is too large to the
daemon's request to close it.

No client answers pings, and the daemon queues what a silent one does not read, so a run must stay short:
at most 400 breaches.  A run in which the daemon closed a client measured something else and is refused.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
from typing import Any

import msgspec

from tests.benchmarks.enforcement_daemon import CLIENTS
from tests.support.websocket_frames import handshake

SILENT_CLIENTS = 20
MAX_BREACHES = 400
_CHUNK = 256 * 1024


def run(with_journal: bool, breaches: int) -> dict[str, Any]:
    """Start a daemon, connect many clients, and return what the daemon measured."""
    program = [sys.executable, "-m", "tests.benchmarks.enforcement_daemon"]
    arguments = [*program, str(int(with_journal)), str(breaches)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        port = int(daemon.stdout.readline())
        clients = [connect(port) for _ in range(CLIENTS)]
        drain(clients[SILENT_CLIENTS:])
        for client in clients:
            client.close()
        figures: dict[str, Any] = msgspec.json.decode(daemon.stdout.readline())
    return figures


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


def table(results: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures of all repeats together.

    :raises SystemExit: a repeat ended with clients missing.
    """
    clients = min(result["clients"] for result in results)
    if clients < CLIENTS:
        raise SystemExit(f"enforcement: expected {CLIENTS} clients at the end, got {clients}")
    waits = sorted(1000 * wait for result in results for wait in result["latencies"])
    return {
        "breaches": len(waits),
        "p50, ms": waits[len(waits) // 2],
        "p99, ms": waits[int(len(waits) * 0.99)],
        "max, ms": waits[-1],
        "clients at the end": clients,
        "quotes told, 1/s": min(result["quotes"] for result in results),
        "longest burst, ms": 1000 * max(result["longest burst"] for result in results),
        "CPU, %": 100 * max(result["cpu"] for result in results),
    }


def main(breaches: int, repeats: int) -> dict[str, dict[str, float]]:
    """Measure, print the table, and return it."""
    if not 0 < breaches <= MAX_BREACHES:
        raise SystemExit(f"enforcement: expected 1 to {MAX_BREACHES} breaches, got {breaches}")
    results: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for _ in range(repeats):
        for with_journal in (True, False):
            results[with_journal].append(run(with_journal, breaches))
    on, off = table(results[True]), table(results[False])
    print(  # noqa: T201
        f"{repeats} interleaved repeats, {CLIENTS} clients, {SILENT_CLIENTS} of them not reading"
    )
    print(f"{'':24}{'journal on':>14}{'journal off':>14}")  # noqa: T201
    for name, figure in on.items():
        print(f"{name:24}{figure:14.3f}{off[name]:14.3f}")  # noqa: T201
    return {"journal on": on, "journal off": off}


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 300,
        int(sys.argv[2]) if len(sys.argv) > 2 else 3,
    )
