"""``twistd riskd-uplink``: publishes the riskd of this machine to a desk."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from twisted.application.service import Service

from riskd.app import launch
from riskd.app.launch import Program
from riskd.desk.settings import DeskSettings, load_desk
from riskd.host.core_dumps import forbid_core_dumps
from riskd.host.errors import UserError


class Options(launch.Options):
    """The command line of ``twistd riskd-uplink``."""

    program = "riskd-uplink"
    longdesc = (
        "Publish the riskd of this machine to a desk, over NATS: its events, the state of its accounts, and that it is "
        "alive. Nothing comes back, and riskd does not depend on it."
    )
    optParameters: Sequence[Sequence[Any]] = [
        launch.path_option("config", "TOML file that riskctl desk has written: desk.toml.", "c"),
        launch.LOG_FORMAT_OPTION,
    ]

    def postOptions(self) -> None:
        """Choose the reactor, before twistd does."""
        try:
            launch.use_asyncio()
        except UserError as error:
            self.refuse(*error.problems)


def makeService(options: Options) -> Service:
    """Assemble the uplink from its options."""
    forbid_core_dumps()
    try:
        settings = read_settings(options)
        return _program(settings, options)
    except UserError as error:
        options.refuse(*error.problems)


def read_settings(options: Options) -> DeskSettings:
    """Return the settings.

    :raises UserError: nats-py is missing, or the file is wrong.
    """
    if find_spec("nats") is None:
        raise UserError("this needs nats-py; install it with pip install 'riskd[desk]'")
    if options["config"] is None:
        raise UserError("expected --config with the file desk.toml that riskctl desk has written")
    settings = load_desk(options["config"])
    if settings.instance is None:
        raise UserError(
            f"{options['config']}: instance: missing; expected the desk's name for this riskd"
        )
    return settings


def _program(settings: DeskSettings, options: Options) -> Program:
    # Only now, because twistd installs a reactor first, and nats-py is an optional dependency.
    from twisted.internet import reactor  # noqa: PLC0415

    from riskd.desk.connection import DeskConnection, client_context, id_secret  # noqa: PLC0415
    from riskd.desk.stream import Stream, stream_service  # noqa: PLC0415
    from riskd.desk.uplink import Uplink  # noqa: PLC0415

    clock: Any = reactor
    stream = Stream(clock.seconds)
    uplink = Uplink(settings, stream, launch.utc_now, id_secret(settings))
    name = settings.instance or ""
    connection = DeskConnection(settings, name, client_context(settings), uplink.use)
    program = Program()
    for service in (stream_service(stream, settings.url, clock), connection):
        service.setServiceParent(program)
    return launch.finish(program, reactor, options)
