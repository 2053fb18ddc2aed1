"""One server in its own process: ``python -m tests.benchmarks.peer NAME PROGRESS_FILE``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Final

from tests.benchmarks import asyncio_peers, bare_peer, twisted_peers
from tests.benchmarks.workload import Progress, Serve, raise_descriptor_limit

RISKD: Final = "riskd"
BROADCAST_ONLY: Final = "riskd, broadcast only"
UVLOOP: Final = "riskd on uvloop"
POSITIONS: Final = "riskd, positions"
MIXTURE: Final = "riskd, mixture"
WEBSOCKETS: Final = "websockets"
PICOWS: Final = "picows"
JOINED: Final = "socket.send, joined"

COMPARED: Final[dict[str, Serve]] = {
    RISKD: partial(twisted_peers.serve, twisted_peers.Riskd),
    BROADCAST_ONLY: partial(twisted_peers.serve, twisted_peers.BroadcastOnly),
    UVLOOP: partial(twisted_peers.serve_on_uvloop, twisted_peers.Riskd),
    WEBSOCKETS: partial(asyncio_peers.serve, asyncio_peers.Websockets),
    PICOWS: partial(asyncio_peers.serve, asyncio_peers.Picows),
    "aiohttp": partial(asyncio_peers.serve, asyncio_peers.Aiohttp),
    "Autobahn": partial(twisted_peers.serve, twisted_peers.Autobahn),
    "socket.send": partial(bare_peer.serve, bare_peer.Bare),
    JOINED: partial(bare_peer.serve, bare_peer.Joined),
}
"""Those in the table."""

RIVALS: Final = (WEBSOCKETS, RISKD, PICOWS)
"""riskd and those it is held against: they take turns load by load, because a machine changes within minutes."""

_ALL: Final = {
    **COMPARED,
    POSITIONS: partial(twisted_peers.serve, twisted_peers.Positions),
    MIXTURE: partial(twisted_peers.serve, twisted_peers.Mixture),
}

if __name__ == "__main__":
    raise_descriptor_limit()
    _ALL[sys.argv[1]](Progress(Path(sys.argv[2])))
