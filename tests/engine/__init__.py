"""Tests of :mod:`riskd.engine`."""
