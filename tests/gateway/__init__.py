"""Tests of :mod:`riskd.gateway`."""
