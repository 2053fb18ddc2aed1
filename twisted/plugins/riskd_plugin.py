"""Registers ``twistd riskd``."""

from twisted.application.service import ServiceMaker

riskd = ServiceMaker(
    "riskd", "riskd.app.tap", "Broadcasts futures accounts to trader consoles.", "riskd"
)
