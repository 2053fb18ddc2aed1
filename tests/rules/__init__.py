"""Tests of :mod:`riskd.rules`."""
