"""Tests of the checks of ``riskctl doctor``."""
