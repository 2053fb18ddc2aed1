"""Tests of :mod:`trader`."""
