"""The steps of ``riskctl desk``, and what each says is to be done next."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Final

from riskd.app.riskctl.desk import directory
from riskd.app.riskctl.desk.addresses import parse_servers
from riskd.app.riskctl.desk.configurations import ACCOUNTS, SERVER_CONFIGURATION
from riskd.app.riskctl.desk.nats_server import WHERE, check_version, find_server, needed
from riskd.desk.messages import RELAY
from riskd.desk.revoked import REVOKED_NAME
from riskd.model.formatting import counted
from riskd.model.safe_text import printable

_RELOAD: Final = "kill -HUP $(cat nats-server.pid)"
"""Has a server read its accounts again; connections go on."""


def init(options: argparse.Namespace) -> int:
    """Write the directory of a new desk.

    :raises UserError: a name or an address cannot be one, the directory exists, or nats-server is too old.
    """
    servers = parse_servers(options.server, options.listen or ())
    path = Path(options.desk) if options.output is None else options.output
    program = find_server()
    version = None if program is None else check_version(program)
    register = directory.create(path, options.desk, servers, tuple(options.trader or ()))
    _say(
        f"{path} is written: the desk {register.desk} with {counted(len(servers), 'server')}, its relay and "
        f"{counted(len(register.traders), 'trader')}."
    )
    if program is None:
        _say(
            f"nats-server is not installed here. The server's machine needs version {needed()} or newer: {WHERE}"
        )
    else:
        _say(f"nats-server {version} is installed here, as {program}.")
    _say()
    _say(f"Keep {path / 'authority'}: who has it can make users of the desk.")
    for server, name in zip(servers, register.server_directories, strict=True):
        _say(
            f"On {server.host}, with a copy of {path / name}, start the server in that directory:"
        )
        _say(f"    {_program(program)} -c {SERVER_CONFIGURATION}")
    _say(
        f"On the relay's machine, with a copy of {path / 'relay'}, start the relay in that directory:"
    )
    _say("    twistd -n --pidfile= riskd-relay --config desk.toml")
    for trader in register.traders:
        _say_trader(path, trader)
    return 0


def add(options: argparse.Namespace) -> int:
    """Give a trader a place at a desk.

    :raises UserError: the name cannot be one, or is taken, or there is no such desk.
    """
    has_left = options.trader in directory.read_register(options.directory).revoked
    register = directory.add(options.directory, options.trader)
    _say(f"{options.trader} has a place at the desk {register.desk}.")
    # A server (2.15.1) hands on what a new account publishes only once it has read its accounts again.
    _say_reload(options.directory, register, f"{_RELOAD}; sleep 1; {_RELOAD}")
    if has_left:
        _say_relay(options.directory, f"shows {options.trader} again")
    _say_trader(options.directory, options.trader)
    return 0


def revoke(options: argparse.Namespace) -> int:
    """Take a trader's place at a desk.

    :raises UserError: there is no such trader, or no such desk.
    """
    files = directory.revoke(options.directory, options.trader)
    register = directory.read_register(options.directory)
    _say(f"{options.trader} has no place at the desk {register.desk} any more.")
    if files is not None:
        _say(f"What was for {options.trader} is in {files} now.")
    _say("Until each server has read its accounts again, the old credentials are good.")
    _say_reload(options.directory, register, _RELOAD)
    _say_relay(options.directory, f"shows {options.trader} no more")
    return 0


def _say_reload(path: Path, register: directory.Register, command: str) -> None:
    names = ", ".join(register.server_directories)
    _say(f"Copy {path / ACCOUNTS} to the directory of each server ({names}), and there:")
    _say(f"    {command}")


def _say_relay(path: Path, then: str) -> None:
    _say(f"Copy {path / REVOKED_NAME} to the directory of the relay ({RELAY}), which then {then}.")


def _say_trader(path: Path, trader: str) -> None:
    _say(
        f"On {trader}'s machine, with a copy of {path / 'traders' / trader}, start the uplink in that directory:"
    )
    _say("    twistd -n --pidfile= riskd-uplink --config desk.toml")


def _program(found: Path | None) -> str:
    return "nats-server" if found is None else shlex.quote(str(found))


def _say(line: str = "") -> None:
    sys.stdout.write(f"{printable(line)}\n")
