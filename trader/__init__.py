"""What a trader runs beside the daemon: the client library and the console.

:mod:`trader.client` stands alone and is meant for scripts, too.  The console is :mod:`trader.model` (the
state of the account as values), :mod:`trader.ui` (drawing them) and :mod:`trader.cli` (the programs).
"""
