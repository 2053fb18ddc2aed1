"""Tests of the report of trading days."""
