"""Tests of :mod:`riskd.config`."""
