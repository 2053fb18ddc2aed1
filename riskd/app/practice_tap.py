"""``twistd practice-gateway``: a ProjectX gateway to try clients and riskd against, and nothing but paper."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from riskd.app.launch import (
    INTERFACE_OPTION,
    LOG_FORMAT_OPTION,
    Daemon,
    Signals,
    is_detached,
    json_log,
    port_option,
    practice_gateway,
    read_settings,
    refuse,
    seed_option,
    utc_now,
)
from riskd.app.launch import Options as BaseOptions
from riskd.config.faults import Faults
from riskd.gateway.projectx.credentials import read_key_file
from riskd.host.errors import UserError
from riskd.host.loopback import listen
from riskd.host.timing import use_steady_clock
from riskd.journal.paths import default_directory
from riskd.journal.state_directory import StateDirectory
from riskd.practice.server.service import PracticeGatewayService, PracticeServer
from riskd.practice.server.site import DEFAULT_API_KEY, DEFAULT_USER_NAME, practice_site

DEFAULT_PORT: Final = 5000
_PROGRAM: Final = "practice-gateway"


class Options(BaseOptions):
    """The command line of ``twistd practice-gateway``."""

    program = _PROGRAM
    longdesc = (
        "Be a ProjectX gateway on this machine: REST and two SignalR hubs, over accounts that trade "
        "paper in a market that moves. Without --config there are the accounts 123 and 456."
    )
    optParameters: Sequence[Sequence[Any]] = [
        port_option(DEFAULT_PORT),
        INTERFACE_OPTION,
        [
            "config",
            "c",
            None,
            "File of the accounts (TOML), as riskd's; of it, [practice] and the accounts count.",
            Path,
        ],
        [
            "state",
            None,
            None,
            "Directory of the ledger [default: practice-gateway in the XDG state directory].",
            Path,
        ],
        LOG_FORMAT_OPTION,
        seed_option("the gateway"),
        ["user-name", None, DEFAULT_USER_NAME, "Name to log in with."],
        [
            "key-file",
            None,
            None,
            "File of mode 0600 whose one line is the API key [default: the key 'practice'].",
            Path,
        ],
    ]
    optFlags: Sequence[Sequence[Any]] = [
        ["quiet", "q", "Let nobody trade but those who log in; the market moves all the same."],
    ]


def makeService(options: Options) -> Daemon:
    """Assemble the gateway that ``options`` ask for.

    The port is taken here and now, before twistd detaches or writes its log, so that a port in use is
    one line on the user's terminal.
    """
    from twisted.internet import reactor  # noqa: PLC0415  # the one that twistd installed

    use_steady_clock(reactor)
    _catalogue, settings = read_settings(_PROGRAM, options["config"])
    try:
        key_file = options["key-file"]
        api_key = DEFAULT_API_KEY if key_file is None else read_key_file(key_file).reveal()
        with ExitStack() as taken:
            sockets = listen(options["port"], options["interface"])
            for listening in sockets:
                taken.enter_context(listening)
            state = StateDirectory(options["state"] or default_directory(_PROGRAM))
            # Nothing is refused any more.
            taken.pop_all()
    except UserError as error:
        refuse(_PROGRAM, str(error))
    gateway = practice_gateway(
        reactor,
        settings,
        options["practice-seed"],
        state.path,
        # Where no file says otherwise, it has the broker's habit of telling exits twice.
        faults=Faults(opening_half_again=True) if options["config"] is None else None,
        is_quiet=bool(options["quiet"]),
    )
    site = practice_site(reactor, gateway, utc_now, options["user-name"], api_key)
    daemon = Daemon()
    daemon.state = state
    for service in (
        PracticeGatewayService(gateway),
        PracticeServer(reactor, site, sockets),
        Signals(reactor, is_detached=is_detached(options)),
    ):
        service.setServiceParent(daemon)
    if options["log-format"] == "json" and options.parent is not None:
        daemon.log_observer = json_log(options.parent)
    return daemon
