"""Tests of :mod:`trader.ui`."""
