"""``riskctl``, the operator's program.

``main`` runs a command of ``arguments``: one of ``online`` asks the daemon, one of ``offline`` reads files.
"""
