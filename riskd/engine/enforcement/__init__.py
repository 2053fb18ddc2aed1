"""Act at the broker: flatten accounts, reject orders, place stops; or only announce that in a dry run.

What a flatten is to do is pure (:mod:`~riskd.engine.enforcement.flattening`).  The enforcer repeats it until
the broker says that the account is flat.
"""
