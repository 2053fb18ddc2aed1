"""The socket of the trader's group, which may close and lock but not unlock.

It is for a trader who runs the console under another user than riskd: the daemon's files and its operator's
socket belong to the daemon's user.  The operating system lets only members of one group open the socket; riskd
asks it once more who has done so.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections import deque
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

MAX_CHANGES: Final = 30
"""Locks and flattens of one user within :data:`CHANGE_SECONDS`: each is written to the daemon's disk for good."""

CHANGE_SECONDS: Final = 60

_ALLOWED: Final = frozenset(command.commandName for command in GUARD_COMMANDS)
_CHANGES: Final = frozenset(command.commandName for command in (LockCommand, FlattenCommand))


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
    :param may_change: returns whether the client has not changed too much lately; called for each change.
    """

    def __init__(
        self,
        operated: IOperated,
        clock: IReactorTime,
        refusal: str = "",
        may_change: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(operated, clock)
        self._refusal = refusal
        self._may_change = may_change

    def locateResponder(self, name: bytes) -> Callable[[AmpBox], Any] | None:  # noqa: N802  # AMP's name
        """Return what answers a command; for one that is not allowed, what refuses it."""
        responder: Callable[[AmpBox], Any] | None = super().locateResponder(name)
        refusal = "" if responder is None else self._refusal_of(name)
        if not refusal:
            return responder

        def refuse(_request: AmpBox) -> NoReturn:
            raise RemoteAmpError(REFUSED, refusal)

        return refuse

    def _refusal_of(self, name: bytes) -> str:
        if self._refusal:
            return self._refusal
        if name not in _ALLOWED:
            return _not_allowed(name)
        if name in _CHANGES and not self._may_change():
            return (
                f"{MAX_CHANGES} locks and flattens in a minute are enough; try again in a moment"
            )
        return ""


def _not_allowed(command: bytes) -> str:
    owner = user_name(os.geteuid())
    users = owner if owner == "root" else f"{owner} and root"
    taken = _listed(GUARD_COMMANDS)
    return f"only {users} may use riskctl {_word(command)}; {GUARD_NAME} takes {taken}"


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
        self._changed: dict[str, deque[float]] = {}

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
        operator = self.operator_of(transport)
        commands = GuardCommands(
            self._operated, self.clock, refusal, lambda: self._may_change(operator)
        )
        commands.operator = operator
        return commands

    def _may_change(self, operator: str) -> bool:
        times = self._changed.setdefault(operator, deque(maxlen=MAX_CHANGES))
        now = self.clock.seconds()
        if len(times) == MAX_CHANGES and now < times[0] + CHANGE_SECONDS:
            return False
        times.append(now)
        return True


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
