"""The broadcast: one way, to every console on this machine.

:meth:`~riskd.broadcast.server.BroadcastServerFactory.broadcast` is the only way out.  It encodes and
frames an event once, whatever the number of clients.  The ``door`` says who may come in; a ``client``
that cannot keep up has a ``backlog`` of its own, which delays nobody and is bounded.
"""

from riskd.broadcast.client import ConsoleProtocol
from riskd.broadcast.server import BroadcastServerFactory
from riskd.broadcast.service import BroadcastService

__all__ = ["BroadcastServerFactory", "BroadcastService", "ConsoleProtocol"]
