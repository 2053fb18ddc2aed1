"""Paper trading: a simulated market, an exchange, traders, and their gateway.

- :mod:`.exchange` carries out orders.  :mod:`.matching` decides when an order fills and why one is rejected;
  :mod:`.account_store` keeps accounts and answers searches; :mod:`.records` has their data,
  :mod:`.refusals` the error codes.
- :mod:`.market` moves prices, :mod:`.traders` decide what to trade.
- :mod:`.gateway` runs both and is the broker interface over them.  :mod:`.fault_injection` decides what goes wrong,
  :mod:`.network` does it, and :mod:`.ledger` keeps accounts and orders over a restart.
- :mod:`.server` serves the gateway to other programs.
"""
