"""Benchmarks, each beside its goals: ``python -m tests.benchmarks``; no test runs them."""
