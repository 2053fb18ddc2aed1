"""Tests of :mod:`riskd.practice`."""
