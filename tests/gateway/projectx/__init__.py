"""Tests of :mod:`riskd.gateway.projectx`."""
