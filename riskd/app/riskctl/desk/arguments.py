"""The command line of ``riskctl desk``, with nothing but the standard library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from riskd.app.riskctl.later import Later


def add_desk(commands: Any) -> None:
    """Add the commands that set up what many traders' riskd send to."""
    desk = commands.add_parser(
        "desk",
        help="set up a desk that follows many traders: its server, its relay, its users",
        description="Write the files of a desk, which follows the riskd of many traders: the configuration of its NATS "
        "servers, certificates, and what each trader's uplink and the desk's relay need.  docs/desk.md has the steps.",
    )
    steps = desk.add_subparsers(required=True, metavar="STEP")

    init = steps.add_parser(
        "init",
        help="write a new directory with all files of a desk",
        description="Write a new directory with all files of a desk: the configuration of its NATS servers, its "
        "certificates, and a directory for the machine of each trader and of the relay.",
    )
    init.add_argument("desk", metavar="DESK", help="the desk's name: letters, digits, _ and -")
    init.add_argument(
        "--server",
        action="append",
        required=True,
        metavar="HOST[:PORT[:CLUSTER_PORT]]",
        help="where the server is reached (usual ports: 4222, and 6222 between servers); once, or three times for "
        "servers that each keep all messages",
    )
    init.add_argument(
        "--listen",
        action="append",
        metavar="ADDRESS",
        help="where the server listens, for each --server (default: the address at which it is reached)",
    )
    init.add_argument(
        "--trader", action="append", metavar="NAME", help="a trader of the desk; may be repeated"
    )
    init.add_argument(
        "-o",
        dest="output",
        type=Path,
        metavar="DIR",
        help="the directory to write, which must not exist (default: the desk's name)",
    )
    init.set_defaults(run=Later("riskd.app.riskctl.desk.commands", "init"))

    for name, what in (
        ("add", "give one more trader a place at the desk"),
        ("revoke", "take a trader's place: the trader's credentials are refused from then on"),
    ):
        step = steps.add_parser(name, help=what)
        step.add_argument(
            "directory", type=Path, metavar="DIR", help="what riskctl desk init has written"
        )
        step.add_argument("trader", metavar="TRADER", help="the trader's name")
        step.set_defaults(run=Later("riskd.app.riskctl.desk.commands", name))
