"""The directory of a desk: who is there, and what each machine is given.

::

    desk.json                 the desk, its servers, and the server's user of the relay and of each trader
    revoked.json              who has left: a copy of it is beside the relay's desk.toml
    accounts.conf             the server's accounts: a copy of it is beside each server's configuration
    authority/                certificates and keys that sign; they stay here
    server/                   for the server's machine; of three servers: server-1/, server-2/, server-3/
    relay/                    for the relay's machine
    traders/NAME/             for the machine of each trader
    revoked/                  what traders had who have been revoked

Each directory that goes to a machine has all that its program needs, and nothing of anybody else.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from riskd.app.riskctl.desk.addresses import Server
from riskd.app.riskctl.desk.certificates import Authority, Credentials
from riskd.app.riskctl.desk.configurations import (
    ACCOUNTS,
    PROGRAM_CONFIGURATION,
    SERVER_CONFIGURATION,
    program_text,
    server_name,
    server_text,
)
from riskd.app.riskctl.desk.rights import accounts_text, check_names
from riskd.app.riskctl.new_configuration import write_new
from riskd.desk.messages import RELAY
from riskd.desk.revoked import REVOKED_NAME, revoked_text
from riskd.host.errors import UserError

_REGISTER: Final = "desk.json"
_SECRET: Final = 0o600
_PUBLIC: Final = 0o644
_PRIVATE_DIRECTORY: Final = 0o700

_Files = Iterator[tuple[str, str]]
"""Names of files in a directory, and their texts; those that end in ``.key`` are secret."""


class Register(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is at a desk.

    :ivar desk: its name.
    :ivar servers: one, or three.
    :ivar users: the server's user of the relay and of each trader, by their names.
    :ivar revoked: the names of traders who have left.
    """

    desk: str
    servers: tuple[Server, ...]
    users: dict[str, str]
    revoked: tuple[str, ...] = ()

    @property
    def traders(self) -> list[str]:
        """The names of the traders."""
        return sorted(name for name in self.users if name != RELAY)

    @property
    def server_directories(self) -> list[str]:
        """The names of the servers' directories."""
        if len(self.servers) == 1:
            return ["server"]
        return [f"server-{number}" for number in range(1, len(self.servers) + 1)]


def create(
    path: Path, desk: str, servers: tuple[Server, ...], traders: tuple[str, ...]
) -> Register:
    """Write the directory of a new desk, all of it or nothing.

    :raises UserError: a name cannot be one, there is something at ``path``, or it cannot be written.
    """
    check_names(desk, traders)
    if os.path.lexists(path):
        raise UserError(f"{path} exists, and is not overwritten; -o DIR names another directory")
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.absolute().parent))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    try:
        register = _write_all(work, Register(desk=desk, servers=servers, users={}), traders)
        work.rename(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return register


def add(path: Path, trader: str) -> Register:
    """Give a trader a place at a desk.

    :raises UserError: the name cannot be one or is taken, or the directory is not that of a desk.
    """
    register = read_register(path)
    check_names(register.desk, (*register.traders, trader))
    authority = _read_authority(path / "authority", "ca")
    register = _with_user(path, register, authority, trader)
    _write_register(path, register)
    return register


def revoke(path: Path, trader: str) -> Path | None:
    """Take a trader's place at a desk.

    :returns: where the trader's files are now; ``None`` if they are not here.
    :raises UserError: there is no such trader, or the directory is not that of a desk.
    """
    register = read_register(path)
    if trader not in register.traders:
        known = ", ".join(register.traders) or "none"
        raise UserError(f"the desk {register.desk} has no trader {trader!r}; it has {known}")
    users = dict(register.users)
    serial = users.pop(trader).rpartition(":")[2]
    revoked = (*register.revoked, trader)
    _write_register(path, msgspec.structs.replace(register, users=users, revoked=revoked))
    files, aside = path / "traders" / trader, path / "revoked" / f"{trader}-{serial[:8]}"
    try:
        if not os.path.lexists(files):
            return None
        _make_directory(aside.parent)
        files.rename(aside)
    except OSError as error:
        raise UserError(f"{files} cannot be moved to {aside}: {error.strerror}") from None
    return aside


def read_register(path: Path) -> Register:
    """Return who is at a desk.

    :raises UserError: the directory is not that of a desk.
    """
    file = path / _REGISTER
    try:
        return msgspec.json.decode(file.read_bytes(), type=Register)
    except OSError as error:
        raise UserError(
            f"{file} cannot be read: {error.strerror}; expected the directory that riskctl desk init has written"
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: expected what riskctl desk init writes: {error}") from None


def server_paths(path: Path, register: Register) -> list[Path]:
    """Return the directories of the servers that are still here."""
    return [path / name for name in register.server_directories if (path / name).is_dir()]


def _write_all(path: Path, register: Register, traders: Iterable[str]) -> Register:
    authority = Authority.new(f"desk {register.desk}")
    _write(path / "authority", _authority_files("ca", authority))
    is_cluster = len(register.servers) > 1
    cluster = Authority.new(f"servers of the desk {register.desk}") if is_cluster else None
    if cluster is not None:
        _write(path / "authority", _authority_files("cluster-ca", cluster))
    for number, name in enumerate(register.server_directories, 1):
        _write(path / name, _server_files(register, number, authority, cluster))
    for name in (RELAY, *traders):
        register = _with_user(path, register, authority, name)
    _write_register(path, register)
    return register


def _with_user(path: Path, register: Register, authority: Authority, name: str) -> Register:
    """Write what a trader or the relay needs.

    :returns: the register with the server's new user.
    :raises UserError: there are such files, or they cannot be written.
    """
    user, credentials = authority.user(register.desk, name)
    is_trader = name != RELAY
    text = program_text(register.desk, register.servers, name, is_trader=is_trader)
    directory = path / "traders" / name if is_trader else path / name
    if os.path.lexists(directory):
        raise UserError(f"{directory} exists, and is not overwritten")
    _write(
        directory,
        (
            (PROGRAM_CONFIGURATION, text),
            ("ca.pem", authority.credentials.certificate),
            *_pair(name, credentials),
        ),
    )
    revoked = tuple(each for each in register.revoked if each != name)
    return msgspec.structs.replace(register, users={**register.users, name: user}, revoked=revoked)


def _write_register(path: Path, register: Register) -> None:
    """Write who is at the desk, and the servers' accounts.

    :raises UserError: it cannot be written.
    """
    accounts = accounts_text(register.desk, register.users)
    for directory in (path, *server_paths(path, register)):
        _replace(directory / ACCOUNTS, accounts)
    for directory in filter(Path.is_dir, (path, path / RELAY)):
        _replace(directory / REVOKED_NAME, revoked_text(register.revoked))
    # Last, so that a step that has failed can be done again.
    register_text = msgspec.json.format(msgspec.json.encode(register)).decode()
    _replace(path / _REGISTER, f"{register_text}\n")


def _server_files(
    register: Register, number: int, authority: Authority, cluster: Authority | None
) -> _Files:
    host = register.servers[number - 1].host
    name = server_name(register.desk, number)
    yield SERVER_CONFIGURATION, server_text(register.desk, register.servers, number)
    yield "ca.pem", authority.credentials.certificate
    yield from _pair("server", authority.server(name, host))
    if cluster is not None:
        yield "cluster-ca.pem", cluster.credentials.certificate
        yield from _pair("cluster", cluster.cluster_member(name, host))


def _authority_files(name: str, authority: Authority) -> _Files:
    return _pair(name, authority.credentials)


def _pair(name: str, credentials: Credentials) -> _Files:
    yield f"{name}.pem", credentials.certificate
    yield f"{name}.key", credentials.key


def _read_authority(path: Path, name: str) -> Authority:
    """Return the authority that signs.

    :raises UserError: it cannot be read.
    """
    certificate, key = path / f"{name}.pem", path / f"{name}.key"
    try:
        return Authority.read(Credentials(certificate.read_text(), key.read_text()))
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{key}: expected the key of {certificate}, as riskctl desk init has written both: {error}"
        ) from None


def _write(directory: Path, files: Iterable[tuple[str, str]]) -> None:
    _make_directory(directory)
    for name, text in files:
        write_new(directory / name, text, _SECRET if name.endswith(".key") else _PUBLIC)


def _make_directory(path: Path) -> None:
    """Make a directory, and those above it, for this user alone.

    :raises UserError: it cannot be made.
    """
    try:
        path.parent.mkdir(_PRIVATE_DIRECTORY, exist_ok=True)
        path.mkdir(_PRIVATE_DIRECTORY, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be made: {error.strerror}") from None


def _replace(path: Path, text: str) -> None:
    """Write a file in place of what it was, all of it or nothing.

    :raises UserError: it cannot be written.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        write_new(new, text, _PUBLIC)
        new.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
