"""Tests of :mod:`riskd.broadcast`."""
