"""``twistd riskd-relay``: serves a desk's accounts to this machine's consoles."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from riskd.app import launch
from riskd.app.desk_options import CONFIG_OPTION, DeskOptions, read_settings
from riskd.app.launch import Daemon
from riskd.desk.messages import RELAY
from riskd.desk.revoked import Revoked
from riskd.desk.settings import DeskSettings
from riskd.host.core_dumps import forbid_core_dumps
from riskd.host.errors import UserError
from riskd.journal.gateway_identity import DESK, GatewayIdentity
from riskd.journal.state_directory import StateDirectory

_log = Logger()


class Options(DeskOptions):
    """The command line of ``twistd riskd-relay``."""

    program = "riskd-relay"
    longdesc = (
        "Follow the riskd of every trader of a desk, over NATS, and broadcast their events to every console on this "
        "machine, as riskd itself does. It only shows: each riskd enforces alone, and nothing goes back to it."
    )
    optParameters: Sequence[Sequence[Any]] = [
        launch.port_option(8765),
        launch.INTERFACE_OPTION,
        CONFIG_OPTION,
        launch.path_option(
            "state",
            "Directory of the relay's journal and state file, of one desk "
            "[default: that of --config, or one in riskd in the XDG state directory].",
        ),
        launch.LOG_FORMAT_OPTION,
    ]


def makeService(options: Options) -> Service:
    """Assemble the relay from its options."""
    forbid_core_dumps()
    try:
        settings = read_settings(options["config"])
        revoked = Revoked(settings.directory)
        revoked.look()
        # Resources first, while a refusal is still a line on the terminal; twistd detaches afterwards.
        with ExitStack() as held:
            sockets = launch.listen_at(options, "port", held)
            directory = options["state"] or settings.relay_state
            state = launch.open_state(directory, GatewayIdentity(DESK, login=settings.desk))
            held.callback(state.release)
            relay = _assemble(settings, revoked, sockets, state, options)
            # Nothing is refused from here on, so nothing is released again.
            held.pop_all()
    except UserError as error:
        options.refuse(*error.problems)
    return relay


def _assemble(
    settings: DeskSettings,
    revoked: Revoked,
    sockets: list[socket.socket],
    state: StateDirectory,
    options: Options,
) -> Daemon:
    # Only now, because twistd installs a reactor first, and nats-py is an optional dependency.
    from twisted.internet import reactor  # noqa: PLC0415

    from riskd.app.relay_services import relay_services  # noqa: PLC0415
    from riskd.desk.connection import client_context  # noqa: PLC0415
    from riskd.host.timing import use_steady_clock  # noqa: PLC0415

    use_steady_clock(reactor)
    context = client_context(settings)
    daemon = Daemon(state)
    for service in relay_services(reactor, settings, context, RELAY, revoked, sockets, state):
        service.setServiceParent(daemon)
    return launch.finish(daemon, reactor, options)
