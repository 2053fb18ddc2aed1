"""A bound on what a connection reads in one turn of the reactor."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.abstract import FileDescriptor

READ_BYTES: Final = 8 * 1024
"""What Twisted's transports read at once by default is eight times as much.

Small messages cost far more to handle than to read, and other connections wait meanwhile: one of them may bring
the breach of a limit.
"""


def bound_reads(transport: Any) -> None:
    """Let a connection read at most :data:`READ_BYTES` at once.

    With TLS it is a record, of at most 16 kB.
    """
    while transport is not None:
        if isinstance(transport, FileDescriptor):
            transport.bufferSize = READ_BYTES
            return
        transport = getattr(transport, "transport", None)
