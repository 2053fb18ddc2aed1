"""Tests of :mod:`trader.model`."""
