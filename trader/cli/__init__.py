"""The program ``trader-console``: a screen, or lines on standard output.

- :mod:`~trader.cli.main` starts it; :mod:`~trader.cli.options` is the command line, with the defaults of
  ``console.toml``.
- :mod:`~trader.cli.console` runs the screen: terminal, keys, session and client; :mod:`~trader.cli.alarm` is
  the bell and the hook.
- :mod:`~trader.cli.navigation` is what the trader chooses to see, :mod:`~trader.cli.keys` by which keys.
- :mod:`~trader.cli.headless` runs without a screen and writes events as lines.
"""
