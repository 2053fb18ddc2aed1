"""``riskd.toml`` and ``console.toml`` as checked settings.

:mod:`~riskd.config.loader` returns the daemon's :mod:`~riskd.config.settings`.  The console reads its own
file with :mod:`~riskd.config.toml`.
"""
