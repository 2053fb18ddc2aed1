"""riskd follows futures accounts, keeps their state and tells every console on this machine."""

__version__ = "0.1.0"
