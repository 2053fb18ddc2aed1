"""Tests of :mod:`riskd.host`."""
