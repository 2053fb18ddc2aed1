"""Tests of :mod:`riskd.app`."""
