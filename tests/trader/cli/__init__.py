"""Tests of :mod:`trader.cli`."""
