"""The program ``trader-alerts``: messages to a trader away from the screen.

It is one more client of the stream, beside the console.

- :mod:`~trader.alerts.main` starts it; :mod:`~trader.alerts.arguments` is the command line, which
  :mod:`~trader.alerts.options` joins with ``alerts.toml`` (:mod:`~trader.alerts.settings`).
- :mod:`~trader.alerts.watcher` follows the daemon; :mod:`~trader.alerts.account_watch` finds what is news of an
  account; both make an :mod:`~trader.alerts.alert`, and :mod:`~trader.alerts.words` puts alerts into a message.
- :mod:`~trader.alerts.outbox` decides what is sent when; :mod:`~trader.alerts.delivery` sends it to the targets
  (:mod:`~trader.alerts.targets`), and :mod:`~trader.alerts.heartbeat` is for a watchdog elsewhere.
"""
