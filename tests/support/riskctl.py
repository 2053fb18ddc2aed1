"""What the tests of riskctl share: a time zone, a directory, and a daemon that answers."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.test.iosim import connect
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.main import parse
from riskd.app.riskctl.online import run_with_daemon
from riskd.control.server import ControlFactory
from riskd.host.errors import UserError
from tests.support.control import AbortableTransport, FakeAccount, FakeDaemon


class ZonedTestCase(SynchronousTestCase):
    """Tests on a machine in New York, where :data:`tests.support.control.NOW` is 13:00."""

    def setUp(self) -> None:
        before = os.environ.get("TZ")
        os.environ["TZ"] = "America/New_York"
        time.tzset()
        self.addCleanup(self._restore, before)

    def _restore(self, before: str | None) -> None:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


class AskingTestCase(ZonedTestCase):
    """riskctl and a fake daemon with account 123, connected in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor: Any = MemoryReactorClock()
        self.daemon = FakeDaemon(123)
        self.account: FakeAccount = self.daemon.operated_accounts[123]
        self.state = "/state"

    def begin(self, *arguments: str) -> None:
        """Run a command as far as its connection."""
        options = parse(["--state", self.state, *arguments], datetime.now(UTC))
        self.outcome: Deferred[str] = run_with_daemon(self.reactor, options)

    def answer(self, server: Any = None) -> None:
        """Connect to the daemon, or to ``server``, and let it answer."""
        if server is None:
            now = datetime.now(UTC)
            self.daemon.time = lambda: now
            server = ControlFactory(
                self.reactor, self.daemon, lambda _transport: "jane"
            ).buildProtocol(None)
        factory = self.reactor.unixClients[-1][1]
        client = factory.buildProtocol(None)
        self.pump = connect(
            server,
            AbortableTransport(server, isServer=True),
            client,
            AbortableTransport(client, isServer=False),
        )
        self.turn()

    def turn(self) -> None:
        """Let the reactor take a turn, in which the client is given its connection; carry what was written."""
        self.reactor.advance(0)
        self.pump.flush()

    def fail_to_connect(self, number: int) -> None:
        factory = self.reactor.unixClients[-1][1]
        factory.clientConnectionFailed(None, Failure(ConnectError(number)))
        self.reactor.advance(0)

    def failure_text(self, kind: type[UserError] = UserError) -> str:
        """Return the sentences with which the command failed, with an error of exactly this kind."""
        error = self.failureResultOf(self.outcome, UserError).value
        self.assertIs(type(error), kind, error)
        return str(error)

    def ask(self, *arguments: str) -> str:
        """Run a command; return its text."""
        self.begin(*arguments)
        self.answer()
        return self.successResultOf(self.outcome)
