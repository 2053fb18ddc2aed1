"""Tests of :mod:`riskd.app.riskctl`."""
