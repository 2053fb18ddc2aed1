"""Failures between ``riskctl`` and riskd, as sentences."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols.amp import AMP, AmpBox, CommandLocator

from riskd.app.riskctl.arguments import parse
from riskd.app.riskctl.errors import ANSWER_SECONDS
from riskd.app.riskctl.online import run_with_daemon
from riskd.control.peer import user_name
from riskd.control.protocol import MAX_PATH_BYTES
from tests.support.control import NOW, AbortableTransport
from tests.support.riskctl import AskingTestCase, temporary_directory


class ErrorTests(AskingTestCase):
    """Each failure, as the operator reads it."""

    def test_a_daemon_that_is_not_running(self) -> None:
        for number in (errno.ENOENT, errno.ECONNREFUSED):
            self.begin("status")
            self.fail_to_connect(number)
            self.assertEqual(
                self.failure_text(), "riskd is not running (no answer at /state/riskd.sock)"
            )

    def test_permission_denied_names_the_users_who_may(self) -> None:
        self.state = temporary_directory(self)
        (Path(self.state) / "riskd.sock").touch()
        self.begin("status")
        self.fail_to_connect(errno.EACCES)
        who = user_name(os.geteuid())
        may = who if who == "root" else f"{who} and root"
        self.assertIn(f"only {may} may use", self.failure_text())

    def test_permission_denied_for_the_directory_names_no_user(self) -> None:
        self.begin("status")
        self.fail_to_connect(errno.EACCES)
        self.assertIn("only the user who runs riskd and root may use", self.failure_text())

    def test_another_connect_error_is_named(self) -> None:
        self.begin("status")
        self.fail_to_connect(errno.EAGAIN)
        self.assertIn(os.strerror(errno.EAGAIN), self.failure_text())

    def test_a_missing_answer_within_the_time(self) -> None:
        self.begin("status")
        self.answer(AMP(locator=Silent()))
        self.reactor.advance(ANSWER_SECONDS)
        self.assertIn("riskd did not answer within 5 seconds", self.failure_text())

    def test_no_connection_within_the_time(self) -> None:
        self.begin("status")
        self.reactor.advance(ANSWER_SECONDS)
        self.assertIn("riskd did not answer within 5 seconds", self.failure_text())

    def test_a_connection_that_is_closed(self) -> None:
        self.begin("status")
        client = self.reactor.unixClients[-1][1].buildProtocol(None)
        transport = AbortableTransport(client, isServer=False)
        client.makeConnection(transport)
        transport.abortConnection()
        self.assertIn("riskd closed the connection", self.failure_text())

    def test_a_daemon_of_another_version(self) -> None:
        self.begin("status")
        self.answer(AMP())
        self.assertIn("does not know the command", self.failure_text())

    def test_an_answer_that_is_not_of_its_type(self) -> None:
        self.begin("status")
        self.answer(AMP(locator=Nonsensical()))
        self.assertIn("the answer cannot be read", self.failure_text())

    def test_a_path_that_is_too_long(self) -> None:
        self.state = "/" + "x" * MAX_PATH_BYTES
        self.begin("status")
        self.assertIn("bytes long", self.failure_text())

    def test_a_bug_in_riskctl_is_not_hidden(self) -> None:
        options = parse(["status"], NOW)
        options.ask = broken
        self.failureResultOf(run_with_daemon(self.reactor, options), ZeroDivisionError)


async def broken(*_arguments: object) -> str:
    raise ZeroDivisionError


class Silent(CommandLocator):
    def locateResponder(self, name: bytes) -> Any:
        return lambda _box: Deferred()


class Nonsensical(CommandLocator):
    def locateResponder(self, name: bytes) -> Any:
        return lambda _box: AmpBox(answer=b"{}")
