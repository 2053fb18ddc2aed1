"""The programs: ``twistd riskd``, ``twistd practice-gateway`` and ``riskctl``.

``tap`` and ``practice_tap`` assemble the two daemons, and ``launch`` is what they share.
"""
