"""Closing positions and canceling orders at the broker, verified and repeated."""
