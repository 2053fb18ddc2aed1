"""The servers of a desk, as the command line names them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from riskd.host.errors import UserError

PORT: Final = 4222
CLUSTER_PORT: Final = 6222
"""The usual ports of nats-server: for its clients, and for the other servers of a cluster."""

CLUSTER_SIZE: Final = 3
"""How many servers keep each message, where there is more than one."""

_MAX_PORT: Final = 65535
_MAX_NAME: Final = 253
_ADDRESS: Final = re.compile(
    r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?(?::([0-9]{1,5}))?", re.ASCII
)
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBER: Final = re.compile(r"(?:.*\.)?[0-9]+", re.ASCII)


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server of a desk.

    :ivar host: its name or IP address.  Traders reach it there, and its certificate is for it.
    :ivar port: of traders and the relay.
    :ivar cluster_port: of the other servers.
    :ivar listen: the name or IP address at which it listens.
    """

    host: str
    port: int
    cluster_port: int
    listen: str

    @property
    def url(self) -> str:
        """Where traders and the relay connect to."""
        return f"tls://{joined(self.host, self.port)}"


def parse_servers(addresses: Sequence[str], listen: Sequence[str]) -> tuple[Server, ...]:
    """Return the servers that the command line names.

    :param addresses: of each server ``HOST``, ``HOST:PORT`` or ``HOST:PORT:CLUSTER_PORT``.
    :param listen: for each server, in their order, where it listens; empty for where it is reached.
    :raises UserError: there is something wrong.
    """
    if len(addresses) not in (1, CLUSTER_SIZE):
        raise UserError(
            f"--server is given {len(addresses)} times; expected one server, or {CLUSTER_SIZE} that keep each "
            "message on all of them"
        )
    if len(listen) not in (0, len(addresses)):
        raise UserError(
            f"--listen is given {len(listen)} times; expected it for each --server, in their order, or not at all"
        )
    at = [_host(each, f"--listen {each}") for each in listen] or [""] * len(addresses)
    servers = tuple(_server(text, at) for text, at in zip(addresses, at, strict=True))
    _check_distinct(servers)
    return servers


def joined(host: str, port: int) -> str:
    """Return host and port as one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _server(text: str, listen: str) -> Server:
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise UserError(
            f"--server {text}: expected HOST, HOST:PORT or HOST:PORT:CLUSTER_PORT, such as desk.example, 10.0.0.5:4222 "
            "or [fd00::5]:4222"
        )
    name, *ports = found.groups()
    host = _host(name.strip("[]"), f"--server {text}")
    if _ip_address(host) in (ipaddress.IPv4Address(0), ipaddress.IPv6Address(0)):
        raise UserError(
            f"--server {text}: expected the address at which traders reach it; --listen {host} makes it listen at all"
        )
    port, cluster_port = (
        usual if given is None else _port(given, text)
        for given, usual in zip(ports, (PORT, CLUSTER_PORT), strict=True)
    )
    return Server(host=host, port=port, cluster_port=cluster_port, listen=listen or host)


def _host(text: str, where: str) -> str:
    """Return a name or an IP address.

    :raises UserError: it is neither.
    """
    if (address := _ip_address(text)) is not None:
        if address.is_multicast:
            raise UserError(f"{where}: {text} is a multicast address; expected that of a machine")
        return str(address)
    # What ends in a number is a mistyped address: no domain does.
    if len(text) > _MAX_NAME or _NUMBER.fullmatch(text) or not _NAME.fullmatch(text):
        raise UserError(f"{where}: expected the name or IP address of a machine, got {text!r}")
    return text


def _ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _port(text: str, address: str) -> int:
    if not 0 < int(text) <= _MAX_PORT:
        raise UserError(f"--server {address}: expected a port from 1 to {_MAX_PORT}, got {text}")
    return int(text)


def _check_distinct(servers: Sequence[Server]) -> None:
    """Check that no two ports are one.

    :raises UserError: two are.
    """
    taken: set[tuple[str, int]] = set()
    for each in servers:
        for port in (each.port, each.cluster_port):
            if (each.host, port) in taken:
                raise UserError(
                    f"--server: {joined(each.host, port)} is used twice; expected different machines or ports"
                )
            taken.add((each.host, port))
