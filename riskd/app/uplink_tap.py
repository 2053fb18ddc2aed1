"""``twistd riskd-uplink``: publishes the riskd of this machine to a desk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import Service

from riskd.app import launch
from riskd.app.desk_options import CONFIG_OPTION, DeskOptions, read_settings
from riskd.app.launch import Program
from riskd.desk.settings import DeskSettings
from riskd.host.core_dumps import forbid_core_dumps
from riskd.host.directories import default_directory
from riskd.host.errors import UserError


class Options(DeskOptions):
    """The command line of ``twistd riskd-uplink``."""

    program = "riskd-uplink"
    longdesc = (
        "Publish the riskd of this machine to a desk, over NATS: its events, the state of its accounts, and that it is "
        "alive. Nothing comes back, and riskd does not depend on it."
    )
    optParameters: Sequence[Sequence[Any]] = [
        CONFIG_OPTION,
        launch.LOG_FORMAT_OPTION,
    ]


def makeService(options: Options) -> Service:
    """Assemble the uplink from its options."""
    forbid_core_dumps()
    try:
        settings = uplink_settings(options)
        return _program(settings, options)
    except UserError as error:
        options.refuse(*error.problems)


def uplink_settings(options: Options) -> DeskSettings:
    """Return the settings, with an instance.

    :raises UserError: see :func:`read_settings`; or the instance is missing.
    """
    settings = read_settings(options["config"])
    if settings.instance is None:
        raise UserError(
            f"{options['config']}: instance: missing; expected the desk's name for this riskd"
        )
    return settings


def _program(settings: DeskSettings, options: Options) -> Program:
    # Only now, because twistd installs a reactor first, and nats-py is an optional dependency.
    from twisted.internet import reactor  # noqa: PLC0415

    from riskd.desk.certificate_end import CertificateWatch, certificate_end  # noqa: PLC0415
    from riskd.desk.connection import DeskConnection, client_context, id_secret  # noqa: PLC0415
    from riskd.desk.riskd_directory import RiskdDirectory  # noqa: PLC0415
    from riskd.desk.stream import Stream, stream_service  # noqa: PLC0415
    from riskd.desk.uplink import Uplink  # noqa: PLC0415

    clock: Any = reactor
    stream = Stream(clock.seconds)
    place = RiskdDirectory(settings, stream, default_directory())
    uplink = Uplink(settings, stream, place, launch.utc_now, id_secret(settings))
    name = settings.instance or ""
    context = client_context(settings)
    connection = DeskConnection(settings, name, context, uplink.use)
    certificates = CertificateWatch(clock, certificate_end(context), launch.utc_now)
    program = Program()
    for service in (stream_service(stream, settings.url, clock), connection, certificates):
        service.setServiceParent(program)
    return launch.finish(program, reactor, options)
