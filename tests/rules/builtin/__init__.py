"""Tests of :mod:`riskd.rules.builtin`."""
