"""The socket of the trader's group: what it takes, whom it admits, and what it refuses with which words."""

from __future__ import annotations

import grp
import os
import pwd
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.testing import MemoryReactor
from twisted.protocols.amp import RemoteAmpError
from twisted.trial.unittest import SynchronousTestCase

from riskd.control import guard
from riskd.control.commands import Commands
from riskd.control.guard import (
    CHANGE_SECONDS,
    GUARD_COMMANDS,
    MAX_CHANGES,
    Group,
    GroupError,
    GuardCommands,
    GuardFactory,
    find_group,
    guard_service,
)
from riskd.control.peer import peer_groups, peer_uid
from riskd.control.protocol import (
    FlattenCommand,
    FloorCommand,
    LockCommand,
    Request,
    RequestRefusedError,
    RulesCommand,
    StatusCommand,
    UnlockCommand,
)
from tests.support.control import ControlTestCase, FakeDaemon
from tests.support.directories import temporary_directory

TRADERS = Group("traders", 4711)
# Of no user of a machine that runs the tests.
JANE, BOB = 54321, 54322


class GuardTestCase(ControlTestCase):
    """A client of the guard's socket, by default jane, who is in the group."""

    def setUp(self) -> None:
        super().setUp()
        self.factory = GuardFactory(self.clock, self.daemon, TRADERS)
        self.factory.operator_of = lambda _transport: "jane"
        self.come_as(JANE, TRADERS.gid)

    def come_as(self, uid: int | None, *groups: int) -> None:
        """Connect from now on as a user."""
        self.patch(guard, "peer_uid", lambda _connection: uid)
        self.patch(guard, "peer_groups", lambda _connection: frozenset(groups))


class CommandTests(GuardTestCase):
    """The commands that the socket takes."""

    def test_accounts_are_shown_locked_and_flattened_under_the_users_name(self) -> None:
        request = Request(account=123, reason="enough")
        self.assertEqual(self.ask(StatusCommand).accounts[0].account, 123)
        self.assertEqual(self.ask(RulesCommand, request).account, 123)
        self.ask(FlattenCommand, request)
        self.assertFalse(self.ask(LockCommand, request).was_locked)
        self.assertEqual(
            self.account.received,
            [("flatten", "enough", "jane"), ("lock", "enough", "jane", None)],
        )

    def test_an_unlock_and_a_floor_are_refused_with_who_may(self) -> None:
        self.patch(guard, "user_name", lambda _uid: "riskd")
        for command, word in ((UnlockCommand, "unlock"), (FloorCommand, "floor")):
            request = Request(account=123, reason="please", amount=1)  # type: ignore[arg-type]
            self.assertEqual(
                self.refusal(command, request),
                f"only riskd and root may use riskctl {word}; guard.sock takes status, rules, lock and flatten",
            )
        self.assertEqual(self.account.received, [])

    def test_every_command_that_is_not_listed_is_refused(self) -> None:
        """So is one that is added later."""
        taken = {command.commandName for command in GUARD_COMMANDS}
        known = set(Commands(self.daemon, self.clock)._commandDispatch)
        self.assertLess(taken, known)
        for name in known - taken:
            responder = GuardCommands(self.daemon, self.clock).locateResponder(name)
            assert responder is not None
            self.assertRaises(RemoteAmpError, responder, {})
        self.assertIsNone(GuardCommands(self.daemon, self.clock).locateResponder(b"Nonsense"))


class BoundTests(GuardTestCase):
    """How much one user may write to the daemon's disk."""

    def test_more_locks_and_flattens_than_a_person_gives_are_refused_for_a_minute(self) -> None:
        request = Request(account=123, reason="enough")
        for number in range(MAX_CHANGES):
            self.ask((LockCommand, FlattenCommand)[number % 2], request)
            self.clock.advance(1)
        for command in (LockCommand, FlattenCommand):
            self.assertIn("30 locks and flattens in a minute", self.refusal(command, request))
        self.assertEqual(len(self.account.received), MAX_CHANGES)
        # What changes nothing is not bounded, and each user has a bound of their own.
        self.ask(StatusCommand)
        self.factory.operator_of = lambda _transport: "joan"
        self.ask(LockCommand, request)
        self.factory.operator_of = lambda _transport: "jane"
        self.clock.advance(CHANGE_SECONDS)
        self.ask(LockCommand, request)

    def test_refused_commands_do_not_count(self) -> None:
        for _ in range(2 * MAX_CHANGES):
            self.refusal(UnlockCommand, Request(account=123, reason="please"))
            self.clock.advance(1)
        self.ask(LockCommand, Request(account=123, reason="enough"))


class AdmissionTests(GuardTestCase):
    """The users who are admitted, whatever the socket's mode has become."""

    def may_lock(self, uid: int | None, *groups: int) -> bool:
        self.come_as(uid, *groups)
        begun = self.begin(LockCommand, Request(account=123, reason="enough"))
        refused: list[Any] = []
        begun.addErrback(refused.append)
        return not refused

    def test_members_the_owner_and_root_are_admitted(self) -> None:
        for uid, groups in ((JANE, [JANE, 4711]), (os.geteuid(), []), (0, [])):
            self.assertTrue(self.may_lock(uid, *groups), uid)

    def test_others_may_use_nothing(self) -> None:
        for uid in (BOB, None):
            self.assertFalse(self.may_lock(uid, BOB, 4712))
        self.assertEqual(self.account.received, [])
        self.come_as(BOB, BOB)
        self.failureResultOf(self.begin(StatusCommand), RequestRefusedError)

    def test_the_refusal_names_user_and_group(self) -> None:
        self.come_as(BOB)
        request = Request(account=123, reason="enough")
        for command in (LockCommand, UnlockCommand):
            self.assertEqual(
                self.refusal(command, request),
                "uid 54322 is not in the group traders, whose members may use guard.sock",
            )


class PeerTests(SynchronousTestCase):
    """The groups of a peer, as the operating system names them."""

    def test_a_real_connection_has_the_groups_of_this_process(self) -> None:
        ends = socket.socketpair(socket.AF_UNIX)
        for end in ends:
            self.addCleanup(end.close)
        self.assertEqual(peer_uid(ends[0]), os.getuid())
        self.assertEqual(peer_groups(ends[0]), {os.getegid(), *os.getgroups()})


class GroupTests(SynchronousTestCase):
    """The group that the command line names."""

    def test_an_unknown_group_is_a_sentence(self) -> None:
        error = self.assertRaises(GroupError, find_group, "no-such-group")
        self.assertIn("--guard-group no-such-group: there is no such group", str(error))

    def test_a_group_that_the_daemons_user_is_not_in_is_a_sentence(self) -> None:
        own = grp.getgrgid(os.getegid())
        self.assertEqual(find_group(own.gr_name), Group(own.gr_name, own.gr_gid))
        self.patch(os, "geteuid", lambda: 12345)
        self.assertEqual(find_group(own.gr_name).gid, own.gr_gid)
        self.patch(grp, "getgrnam", lambda _: SimpleNamespace(gr_gid=4711))
        error = self.assertRaises(GroupError, find_group, "traders")
        self.assertIn("riskd's user uid 12345 is not in the group", str(error))

    def test_members_that_no_longer_exist_are_passed_over(self) -> None:
        self.patch(grp, "getgrgid", lambda _: SimpleNamespace(gr_mem=["root", "no-such-user"]))
        self.assertEqual(Group("x", 1).members, [pwd.getpwnam("root").pw_uid])
        self.patch(grp, "getgrgid", {}.__getitem__)
        self.assertEqual(Group("x", 1).members, [])


class _Reactor(MemoryReactor):
    """Makes a file in place of a socket."""

    def listenUNIX(self, address: str, *arguments: Any, mode: int, **options: Any) -> Any:
        os.close(os.open(address, os.O_CREAT, 0o666))
        self.mode_of_socket = Path(address).stat().st_mode & 0o777
        return super().listenUNIX(address, *arguments, mode=mode, **options)


class ServiceTests(SynchronousTestCase):
    """The socket in the state directory."""

    def start(self, group: Group) -> tuple[_Reactor, Path, list[tuple[str, str]]]:
        reactor, directory = _Reactor(), temporary_directory(self)
        problems: list[tuple[str, str]] = []
        service = guard_service(
            reactor, directory, FakeDaemon(123), group, lambda *each: problems.append(each)
        )
        service.startService()
        return reactor, directory / "guard.sock", problems

    def test_only_owner_and_group_may_open_it(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        reactor, path, problems = self.start(Group("own", os.getegid()))
        self.assertEqual(problems, [])
        # Before it has its group, the owner alone may.
        self.assertEqual(reactor.mode_of_socket, 0o600)
        status = path.stat()
        self.assertEqual((status.st_mode & 0o777, status.st_gid), (0o660, os.getegid()))

    def test_a_group_that_may_not_be_given_is_reported_and_the_daemon_goes_on(self) -> None:
        def refuse(*_arguments: Any, **_options: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(os, "chown", refuse)
        _reactor, path, problems = self.start(TRADERS)
        ((source, sentence),) = problems
        self.assertEqual(source, "guard")
        self.assertIn("Operation not permitted", sentence)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
