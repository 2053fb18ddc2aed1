"""What ``twistd riskd`` loads: the daemon, with all that it imports at its start."""

from __future__ import annotations

from riskd.host.imports import without_collections

with without_collections():
    from riskd.app import tap
    from riskd.app.launch import Daemon
    from riskd.app.tap import Options

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> Daemon:
    """Assemble the daemon from its options; they decide what else is imported."""
    with without_collections():
        return tap.makeService(options)
