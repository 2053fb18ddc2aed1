"""Tests of :mod:`riskd.practice.server`."""
