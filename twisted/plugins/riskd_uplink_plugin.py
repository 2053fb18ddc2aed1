"""Registers ``twistd riskd-uplink``."""

from twisted.application.service import ServiceMaker

riskd_uplink = ServiceMaker(
    "riskd uplink",
    "riskd.app.uplink_tap",
    "Publishes the riskd of this machine to a desk.",
    "riskd-uplink",
)
