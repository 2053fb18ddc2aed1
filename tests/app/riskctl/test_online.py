"""The commands of ``riskctl`` that ask the daemon, and how they word its answers."""

from __future__ import annotations

import errno
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.protocols.amp import AMP, AmpBox, CommandLocator

from riskd.app.riskctl.main import parse
from riskd.app.riskctl.online import ANSWER_SECONDS, run_with_daemon
from riskd.app.riskctl.outcomes import NotSoError
from riskd.control.protocol import (
    CONFIRM_SECONDS,
    MAX_PATH_BYTES,
)
from riskd.host.errors import UserError
from riskd.host.users import group_name, user_name
from riskd.model.balance import Balance
from riskd.model.events import LockoutSet
from riskd.model.reduce_only import REDUCE_ONLY, ReduceOnly
from riskd.model.unlocks import UNLOCKED, Unlock
from riskd.rules.builtin import maximum_loss
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import Gauge
from tests.support.control import NOW, AbortableTransport, a_rule
from tests.support.directories import temporary_directory
from tests.support.riskctl import AskingTestCase


class OnlineTests(AskingTestCase):
    """Each command, from the command line to the text of its answer."""

    def test_status_shows_the_accounts(self) -> None:
        self.assertIn("123", self.ask("status"))

    def test_status_as_json(self) -> None:
        report = json.loads(self.ask("status", "--json"))
        self.assertEqual(report["accounts"][0]["account"], 123)

    def test_rules_shows_the_gauges(self) -> None:
        self.account.rules = (a_rule("RULE-1", lambda *_: (Gauge(name="daily loss"),)),)
        self.assertIn("daily loss", self.ask("rules", "123"))
        report = json.loads(self.ask("rules", "123", "--json"))
        self.assertEqual(report["rules"][0]["rule_id"], "RULE-1")

    def test_a_lock_is_confirmed_with_its_end(self) -> None:
        text = self.ask("lock", "123", "--reason", "lunch")
        nothing = "there was nothing to close or cancel"
        self.assertEqual(
            text, f"account 123 was flattened ({nothing}) and is locked until it is unlocked"
        )
        self.assertEqual(self.account.received, [("lock", "lunch", "jane", None)])

    def test_a_reason_that_is_not_utf_8_is_sent_with_question_marks(self) -> None:
        self.ask("lock", "123", "--reason", os.fsdecode(b"caf\xe9"))
        self.assertEqual(self.account.received, [("lock", "caf?", "jane", None)])

    def test_a_lock_that_ends_before_another_names_the_others_rule(self) -> None:
        self.account.apply(
            LockoutSet(reason="loss", locked_until=None, rule_id="RULE-003", locked_at=NOW)
        )
        text = self.ask("lock", "123", "--reason", "lunch", "--minutes", "5")
        self.assertIn("locked until it is unlocked by RULE-003", text)

    def test_an_unlock_is_confirmed(self) -> None:
        self.account.lock("lunch", "jane", None)
        self.assertEqual(self.ask("unlock", "123", "--reason", "x"), "account 123 is unlocked")

    def test_an_unlock_beyond_a_limit_says_so(self) -> None:
        self.account.lock("lunch", "jane", None)
        unlock = Unlock(at=NOW, beyond=("RULE-003", "RULE-007"))
        self.account.account_state = msgspec.structs.replace(
            self.account.account_state, limits={UNLOCKED: unlock.limit}
        )
        text = self.ask("unlock", "123", "--reason", "x")
        self.assertEqual(text, "account 123 is unlocked beyond its limit (RULE-003, RULE-007)")
        self.assertIn("123: unlocked beyond its limit (RULE-003, RULE-007)", self.ask("status"))
        report = json.loads(self.ask("status", "--json"))
        self.assertEqual(report["accounts"][0]["unlocked_beyond"], ["RULE-003", "RULE-007"])

    def test_the_reduce_only_stage_is_listed(self) -> None:
        stage = ReduceOnly(since=NOW, reasons={"RULE-003": "80 % lost"}, held={"MNQ": 2})
        self.account.account_state = msgspec.structs.replace(
            self.account.account_state, limits={REDUCE_ONLY: stage.limit}
        )
        text = self.ask("status")
        self.assertIn("no, reduce only", text)
        self.assertRegex(text, r"123: REDUCE ONLY since .+: 80 % lost \(RULE-003\)")
        (report,) = json.loads(self.ask("status", "--json"))["accounts"]
        self.assertEqual(report["reduce_only"]["reasons"], {"RULE-003": "80 % lost"})
        self.assertEqual(report["reduce_only"]["held"], {"MNQ": 2})

    def test_an_unlock_of_an_account_that_is_not_locked_fails(self) -> None:
        self.begin("unlock", "123", "--reason", "x")
        self.answer()
        self.assertEqual(self.failure_text(), "account 123 is not locked")

    def test_the_firms_floor_is_confirmed_and_shown(self) -> None:
        self.account.rules = (RuleInForce(maximum_loss.RULE, maximum_loss.Settings()),)
        self.account.account_state = msgspec.structs.replace(
            self.account.account_state,
            balance=Balance(agreed=Decimal(50000), first=Decimal(50000)),
        )
        status = self.ask("status")
        self.assertIn("123: floor $48,000.00 by riskd's estimate, headroom $2,000.00", status)
        self.assertEqual(
            self.ask("floor", "123", "48500"),
            "account 123: the floor is $48,500.00 by the firm's figure (it was $48,000.00)",
        )
        status = self.ask("status")
        self.assertIn("123: floor $48,500.00 by the firm's figure, headroom $1,500.00", status)
        (report,) = json.loads(self.ask("status", "--json"))["accounts"]
        self.assertEqual(
            report["floor"],
            {"amount": 48500, "source": "firm", "headroom": 1500, "after_close": 48500},
        )

    def test_a_floor_that_would_lock_at_once_needs_a_yes(self) -> None:
        self.account.rules = (RuleInForce(maximum_loss.RULE, maximum_loss.Settings()),)
        self.account.account_state = msgspec.structs.replace(
            self.account.account_state,
            balance=Balance(agreed=Decimal(50000), first=Decimal(50000)),
        )
        self.begin("floor", "123", "50000")
        self.answer()
        self.assertIn("add --yes if that is the firm's figure", self.failure_text())
        self.assertIn("the floor is $50,000.00", self.ask("floor", "123", "50000", "--yes"))

    def test_a_flatten_is_confirmed(self) -> None:
        self.assertIn("account 123 was flattened (", self.ask("flatten", "123"))
        self.assertEqual(self.account.received, [("flatten", "Flattened by hand", "jane")])

    def test_a_flatten_that_the_broker_has_not_confirmed_is_under_way(self) -> None:
        self.account.begin_flatten()
        self.begin("flatten", "123")
        self.answer()
        self.assertNoResult(self.outcome)
        self.reactor.advance(CONFIRM_SECONDS)
        self.pump.flush()
        self.assertIn("account 123 is being flattened\n", self.failure_text(NotSoError))

    def test_a_change_that_is_not_on_the_disk_is_not_so(self) -> None:
        self.daemon.on_disk = succeed("database or disk is full")
        for command in ("lock", "flatten", "unlock"):
            self.begin(command, "123", "--reason", "x")
            self.answer()
            self.assertIn("database or disk is full", self.failure_text(NotSoError))

    def test_a_refusal_is_shown_in_the_daemons_words(self) -> None:
        self.begin("flatten", "99")
        self.answer()
        self.assertEqual(self.failure_text(), "riskd does not follow account 99, only 123")


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
        self.state = str(temporary_directory(self))
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

    def test_who_may_not_open_the_operators_socket_uses_that_of_the_group(self) -> None:
        self.state = str(temporary_directory(self))
        (Path(self.state) / "guard.sock").touch()
        self.begin("status")
        self.fail_to_connect(errno.EACCES)
        self.assertEqual(
            [Path(client[0]).name for client in self.reactor.unixClients],
            ["riskd.sock", "guard.sock"],
        )
        self.answer()
        self.assertIn("123", self.successResultOf(self.outcome))

    def test_who_may_use_neither_reads_who_may(self) -> None:
        self.state = str(temporary_directory(self))
        (Path(self.state) / "guard.sock").touch()
        self.begin("status")
        for _ in range(2):
            self.fail_to_connect(errno.EACCES)
        group = group_name((Path(self.state) / "guard.sock").stat().st_gid)
        self.assertIn(f"only members of the group {group} guard.sock", self.failure_text())

    def test_another_connect_error_is_named(self) -> None:
        self.begin("status")
        self.fail_to_connect(errno.EAGAIN)
        self.assertIn(os.strerror(errno.EAGAIN), self.failure_text())

    def test_of_a_command_that_was_sent_and_not_answered_nothing_is_known(self) -> None:
        """riskd may have carried it out, as it is killed or hangs."""
        for arguments in (
            ("lock", "123", "--reason", "x"),
            ("unlock", "123", "--reason", "x"),
            ("flatten", "123"),
            ("floor", "123", "48500"),
        ):
            for server in (Silent(), Nonsensical()):
                self.begin(*arguments)
                self.answer(AMP(locator=server))
                if isinstance(server, Silent):
                    self.reactor.advance(ANSWER_SECONDS)
                self.assertIn(
                    "the command may have been carried out, check with riskctl status",
                    self.failure_text(NotSoError),
                )
            self.begin(*arguments)
            self.fail_to_connect(errno.ECONNREFUSED)
            self.assertIn("riskd is not running", self.failure_text(UserError))

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
        self.reactor.advance(0)
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
        options = parse(["--state", self.state, "status"], NOW)
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
