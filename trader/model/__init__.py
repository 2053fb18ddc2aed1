"""The account as a trader sees it, in values: no network, no terminal, no clock.

- :mod:`~trader.model.session` merges the state file and the stream into one :mod:`~trader.model.view`;
  :mod:`~trader.model.ui_state` is which part of the view the trader has chosen.
- :mod:`~trader.model.limit_usage` and :mod:`~trader.model.day_trades` derive figures from an account's state.
- :mod:`~trader.model.wording` and :mod:`~trader.model.formatting` put events and figures into words that a
  terminal shows safely.
"""
