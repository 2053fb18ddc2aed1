"""The operator's commands: what they report, what they do, and when they are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from riskd.control.commands import MAX_REASON
from riskd.control.protocol import (
    FlattenCommand,
    LockCommand,
    Request,
    RulesCommand,
    StatusCommand,
    UnlockCommand,
)
from riskd.control.reports import encode_report
from riskd.engine.interface import IOperated, IOperatedAccount
from riskd.model.account import Flattening, RiskState
from riskd.model.events import Action, DaemonStatus, MarketQuote, Status
from riskd.rules.interface import Gauge
from tests.support.control import MNQ, NOW, ControlTestCase, a_rule, order, position


class StatusTests(ControlTestCase):
    """``status``: the daemon and all accounts."""

    def test_the_fakes_implement_the_interfaces(self) -> None:
        verifyObject(IOperated, self.daemon)
        verifyObject(IOperatedAccount, self.account)

    def test_the_daemon_and_all_accounts_are_reported(self) -> None:
        status = DaemonStatus(status=Status.RUNNING, message="On its way", timestamp=NOW)
        self.account.apply(status)
        report = self.ask(StatusCommand)
        self.assertEqual((report.gateway, report.daemon), ("practice", status))
        self.assertEqual([account.account for account in report.accounts], [123, 456])

    def test_a_dry_run_is_reported(self) -> None:
        self.assertFalse(self.ask(StatusCommand).dry_run)
        self.daemon.enforces = False
        self.assertTrue(self.ask(StatusCommand).dry_run)

    def test_the_status_may_have_no_daemon_status_yet(self) -> None:
        self.assertIsNone(self.ask(StatusCommand).daemon)

    def test_positions_are_reported_with_their_open_pnl(self) -> None:
        self.account.apply(position())
        self.account.apply(
            MarketQuote(
                contract_id=MNQ,
                bid=Decimal("21001.00"),
                ask=Decimal("21001.50"),
                last=Decimal("21001.25"),
                timestamp=NOW,
            )
        )
        account = self.ask(StatusCommand).accounts[0]
        (position_report,) = account.positions
        self.assertEqual(
            (position_report.contract, position_report.side, position_report.size),
            ("MNQZ6", "long", 2),
        )
        self.assertEqual((position_report.open_pnl, account.open_pnl), (Decimal(5), Decimal(5)))

    def test_open_pnl_without_a_mark_is_none_and_not_zero(self) -> None:
        self.account.apply(position())
        account = self.ask(StatusCommand).accounts[0]
        self.assertEqual((account.positions[0].open_pnl, account.open_pnl), (None, None))

    def test_orders_are_reported(self) -> None:
        self.account.apply(order(7))
        (reported,) = self.ask(StatusCommand).accounts[0].orders
        self.assertEqual((reported.id, reported.contract, reported.type), (7, "MNQZ6", "stop"))
        self.assertEqual((reported.side, reported.limit_price), ("sell", None))
        self.assertEqual(reported.stop_price, Decimal("20990.00"))

    def test_locks_and_a_flatten_under_way_are_reported(self) -> None:
        self.account.lock("lunch", "jane", None)
        plan = Flattening(
            action=Action.CLOSE_ALL_POSITIONS, rule_id="RULE-001", reason="Too many", begun=NOW
        )
        self.account.account_state = msgspec.structs.replace(
            self.account.account_state, risk=RiskState(flattening=plan)
        )
        account = self.ask(StatusCommand).accounts[0]
        self.assertEqual([lock.reason for lock in account.locks], ["lunch"])
        self.assertEqual((account.flattening.reason, account.flattening.begun), ("Too many", NOW))

    def test_an_answer_may_be_longer_than_an_entry_of_a_box(self) -> None:
        for number in range(2000):
            self.account.apply(order(number))
        report = self.ask(StatusCommand)
        self.assertGreater(len(encode_report(report)), 3 * 65535)
        self.assertEqual(len(report.accounts[0].orders), 2000)


class RulesTests(ControlTestCase):
    """``rules``: rules in force and their gauges."""

    def rules(self, *gauges: Callable[..., Any]) -> Any:
        self.account.rules = tuple(
            a_rule(f"RULE-{number}", gauge) for number, gauge in enumerate(gauges)
        )
        return self.ask(RulesCommand, Request(account=123)).rules

    def test_headroom_is_limit_minus_current(self) -> None:
        gauge = Gauge(name="daily loss", limit=Decimal(500), current=Decimal("120.50"), unit="$")
        (rule,) = self.rules(lambda *_: (gauge,))
        (reported,) = rule.gauges
        self.assertEqual(
            (rule.rule_id, reported.name, reported.unit), ("RULE-0", "daily loss", "$")
        )
        self.assertEqual(reported.headroom, Decimal("379.50"))

    def test_a_gauge_without_numbers_has_no_headroom(self) -> None:
        (rule,) = self.rules(lambda *_: (Gauge(name="broker", words="granted"),))
        self.assertEqual((rule.gauges[0].headroom, rule.gauges[0].words), (None, "granted"))

    def test_a_rule_that_raises_does_not_hide_the_others(self) -> None:
        broken, sound = self.rules(lambda *_: 1 / 0, lambda *_: ())
        self.assertEqual(broken.trouble, "ZeroDivisionError: division by zero")
        self.assertEqual((sound.rule_id, sound.trouble), ("RULE-1", ""))

    def test_a_rule_with_a_gauge_that_is_not_a_number_does_not_hide_the_others(self) -> None:
        broken, *_ = self.rules(lambda *_: (Gauge(name="x", limit=Decimal("NaN")),), lambda *_: ())
        self.assertIn("NaN", broken.trouble)

    def test_an_unknown_account_is_refused(self) -> None:
        self.assertEqual(
            self.refusal(RulesCommand, Request(account=99)),
            "riskd does not follow account 99, only 123, 456",
        )


class ActionTests(ControlTestCase):
    """``lock``, ``unlock`` and ``flatten``."""

    def test_an_action_is_logged_under_the_name_from_the_operating_system(self) -> None:
        self.ask(FlattenCommand, Request(account=123, reason="enough"))
        self.assertEqual(self.account.received, [("flatten", "enough", "jane")])

    def test_lock_and_unlock(self) -> None:
        end = NOW + timedelta(minutes=5)
        locked = self.ask(LockCommand, Request(account=123, reason="lunch", until=end))
        self.assertEqual((locked.was_locked, locked.account.locks[0].locked_until), (False, end))
        unlocked = self.ask(UnlockCommand, Request(account=123, reason="back"))
        self.assertEqual((unlocked.was_locked, unlocked.account.locks), (True, ()))
        again = self.ask(UnlockCommand, Request(account=123, reason="back"))
        self.assertFalse(again.was_locked)
        self.assertEqual(self.account.received[0], ("lock", "lunch", "jane", end))

    def test_the_answer_waits_until_the_change_is_on_the_disk(self) -> None:
        self.daemon.on_disk = Deferred()
        asked = self.begin(LockCommand, Request(account=123, reason="lunch"))
        self.assertNoResult(asked)
        self.daemon.on_disk.callback(None)
        self.pump.flush()
        self.successResultOf(asked)

    def test_a_blank_reason_is_refused(self) -> None:
        for command in (LockCommand, UnlockCommand, FlattenCommand):
            self.assertEqual(
                self.refusal(command, Request(account=123, reason=" \n")), "a reason is missing"
            )
        self.assertEqual(self.account.received, [])

    def test_an_unknown_account_is_refused(self) -> None:
        for command in (LockCommand, UnlockCommand, FlattenCommand):
            self.assertIn("99", self.refusal(command, Request(account=99, reason="x")))

    def test_a_reason_becomes_one_printable_line_of_limited_length(self) -> None:
        self.ask(FlattenCommand, Request(account=123, reason="a\nb\x1b[2J" + "c" * 500))
        _, reason, _ = self.account.received[0]
        self.assertTrue(str(reason).startswith("a b?[2Jccc"))
        self.assertEqual((len(str(reason)), str(reason)[-1]), (MAX_REASON, "…"))

    def test_a_dry_run_refuses_lock_and_flatten_but_not_unlock(self) -> None:
        self.daemon.enforces = False
        for command in (LockCommand, FlattenCommand):
            self.assertEqual(
                self.refusal(command, Request(account=123, reason="x")),
                "this is a dry run (enforce = false): riskd closes, cancels and locks nothing",
            )
        self.assertEqual(self.account.received, [])
        self.ask(UnlockCommand, Request(account=123, reason="x"))
        self.assertEqual(self.account.received, [("unlock", "x", "jane")])

    def test_a_lock_that_would_already_be_over_is_refused(self) -> None:
        self.assertEqual(
            self.refusal(LockCommand, Request(account=123, reason="x", until=NOW)),
            "the lock would end before it begins",
        )

    def test_unlock_is_refused_before_the_journal_was_read(self) -> None:
        self.daemon.is_recovered = False
        self.assertIn("journal", self.refusal(UnlockCommand, Request(account=123, reason="x")))
        self.assertEqual(self.account.received, [])
        self.ask(StatusCommand)
