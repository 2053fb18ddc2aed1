"""``twistd practice-gateway``: a ProjectX-compatible gateway that trades paper."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from riskd.app import launch
from riskd.app.launch import Daemon
from riskd.app.practice_gateway import practice_gateway
from riskd.config.settings import Faults
from riskd.gateway.projectx.credentials import read_key_file
from riskd.host.directories import default_directory
from riskd.host.errors import UserError
from riskd.journal.state_directory import StateDirectory
from riskd.practice.gateway import PracticeGateway
from riskd.practice.server.site import (
    DEFAULT_API_KEY,
    DEFAULT_USER_NAME,
    PracticeServer,
    practice_site,
)


class Options(launch.Options):
    """The command line of ``twistd practice-gateway``."""

    program = "practice-gateway"
    longdesc = (
        "Be a ProjectX gateway on this machine: REST and two SignalR hubs, over accounts that trade "
        "paper in a market that moves. Without --config there are the accounts 123 and 456."
    )
    optParameters: Sequence[Sequence[Any]] = [
        launch.port_option(5000),
        launch.INTERFACE_OPTION,
        launch.path_option(
            "config", "TOML file in riskd's format; its accounts and [practice] are used.", "c"
        ),
        launch.path_option(
            "state",
            "Directory of the ledger [default: practice-gateway in the XDG state directory].",
        ),
        launch.LOG_FORMAT_OPTION,
        launch.seed_option("the gateway"),
        ["user-name", None, DEFAULT_USER_NAME, "Name to log in with."],
        launch.path_option(
            "key-file",
            "File of mode 0600 whose one line is the API key [default: the key 'practice'].",
        ),
    ]
    optFlags: Sequence[Sequence[Any]] = [
        ["quiet", "q", "No practice traders: only clients trade, and the market still moves."],
    ]


def makeService(options: Options) -> Daemon:
    """Assemble the gateway from its options."""
    reactor, _catalogue, settings = launch.begin(options)
    try:
        key_file = options["key-file"]
        api_key = DEFAULT_API_KEY if key_file is None else read_key_file(key_file).reveal()
        with ExitStack() as held:
            sockets = launch.listen_at(options, "port", held)
            daemon = Daemon(StateDirectory(options["state"] or default_directory(options.program)))
            # Nothing is refused from here on, so nothing is released again.
            held.pop_all()
    except UserError as error:
        options.refuse(*error.problems)
    gateway = practice_gateway(
        reactor,
        settings,
        options["practice-seed"],
        daemon.state.path,
        # Without a file of settings it shows the broker's quirk of reporting exits twice.
        faults=Faults(opening_half_again=True) if options["config"] is None else None,
        is_quiet=bool(options["quiet"]),
    )
    site = practice_site(reactor, gateway, options["user-name"], api_key)
    PracticeGatewayService(gateway).setServiceParent(daemon)
    PracticeServer(reactor, site, sockets).setServiceParent(daemon)
    return launch.finish(daemon, reactor, options)


class PracticeGatewayService(Service):
    """The practice gateway as a service; only its server's clients receive events."""

    def __init__(self, gateway: PracticeGateway) -> None:
        self._gateway = gateway

    def startService(self) -> None:
        """Open the market."""
        super().startService()
        self._gateway.start()

    def stopService(self) -> Deferred[None]:
        """Shut the market."""
        super().stopService()
        return self._gateway.stop()
