"""Tells twistd of the practice gateway."""

from twisted.application.service import ServiceMaker

practice_gateway = ServiceMaker(
    "practice gateway",
    "riskd.app.practice_tap",
    "Is a ProjectX gateway that trades paper.",
    "practice-gateway",
)
