"""Registers ``twistd riskd``."""

from twisted.application.service import ServiceMaker

riskd = ServiceMaker(
    "riskd", "riskd.app.daemon", "Broadcasts futures accounts to trader consoles.", "riskd"
)
