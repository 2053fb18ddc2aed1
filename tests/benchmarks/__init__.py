"""Measurements, each printed from one run; nothing here passes or fails."""
