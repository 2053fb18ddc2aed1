"""Tests of :mod:`riskd.journal`."""
