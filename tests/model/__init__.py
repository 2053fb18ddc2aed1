"""Tests of :mod:`riskd.model`."""
