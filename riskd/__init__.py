"""riskd guards futures accounts and broadcasts their events to this machine."""

__version__ = "0.1.0"
