"""The program ``riskctl``: its command line, what it asks, and how it tells the answer."""

from __future__ import annotations

import argparse
import csv
import errno
import io
import json
import os
import time
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.amp import AMP, AmpBox, CommandLocator
from twisted.python.failure import Failure
from twisted.test.iosim import connect
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.main import (
    ANSWER_SECONDS,
    RiskctlError,
    main,
    minutes_from,
    parse,
    run_with_daemon,
    since,
    until,
)
from riskd.app.riskctl.tables import (
    enforcement_summary,
    enforcement_table,
    journal_csv,
    journal_json_lines,
    journal_table,
    printable,
    rules_table,
    status_table,
)
from riskd.control.peer import user_name
from riskd.control.protocol import MAX_PATH_BYTES
from riskd.control.reports import (
    GaugeReport,
    RuleReport,
    RulesReport,
    StatusReport,
    report_account,
)
from riskd.control.server import ControlFactory
from riskd.journal.audit_log import LogLine
from riskd.model.account import Flattening, RiskState
from riskd.model.events import Action, DaemonStatus, LockoutSet, Status
from riskd.rules.interface import Gauge
from riskd.testing import make_event
from tests.support.control import (
    NOW,
    AbortableTransport,
    FakeAccount,
    FakeDaemon,
    a_rule,
    position,
)
from tests.support.practice_daemon import ACCOUNT, MNQ
from tests.support.recorded_daemon import RecordedDaemon


def a_directory(test: SynchronousTestCase) -> str:
    directory = TemporaryDirectory()
    test.addCleanup(directory.cleanup)
    return directory.name


class ZonedTestCase(SynchronousTestCase):
    """Tests on a machine in New York, where it is 13:00."""

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


class MomentTests(ZonedTestCase):
    def test_until(self) -> None:
        for text, moment in (
            ("16:30", datetime(2026, 11, 23, 21, 30, tzinfo=UTC)),
            ("13:00", datetime(2026, 11, 24, 18, tzinfo=UTC)),
            ("9:15", datetime(2026, 11, 24, 14, 15, tzinfo=UTC)),
            ("2026-11-23T14:30", datetime(2026, 11, 23, 19, 30, tzinfo=UTC)),
            ("2026-11-23T20:00Z", datetime(2026, 11, 23, 20, tzinfo=UTC)),
            ("2026-11-24", datetime(2026, 11, 24, 5, tzinfo=UTC)),
        ):
            self.assertEqual(until(text, NOW), moment, text)

    def test_since(self) -> None:
        for text, moment in (
            ("12:30", datetime(2026, 11, 23, 17, 30, tzinfo=UTC)),
            ("16:30", datetime(2026, 11, 22, 21, 30, tzinfo=UTC)),
            ("2d", NOW - timedelta(days=2)),
            ("3h", NOW - timedelta(hours=3)),
            ("30m", NOW - timedelta(minutes=30)),
            ("2026-11-01", datetime(2026, 11, 1, 4, tzinfo=UTC)),
        ):
            self.assertEqual(since(text, NOW), moment, text)

    def test_minutes(self) -> None:
        self.assertEqual(minutes_from("90", NOW), NOW + timedelta(minutes=90))

    def test_nonsense_is_refused(self) -> None:
        for read, text in (
            (until, "25:00"),
            (until, "tomorrow"),
            (until, "2026-11-23T12:00"),
            (until, "0001-01-01"),
            (since, "2w"),
            (since, ""),
            (minutes_from, "0"),
            (minutes_from, "-5"),
            (minutes_from, "1.5"),
            (minutes_from, "99999999999999999999"),
        ):
            with self.assertRaises(argparse.ArgumentTypeError, msg=text):
                read(text, NOW)


class CommandLineTests(SynchronousTestCase):
    def test_what_is_wrong_is_usage_and_2(self) -> None:
        for words in (
            "",
            "dance",
            "unlock 123",
            "unlock --reason x",
            "unlock abc --reason x",
            "unlock 0 --reason x",
            "lock 123",
            "lock 123 --reason x --minutes 5 --until 16:00",
            "journal 123 --csv --jsonl",
            "check-config",
        ):
            self.assert_usage(words.split())
        self.assert_usage(["lock", "123", "--reason", "  "])

    def assert_usage(self, arguments: list[str]) -> None:
        with redirect_stderr(io.StringIO()) as said, self.assertRaises(SystemExit) as end:
            parse(arguments, NOW)
        self.assertEqual(end.exception.code, 2, arguments)
        self.assertTrue(said.getvalue().startswith("usage: riskctl"))

    def test_a_reason_that_is_no_utf_8_is_taken_as_far_as_it_can_be_read(self) -> None:
        given = os.fsdecode(b"caf\xe9 na\xc3\xafve")
        for command in ("lock", "unlock", "flatten"):
            reason = parse([command, "123", "--reason", given], NOW).reason
            self.assertEqual(reason, "caf? na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve")
            msgspec.json.encode(reason)

    def test_a_lock_is_for_good_unless_it_is_said(self) -> None:
        self.assertIsNone(parse(["lock", "123", "--reason", "x"], NOW).until)


class LocalCommandTests(SynchronousTestCase):
    def run_main(self, *arguments: str) -> tuple[int, str, str]:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            status = main(arguments)
        return status, out.getvalue(), err.getvalue()

    def check(self, text: str) -> tuple[int, str, str]:
        self.path = f"{a_directory(self)}/riskd.toml"
        Path(self.path).write_text(text)
        return self.run_main("check-config", self.path)

    def test_a_correct_configuration(self) -> None:
        rules = "[rules.max_contracts]\nlimit = 2\n[rules.daily_realized_loss]\nloss_limit = 500\n"
        status, out, err = self.check(f"{rules}[[accounts]]\nid = 1\n[[accounts]]\nid = 2\n")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, f"{self.path} is correct: 2 accounts, 2 rules\n")

    def test_a_dry_run_is_not_overlooked(self) -> None:
        _, out, _ = self.check("enforce = false\n[rules.max_contracts]\n[[accounts]]\nid = 1\n")
        self.assertEqual(
            out, f"{self.path} is correct: 1 account, 1 rule; a dry run, nothing is enforced\n"
        )

    def test_every_mistake_has_a_line(self) -> None:
        status, out, _ = self.check("colour = 1\n[[accounts]]\nid = -1\n")
        self.assertEqual((status, len(out.splitlines())), (1, 2))
        self.assertTrue(all(self.path in line for line in out.splitlines()))

    def test_a_key_file_that_others_may_read(self) -> None:
        key = Path(a_directory(self), "key")
        key.write_text("secret\n")
        text = (
            f'[gateway]\nkind = "projectx"\nuser_name = "jane"\nkey_file = "{key}"\n'
            "[[accounts]]\nid = 1\n"
        )
        for mode, expected in ((0o644, 1), (0o600, 0)):
            key.chmod(mode)
            status, out, _ = self.check(text)
            self.assertEqual((status, "chmod 600" in out), (expected, bool(expected)), out)
            self.assertNotIn("secret", out)
        self.assertTrue(self.check(text.replace("/key", "/none"))[0])

    def test_no_file(self) -> None:
        status, out, _ = self.run_main("check-config", "/nowhere/riskd.toml")
        self.assertEqual(status, 1)
        self.assertIn("/nowhere/riskd.toml", out)

    def test_what_the_terminal_cannot_show_is_replaced(self) -> None:
        path = Path(a_directory(self), "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{SNOWMAN}.toml")
        path.write_text("[[accounts]]\nid = 1\n")
        shown = io.BytesIO()
        terminal = io.TextIOWrapper(shown, encoding="latin-1")
        with redirect_stdout(terminal):
            self.assertEqual(main(["check-config", str(path)]), 0)
        self.assertIn(b"caf\xe9 ?.toml is correct", shown.getvalue())

    def test_no_journal(self) -> None:
        status, out, err = self.run_main("--state", a_directory(self), "journal", "123")
        self.assertEqual((status, out), (1, ""))
        self.assertTrue(err.startswith("riskctl: no log: "))


class AskingTestCase(ZonedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor: Any = MemoryReactorClock()
        self.daemon = FakeDaemon(123)
        self.account: FakeAccount = self.daemon.operated_accounts[123]
        self.state = "/state"

    def begin(self, *arguments: str) -> None:
        options = parse(["--state", self.state, *arguments], datetime.now(UTC))
        self.running = run_with_daemon(self.reactor, options)

    def answer(self, server: Any = None) -> None:
        """Let the daemon answer."""
        if server is None:
            now = datetime.now(UTC)
            server = ControlFactory(
                self.reactor, self.daemon, lambda: now, lambda _transport: "jane"
            ).buildProtocol(None)
        factory = self.reactor.unixClients[-1][1]
        client = factory.buildProtocol(None)
        connect(
            server,
            AbortableTransport(server, isServer=True),
            client,
            AbortableTransport(client, isServer=False),
        ).flush()

    def fail_to_connect(self, number: int) -> None:
        factory = self.reactor.unixClients[-1][1]
        factory.clientConnectionFailed(None, Failure(ConnectError(number)))

    def trouble(self) -> str:
        return str(self.failureResultOf(self.running, RiskctlError).value)

    def ask(self, *arguments: str) -> str:
        self.begin(*arguments)
        self.answer()
        return self.successResultOf(self.running)


class AskingTests(AskingTestCase):
    def test_status(self) -> None:
        self.assertIn("123", self.ask("status"))

    def test_status_as_json(self) -> None:
        report = json.loads(self.ask("status", "--json"))
        self.assertEqual(report["accounts"][0]["account"], 123)

    def test_rules(self) -> None:
        self.account.rules = (a_rule("RULE-1", lambda *_: (Gauge(name="daily loss"),)),)
        self.assertIn("daily loss", self.ask("rules", "123"))
        report = json.loads(self.ask("rules", "123", "--json"))
        self.assertEqual(report["rules"][0]["rule_id"], "RULE-1")

    def test_a_lock(self) -> None:
        said = self.ask("lock", "123", "--reason", "lunch")
        self.assertEqual(said, "account 123 was flattened and is locked until it is unlocked")
        self.assertEqual(self.account.received, [("lock", "lunch", "jane", None)])

    def test_a_lock_for_a_reason_that_is_no_utf_8(self) -> None:
        self.ask("lock", "123", "--reason", os.fsdecode(b"caf\xe9"))
        self.assertEqual(self.account.received, [("lock", "caf?", "jane", None)])

    def test_a_lock_that_another_one_outlives(self) -> None:
        self.account.apply(
            LockoutSet(reason="loss", locked_until=None, rule_id="RULE-003", locked_at=NOW)
        )
        said = self.ask("lock", "123", "--reason", "lunch", "--minutes", "5")
        self.assertIn("locked until it is unlocked by RULE-003", said)

    def test_an_unlock(self) -> None:
        self.account.lock("lunch", "jane", None)
        self.assertEqual(self.ask("unlock", "123", "--reason", "x"), "account 123 is unlocked")

    def test_an_unlock_of_what_is_not_locked_is_no_success(self) -> None:
        self.begin("unlock", "123", "--reason", "x")
        self.answer()
        self.assertEqual(self.trouble(), "account 123 is not locked")

    def test_a_flatten(self) -> None:
        self.assertEqual(self.ask("flatten", "123"), "account 123 was flattened")
        self.assertEqual(self.account.received, [("flatten", "Flattened by hand", "jane")])

    def test_a_flatten_that_takes_its_time(self) -> None:
        plan = Flattening(
            action=Action.CLOSE_ALL_POSITIONS, rule_id="OPERATOR", reason="x", begun=NOW
        )
        state = self.account.account_state
        self.account.account_state = msgspec.structs.replace(
            state, risk=msgspec.structs.replace(state.risk, flattening=plan)
        )
        self.assertEqual(self.ask("flatten", "123"), "account 123 is being flattened")

    def test_a_refusal_is_the_daemons_sentence(self) -> None:
        self.begin("flatten", "99")
        self.answer()
        self.assertEqual(self.trouble(), "riskd does not follow account 99, only 123")


class TroubleTests(AskingTestCase):
    def test_not_running(self) -> None:
        for number in (errno.ENOENT, errno.ECONNREFUSED):
            self.begin("status")
            self.fail_to_connect(number)
            self.assertEqual(
                self.trouble(), "riskd is not running (no answer at /state/riskd.sock)"
            )

    def test_permission_denied_says_who_may(self) -> None:
        self.state = a_directory(self)
        (Path(self.state) / "riskd.sock").touch()
        self.begin("status")
        self.fail_to_connect(errno.EACCES)
        who = user_name(os.geteuid())
        may = who if who == "root" else f"{who} and root"
        self.assertIn(f"only {may} may use", self.trouble())

    def test_permission_denied_to_look_at_all(self) -> None:
        self.begin("status")
        self.fail_to_connect(errno.EACCES)
        self.assertIn("only the user who runs riskd and root may use", self.trouble())

    def test_another_reason(self) -> None:
        self.begin("status")
        self.fail_to_connect(errno.EAGAIN)
        self.assertIn(os.strerror(errno.EAGAIN), self.trouble())

    def test_no_answer(self) -> None:
        self.begin("status")
        self.answer(AMP(locator=Silent()))
        self.reactor.advance(ANSWER_SECONDS)
        self.assertIn("riskd did not answer within 5 seconds", self.trouble())

    def test_no_connection_within_the_time(self) -> None:
        self.begin("status")
        self.reactor.advance(ANSWER_SECONDS)
        self.assertIn("riskd did not answer within 5 seconds", self.trouble())

    def test_a_connection_that_is_closed(self) -> None:
        self.begin("status")
        client = self.reactor.unixClients[-1][1].buildProtocol(None)
        transport = AbortableTransport(client, isServer=False)
        client.makeConnection(transport)
        transport.abortConnection()
        self.assertIn("riskd closed the connection", self.trouble())

    def test_a_daemon_of_another_version(self) -> None:
        self.begin("status")
        self.answer(AMP())
        self.assertIn("does not know the command", self.trouble())

    def test_an_answer_that_cannot_be_read(self) -> None:
        self.begin("status")
        self.answer(AMP(locator=Nonsensical()))
        self.assertIn("the answer cannot be read", self.trouble())

    def test_a_path_that_is_too_long(self) -> None:
        self.state = "/" + "x" * MAX_PATH_BYTES
        self.begin("status")
        self.assertIn("bytes long", self.trouble())

    def test_a_mistake_of_riskctl_is_not_hidden(self) -> None:
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


class TableTests(ZonedTestCase):
    def test_the_status(self) -> None:
        account = FakeAccount(123)
        account.apply(position())
        account.apply(
            LockoutSet(
                reason="Daily loss",
                locked_until=NOW + timedelta(hours=2, seconds=5),
                rule_id="RULE-003",
                locked_at=NOW,
            )
        )
        report = StatusReport(
            version="0.1.0",
            gateway="practice",
            daemon=DaemonStatus(status=Status.RUNNING, message="Started", timestamp=NOW),
            accounts=(report_account(account.account_state, NOW),),
        )
        self.assertEqual(
            status_table(report, NOW),
            [
                "riskd 0.1.0 on the practice gateway: RUNNING since 13:00:00, Started",
                "",
                "ACCOUNT  REALIZED  OPEN  TRADES  POSITIONS  ORDERS  LOCKED",
                "    123     $0.00     -       0          1       0  until 15:00:05 (2:00:05 left)",
                "",
                "123: LOCKED until 15:00:05: Daily loss (RULE-003)",
                "123: the broker has said nothing of this account yet",
                "123: long 2 MNQZ6 at 21000.00, open -",
            ],
        )

    def test_the_status_of_a_dry_run(self) -> None:
        account = FakeAccount(123)
        plan = Flattening(
            action=Action.CLOSE_ALL_POSITIONS, rule_id="RULE-001", reason="Too many", begun=NOW
        )
        account.account_state = msgspec.structs.replace(
            account.account_state, risk=RiskState(flattening=plan, can_trade=True)
        )
        report = StatusReport(
            version="0.1.0",
            gateway="practice",
            daemon=None,
            accounts=(report_account(account.account_state, NOW),),
            dry_run=True,
        )
        first, *_, last = status_table(report, NOW)
        self.assertEqual(first, "riskd 0.1.0 on the practice gateway (dry run) is starting")
        self.assertEqual(
            last,
            "123: flatten that waits for a riskd that enforces, since 13:00:00: Too many (RULE-001)",
        )

    def test_the_rules(self) -> None:
        gauges = (
            GaugeReport(
                name="contracts",
                limit=Decimal(2),
                current=Decimal(1),
                headroom=Decimal(1),
                unit="contracts",
                words="",
            ),
            GaugeReport(
                name="broker", limit=None, current=None, headroom=None, unit="", words="granted"
            ),
        )
        rules = (
            RuleReport(rule_id="RULE-001", key="max_contracts", gauges=gauges),
            RuleReport(rule_id="RULE-013", key="mine", gauges=(), trouble="ZeroDivisionError"),
            RuleReport(rule_id="RULE-014", key="quiet", gauges=()),
        )
        self.assertEqual(
            rules_table(RulesReport(account=123, rules=rules)),
            [
                "RULE      NAME           LIMIT OF         LIMIT     CURRENT    HEADROOM",
                "RULE-001  max_contracts  contracts  2 contracts  1 contract  1 contract",
                "RULE-001  max_contracts  broker               -           -           -  granted",
                f"RULE-013  mine{' ' * 59}cannot be told: ZeroDivisionError",
                "RULE-014  quiet",
            ],
        )
        self.assertEqual(rules_table(RulesReport(account=1, rules=())), ["account 1 has no rules"])

    def test_nothing_commands_the_terminal(self) -> None:
        self.assertEqual(printable("a\x1b[2J\n\u202eb"), "a?[2J ?b")


class JournalTests(ZonedTestCase):
    lines = (
        LogLine(NOW, "operator", {"command": "lock", "reason": "lunch", "operator": "jane"}),
        LogLine(
            NOW,
            "enforcement_action",
            {
                "action": "CLOSE_ALL_AND_LOCKOUT",
                "reason": "=cmd|'/c calc'!A0",
                "rule_id": "RULE-003",
                "success": False,
                "timestamp": "2026-11-23T18:00:00Z",
                "details": {"positions_closed": 1, "orders_canceled": 0, "locked_until": None},
            },
        ),
        LogLine(
            NOW,
            "lockout_set",
            {
                "reason": "r",
                "locked_until": None,
                "rule_id": "RULE-003",
                "locked_at": "2026-11-23T18:00:00Z",
            },
        ),
        LogLine(
            NOW,
            "lockout_cleared",
            {"cleared_at": "2026-11-23T18:00:00Z", "cleared_by": "DAILY_RESET"},
        ),
        LogLine(
            NOW,
            "daily_reset",
            {
                "reset_time": "2026-11-23T18:00:00Z",
                "previous_pnl": Decimal("-150.50"),
                "previous_trade_count": 12,
                "lockouts_cleared": True,
            },
        ),
        LogLine(NOW, "something_new", {"x": Decimal("1.50")}),
    )

    def test_what_a_dry_run_did_not_do(self) -> None:
        details = {"positions_closed": 1, "orders_canceled": 0, "dry_run": True}
        data = {**self.lines[1].data, "reason": "Too much", "details": details}
        *_, line = journal_table([LogLine(NOW, "enforcement_action", data)])
        self.assertTrue(
            line.endswith(
                "NOT ENFORCED (dry run): close all and lock (RULE-003): Too much; "
                "would be: 1 position closed"
            ),
            line,
        )

    def test_the_table(self) -> None:
        stamp = "2026-11-23 13:00:00  "
        self.assertEqual(
            list(journal_table(self.lines)),
            [
                "AT                   WHAT                DETAILS",
                f"{stamp}operator            lock by jane: lunch",
                (
                    f"{stamp}enforcement_action  ENFORCEMENT FAILED: close all and lock (RULE-003): "
                    "=cmd|'/c calc'!A0; 1 position closed"
                ),
                f"{stamp}lockout_set         LOCKED OUT until an operator unlocks it: r (RULE-003)",
                f"{stamp}lockout_cleared     Trading resumed: a new trading day began",
                f"{stamp}daily_reset         Daily reset executed: -$150.50 in 12 trades the day before",
                f'{stamp}something_new       {{"x":1.50}}',
            ],
        )

    def test_an_empty_log(self) -> None:
        self.assertEqual(list(journal_table(())), ["nothing is logged"])
        self.assertEqual(len(list(journal_csv(()))), 1)

    def test_json_lines(self) -> None:
        told = [json.loads(line) for line in journal_json_lines(self.lines)]
        self.assertEqual(told[-1]["data"], {"x": 1.5})
        self.assertEqual(told[0]["at"], "2026-11-23T18:00:00.000Z")

    def test_csv(self) -> None:
        header, *rows = csv.reader(journal_csv(self.lines))
        self.assertEqual(header[:4], ["at", "kind", "rule_id", "action"])
        self.assertEqual(
            rows[0],
            [
                "2026-11-23T18:00:00.000Z",
                "operator",
                "",
                "lock",
                "lunch",
                "",
                "",
                '{"operator":"jane"}',
            ],
        )
        self.assertEqual(rows[1][2:4], ["RULE-003", "CLOSE_ALL_AND_LOCKOUT"])
        self.assertEqual(rows[1][5], "false")
        self.assertEqual(json.loads(rows[1][7])["positions_closed"], 1)

    def test_no_cell_is_a_formula(self) -> None:
        for start in ("=", "+", "-", "@", "\t=", "\r=", "＝"):  # noqa: RUF001
            line = LogLine(NOW, "operator", {"reason": f"{start}1+1"})
            (_, row) = csv.reader(journal_csv([line]))
            self.assertTrue(row[4].startswith("'"), row)


class ReplayTests(ZonedTestCase):
    """``riskctl replay``, which needs no daemon."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(a_directory(self))
        self.path = self.directory / "day.jsonl"
        self.path.write_bytes(self.record())
        self.other = self.directory / "other.toml"
        self.other.write_text(f"[rules.max_contracts]\nlimit = 1\n[[accounts]]\nid = {ACCOUNT}\n")

    def record(self, beginning: str = "") -> bytes:
        """Return the recording of a day on which more was held than might be."""
        config = f"[rules.max_contracts]\nlimit = 3\n[[accounts]]\nid = {ACCOUNT}\n"
        daemon = RecordedDaemon(beginning + config, is_open=False)
        self.addCleanup(daemon.clean_up)
        daemon.advance(3)
        for size in (5, 2):
            order = {"contractId": MNQ, "type": 2, "side": 0, "size": size}
            daemon.gateway.place_order(ACCOUNT, order)
            daemon.advance(10)
        self.told = daemon.told
        return daemon.end().read_bytes()

    def replay(self, *arguments: str) -> tuple[int, bytes, str]:
        """Return exit status, standard output and standard error."""
        output, errors = io.TextIOWrapper(io.BytesIO(), encoding="ascii"), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            status = main(["replay", str(self.path), *arguments])
        return status, output.buffer.getvalue(), errors.getvalue()  # type: ignore[attr-defined]

    def test_what_was_broadcast_is_written_byte_for_byte(self) -> None:
        status, output, errors = self.replay()
        self.assertEqual(status, 0)
        self.assertEqual(output, b"".join(message + b"\n" for message in self.told))
        self.assertRegex(
            errors,
            r"^\d+ messages and \d+ timers replayed: "
            rf"{len(self.told)} broadcasts, all as recorded\n$",
        )

    def test_a_difference_is_told_line_by_line(self) -> None:
        recorded = self.path.read_bytes()
        self.path.write_bytes(recorded.replace(b"(limit 3)", b"(limit 2)"))
        status, _output, errors = self.replay()
        self.assertEqual(status, 1)
        where, was, came = errors.splitlines()
        self.assertRegex(where, r"^riskctl: .*day.jsonl, line \d+ is replayed to something else:$")
        self.assertTrue(was.startswith('riskctl: recorded: {"told":') and "(limit 2)" in was)
        self.assertTrue(came.startswith('riskctl: replayed: {"told":') and "(limit 3)" in came)

    def test_one_that_breaks_off(self) -> None:
        lines = self.path.read_bytes().splitlines()
        self.path.write_bytes(b"\n".join(lines[:30]) + b"\n" + lines[30][:9])
        status, _output, errors = self.replay()
        self.assertEqual(status, 0)
        self.assertIn("breaks off after line 30: riskd was killed, or still records", errors)

    def test_what_cannot_be_read(self) -> None:
        self.path.write_text("hello")
        self.assertEqual(
            self.replay()[::2], (1, f"riskctl: {self.path} is no recording of riskd\n")
        )
        self.path.unlink()
        self.assertEqual(
            self.replay()[::2],
            (1, f"riskctl: {self.path} cannot be read: No such file or directory\n"),
        )

    def test_other_limits(self) -> None:
        status, output, errors = self.replay("--config", str(self.other))
        self.assertEqual(status, 0)
        self.assertEqual(errors.splitlines()[-1], "on the day itself: 1 action: 1 by RULE-001")
        self.assertIn(f"with {self.other}: ", errors)
        header, *rows = output.decode().splitlines()
        self.assertEqual(header.split(), ["AT", "ACCOUNT", "RULE", "ACTION", "REASON"])
        self.assertTrue(rows and all("(limit 1)" in row for row in rows), rows)

    def test_a_day_that_was_a_dry_run_is_called_one(self) -> None:
        self.path.write_bytes(self.record("enforce = false\n"))
        _status, _output, errors = self.replay("--config", str(self.other))
        self.assertIn("on the day itself, a dry run: 1 action", errors)

    def test_other_limits_that_do_nothing(self) -> None:
        self.other.write_text(self.other.read_text().replace("limit = 1", "limit = 5"))
        status, output, errors = self.replay("--config", str(self.other))
        self.assertEqual((status, output), (0, b"nothing is enforced\n"))
        self.assertIn(f"with {self.other}: 0 actions\n", errors)

    def test_other_limits_with_mistakes(self) -> None:
        self.other.write_text("colour = 1\nshape = 2\n")
        status, _output, errors = self.replay("--config", str(self.other))
        self.assertEqual(status, 1)
        self.assertTrue(all(line.startswith("riskctl: ") for line in errors.splitlines()))
        self.assertIn("other.toml, line 2: shape: unknown key", errors)


class EnforcementTableTests(ZonedTestCase):
    def test_the_table(self) -> None:
        action = make_event("enforcement_action", {"timestamp": "2026-11-23T18:00:00Z"}).data
        self.assertEqual(
            enforcement_table([(123, action), (7, action)]),
            [
                "AT                   ACCOUNT  RULE      ACTION               REASON",
                f"2026-11-23 13:00:00      123  RULE-001  CLOSE_ALL_POSITIONS  {action.reason}",
                f"2026-11-23 13:00:00        7  RULE-001  CLOSE_ALL_POSITIONS  {action.reason}",
            ],
        )

    def test_the_summary(self) -> None:
        one = make_event("enforcement_action", {}).data
        other = make_event("enforcement_action", {"rule_id": "RULE-003"}).data
        self.assertEqual(
            enforcement_summary([other, one, other]), "3 actions: 1 by RULE-001, 2 by RULE-003"
        )
        self.assertEqual(enforcement_summary([]), "0 actions")
