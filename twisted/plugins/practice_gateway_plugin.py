"""Registers ``twistd practice-gateway``."""

from twisted.application.service import ServiceMaker

practice_gateway = ServiceMaker(
    "practice gateway",
    "riskd.app.practice_tap",
    "A ProjectX-compatible gateway that trades paper.",
    "practice-gateway",
)
