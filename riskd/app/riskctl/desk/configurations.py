"""The texts of ``nats-server.conf`` and ``desk.toml``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from riskd.app.riskctl.desk.addresses import Server, joined

ACCOUNTS: Final = "accounts.conf"
SERVER_CONFIGURATION: Final = "nats-server.conf"
PROGRAM_CONFIGURATION: Final = "desk.toml"


def server_text(desk: str, servers: Sequence[Server], number: int) -> str:
    """Return the configuration of one server, without the accounts.

    :param number: which one it is, from 1.
    """
    server = servers[number - 1]
    return (
        f"# A server of the desk {desk}, by riskctl desk init; riskd's docs/desk.md explains it.  File names are relative\n"
        f"# to the directory that the server is started in: cd to this one, and run nats-server -c {SERVER_CONFIGURATION}\n"
        f"server_name: {_q(server_name(desk, number))}\n"
        f"listen: {_q(joined(server.listen, server.port))}\n"
        'pid_file: "nats-server.pid"\n'
        "\n"
        "jetstream: {\n"
        '  store_dir: "store"\n'
        "  max_file_store: 20GB\n"
        "  # Each message is on the disk before it is acknowledged.\n"
        "  sync_interval: always\n"
        "}\n"
        "\n"
        "# Who has no certificate of this desk is refused; the certificate says which user it is.  Nothing is said before\n"
        "# TLS, so nobody on the way can talk a client out of it.\n"
        f"{_tls('server', 'ca.pem', 'verify_and_map', 'handshake_first')}"
        "\n"
        "# A state of an account is one message.\n"
        "max_payload: 8MB\n"
        "# A connection that was cut is noticed within a minute.\n"
        'ping_interval: "20s"\n'
        "ping_max: 2\n"
        f"{_cluster(desk, servers, number) if len(servers) > 1 else ''}"
        "\n"
        f'include "{ACCOUNTS}"\n'
    )


def server_name(desk: str, number: int) -> str:
    """Return the name of a server among the others."""
    return f"{desk}-{number}"


def program_text(desk: str, servers: Sequence[Server], name: str, *, is_trader: bool) -> str:
    """Return the ``desk.toml`` of a trader or of the relay.

    :param name: that of the trader or the relay; its certificate and key are named after it.
    """
    who, program = (
        (f"{name} at the desk {desk}", "riskd-uplink")
        if is_trader
        else (f"The relay of the desk {desk}", "riskd-relay")
    )
    instance = f"instance = {_q(name)}\n" if is_trader else ""
    return (
        f"# {who}, by riskctl desk: twistd -n --pidfile= {program} --config {PROGRAM_CONFIGURATION}\n"
        f"desk = {_q(desk)}\n"
        f"{instance}"
        f"servers = [{', '.join(_q(each.url) for each in servers)}]\n"
        f"certificate = {_q(f'{name}.pem')}\n"
        f"key = {_q(f'{name}.key')}\n"
        'ca = "ca.pem"\n'
    )


def _cluster(desk: str, servers: Sequence[Server], number: int) -> str:
    server = servers[number - 1]
    routes = [
        f"    {_q(f'tls://{joined(each.host, each.cluster_port)}')}\n"
        for each in servers
        if each is not server
    ]
    return (
        "\n"
        "# The certificates of the servers have an authority of their own: no trader's certificate is good here.\n"
        "cluster: {\n"
        f"  name: {_q(desk)}\n"
        f"  listen: {_q(joined(server.listen, server.cluster_port))}\n"
        f"  advertise: {_q(joined(server.host, server.cluster_port))}\n"
        "  # Clients have all servers in their desk.toml.\n"
        "  no_advertise: true\n"
        f"  routes: [\n{''.join(routes)}  ]\n"
        f"{_tls('cluster', 'cluster-ca.pem', 'verify', indent='  ')}"
        "}\n"
    )


def _tls(name: str, authority: str, *settings: str, indent: str = "") -> str:
    lines = (
        "tls: {",
        f'  cert_file: "{name}.pem"',
        f'  key_file: "{name}.key"',
        f'  ca_file: "{authority}"',
        *(f"  {each}: true" for each in settings),
        '  min_version: "1.3"',
        "  timeout: 5",
        "}",
    )
    return "".join(f"{indent}{line}\n" for line in lines)


def _q(text: str) -> str:
    return json.dumps(text)
