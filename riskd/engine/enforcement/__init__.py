"""Act at the broker: flatten accounts, reject orders, place stops.

A dry run only announces that.

What a flatten is to do is pure (:mod:`~riskd.engine.enforcement.flattening`).  The enforcer repeats it until
the broker says that the account is flat.
"""
