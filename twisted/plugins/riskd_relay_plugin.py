"""Registers ``twistd riskd-relay``."""

from twisted.application.service import ServiceMaker

riskd_relay = ServiceMaker(
    "riskd relay",
    "riskd.app.relay_tap",
    "Serves the accounts of a desk to the consoles of this machine.",
    "riskd-relay",
)
