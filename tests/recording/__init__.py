"""Tests of :mod:`riskd.recording`."""
