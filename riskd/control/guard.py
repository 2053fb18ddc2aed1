"""The socket of the trader's group, which may close and lock but not unlock.

It is for a trader who runs the console under another user than riskd: the daemon's files and its operator's
socket belong to the daemon's user.  The operating system lets only members of one group open the socket; riskd
asks it once more who has done so.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import AmpBox, RemoteAmpError

from riskd.control.commands import Commands
from riskd.control.peer import peer_groups, peer_uid
from riskd.control.protocol import (
    GUARD_NAME,
    REFUSED,
    FlattenCommand,
    LockCommand,
    RulesCommand,
    StatusCommand,
)
from riskd.control.server import ControlFactory, ControlService
from riskd.engine.interface import IOperated
from riskd.host.errors import UserError
from riskd.host.users import user_name

GUARD_COMMANDS: Final = (StatusCommand, RulesCommand, LockCommand, FlattenCommand)
"""None of them lets an account trade that may not: a lock never shortens another."""

_ALLOWED: Final = frozenset(command.commandName for command in GUARD_COMMANDS)


class GroupError(UserError):
    """The group cannot be used; the text says why, and what to do."""


class Group(msgspec.Struct, frozen=True):
    """A group of users."""

    name: str
    gid: int

    @property
    def members(self) -> list[int]:
        """The user ids of the members that the group lists.

        Those whose own group it is are not among them.
        """
        uids = []
        # A user may be removed and still be listed.
        with suppress(KeyError):
            for name in grp.getgrgid(self.gid).gr_mem:
                with suppress(KeyError):
                    uids.append(pwd.getpwnam(name).pw_uid)
        return uids


def find_group(name: str) -> Group:
    """Return the group that the daemon is to open the guard's socket for.

    :raises GroupError: there is no such group, or the daemon's user is not in it.
    """
    try:
        group = Group(name, grp.getgrnam(name).gr_gid)
    except KeyError:
        raise GroupError(
            f"--guard-group {name}: there is no such group; groupadd makes it"
        ) from None
    if os.geteuid() and group.gid not in (os.getegid(), *os.getgroups()):
        user = user_name(os.geteuid())
        raise GroupError(
            f"--guard-group {name}: riskd's user {user} is not in the group, so it cannot open "
            f"{GUARD_NAME} for it; usermod -aG {name} {user} adds the user, from the next login or start on"
        )
    return group


class GuardCommands(Commands):
    """Those of an operator's commands that only guard.

    :param refusal: why this client may use none of them; empty if it may.
    """

    def __init__(self, operated: IOperated, clock: IReactorTime, refusal: str = "") -> None:
        super().__init__(operated, clock)
        self._refusal = refusal

    def locateResponder(self, name: bytes) -> Callable[[AmpBox], Any] | None:  # noqa: N802  # AMP's name
        """Return what answers a command; for one that is not allowed, what refuses it."""
        responder: Callable[[AmpBox], Any] | None = super().locateResponder(name)
        if responder is None or (not self._refusal and name in _ALLOWED):
            return responder
        refusal = self._refusal or _not_allowed(name)

        def refuse(_request: AmpBox) -> NoReturn:
            raise RemoteAmpError(REFUSED, refusal)

        return refuse


def _not_allowed(command: bytes) -> str:
    owner = user_name(os.geteuid())
    users = owner if owner == "root" else f"{owner} and root"
    return f"only {users} may {_word(command)}; {GUARD_NAME} takes {_listed(GUARD_COMMANDS)}"


def _word(command: bytes) -> str:
    return command.decode().removesuffix("Command").lower()


def _listed(commands: tuple[Any, ...]) -> str:
    *first, last = (_word(command.commandName) for command in commands)
    return f"{', '.join(first)} and {last}"


class GuardFactory(ControlFactory):
    """The connections of the trader's group.

    :param group: only its members, the daemon's user and root are admitted.
    """

    def __init__(self, clock: IReactorTime, operated: IOperated, group: Group) -> None:
        super().__init__(clock, operated)
        self._group = group

    def commands_for(self, transport: Any) -> GuardCommands:
        """Return what carries out the requests of a client."""
        connection = transport.getHandle()
        uid = peer_uid(connection)
        refusal = ""
        if uid not in (0, os.geteuid()) and self._group.gid not in peer_groups(connection):
            who = "the user of this connection" if uid is None else user_name(uid)
            refusal = (
                f"{who} is not in the group {self._group.name}, whose members may use {GUARD_NAME}"
            )
        commands = GuardCommands(self._operated, self.clock, refusal)
        commands.operator = self.operator_of(transport)
        return commands


def guard_service(
    reactor: Any,
    directory: Path,
    operated: IOperated,
    group: Group,
    report_problem: Callable[[str, str], None],
) -> ControlService:
    """Return the service of the guard's socket in the state directory ``directory``.

    :param report_problem: receives a problem's source and its sentence.
    """
    return ControlService(
        reactor,
        directory / GUARD_NAME,
        GuardFactory(reactor, operated, group),
        report_problem,
        group.gid,
        group.members,
    )
