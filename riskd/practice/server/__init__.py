"""The practice gateway's server: ProjectX's REST API and two SignalR hubs.

Clients that other people wrote must work against it, with all that they take for granted.  So it behaves
as the live gateway does where that differs from its documentation; :mod:`.live_events` has the differences.

- :mod:`.site` takes HTTP requests, as a service of a program.  :mod:`.api` answers those of REST by the table
  of :mod:`.endpoints`, with :mod:`.bodies` in and :mod:`.rest_payloads` out; :mod:`.tokens` checks session
  tokens.
- :mod:`.hub_sockets` holds the clients of the hubs, :mod:`.hub_conversation` decides what to do for them.
- :mod:`.event_feed` sends events to subscribers: :mod:`.live_events` gives them their form.
"""
