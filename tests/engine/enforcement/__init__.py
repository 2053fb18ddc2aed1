"""Tests of :mod:`riskd.engine.enforcement`."""
