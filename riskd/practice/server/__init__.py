"""The practice gateway's server: a ProjectX-compatible REST API and two SignalR hubs.

Clients that other people wrote must work against it, with all that they take for granted.  So it shows
what the live gateway does, not what its documentation says; :mod:`.quirks` has the differences.
"""
