"""Paper trading: a simulated market, an exchange, traders, and their gateway.

- :mod:`.exchange` carries out orders.  :mod:`.matching` decides when an order fills and why one is rejected;
  :mod:`.account_store` keeps accounts and answers searches; :mod:`.records` has their data,
  :mod:`.refusals` the error codes.
- :mod:`.market` moves prices, :mod:`.traders` decide what to trade.
- :mod:`.broker` runs both; :mod:`.gateway` is the broker interface over it.  :mod:`.ledger` keeps accounts and
  orders over a restart.
- :mod:`.fault_injection` decides what goes wrong with requests and fills, :mod:`.payload_faults` with what events
  and answers say, :mod:`.event_schedule` with when events arrive, :mod:`.trailing_store` with how old searches
  are, and :mod:`.corrections` which trades are amended or voided later.  :mod:`.network` carries out requests and
  delivers events accordingly.
- :mod:`.server` serves the gateway to other programs.
"""
