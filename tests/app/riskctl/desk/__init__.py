"""Tests of ``riskctl desk``."""
