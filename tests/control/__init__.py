"""Tests of :mod:`riskd.control`."""
