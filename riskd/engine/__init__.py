"""The running engine: what happens to an account, and what riskd does about it.

A gateway's message passes through these modules, in this order:

- :mod:`~riskd.engine.service` starts, stops and reloads all accounts, and announces the daemon's status
  (:mod:`~riskd.engine.status`).
- :mod:`~riskd.engine.intake` applies the message to a :mod:`~riskd.engine.tracked_account`, which journals
  and broadcasts the change, if :mod:`~riskd.engine.order_of_truth` says that it counts.  Its
  :mod:`~riskd.engine.balances` count what it does to the balance.
- :mod:`~riskd.engine.risk` evaluates the account's rules (:mod:`~riskd.engine.account_rules`, within
  :mod:`~riskd.engine.limits_in_force`), and ends its locks and days (:mod:`~riskd.engine.locks_and_days`).
- :mod:`~riskd.engine.enforcement` carries out what the rules decide, or only announces it in a dry run.

:mod:`~riskd.engine.reconciliation` takes over what the broker (:mod:`~riskd.engine.broker`) says an account
holds.  All times are the broker's: :mod:`~riskd.engine.clocks` estimates them and watches this machine's
clocks, and :mod:`~riskd.engine.clock_effects` acts on what happens to those.

An operator acts on a :mod:`~riskd.engine.guarded_account`.  Other packages use the interfaces in
:mod:`~riskd.engine.interface`.
"""
