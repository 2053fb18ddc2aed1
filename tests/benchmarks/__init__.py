"""Benchmarks: each prints what one run measured; none passes or fails as a test."""
