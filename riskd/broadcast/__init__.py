"""The broadcast: the one-way WebSocket stream to every console on this machine.

:meth:`~riskd.broadcast.server.BroadcastServerFactory.broadcast` encodes and frames an event once, whatever
the number of clients.  A congested client has a ``backlog`` of its own: quotes latest-only, everything else
in order, at most 1 MiB together with its transport's buffer.  No other client is delayed.
"""
