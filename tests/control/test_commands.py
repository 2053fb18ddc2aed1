"""The operator's commands: what they report, what they do, and when they are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from zope.interface.verify import verifyObject

from riskd.control.commands import MAX_REASON, Commands
from riskd.control.protocol import (
    CONFIRM_SECONDS,
    MAX_LOCK_SECONDS,
    FlattenCommand,
    FloorCommand,
    LockCommand,
    Outcome,
    Request,
    RequestRefusedError,
    RulesCommand,
    StatusCommand,
    UnlockCommand,
)
from riskd.control.reports import FlattenReport
from riskd.engine.interface import ConfirmedFlatten, IOperated, IOperatedAccount
from riskd.model.account import with_risk
from riskd.model.balance import Balance
from riskd.model.events import DaemonStatus, Status
from riskd.model.exact_json import encode_json
from riskd.rules.builtin.maximum_loss import RULE, Settings
from riskd.rules.evaluation import RuleInForce
from tests.support.control import NOW, ControlTestCase, a_rule, order, position
from tests.support.rules import settings_of


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

    def test_the_clocks_offset_is_reported_in_seconds(self) -> None:
        self.daemon.clock_offset = timedelta(seconds=-12, microseconds=345678)
        self.assertEqual(self.ask(StatusCommand).clock_offset, -11.654)
        self.daemon.clock_offset = None
        self.assertIsNone(self.ask(StatusCommand).clock_offset)

    def test_the_status_may_have_no_daemon_status_yet(self) -> None:
        self.assertIsNone(self.ask(StatusCommand).daemon)

    def test_an_answer_may_be_longer_than_an_entry_of_a_box(self) -> None:
        for number in range(2000):
            self.account.apply(order(number))
        report = self.ask(StatusCommand)
        self.assertGreater(len(encode_json(report)), 3 * 65535)
        self.assertEqual(len(report.accounts[0].orders), 2000)


class RulesTests(ControlTestCase):
    """``rules``: rules in force and their gauges."""

    def test_the_rules_in_force_are_reported_in_their_order(self) -> None:
        self.account.rules = (a_rule("RULE-2", lambda *_: ()), a_rule("RULE-1", lambda *_: ()))
        report = self.ask(RulesCommand, Request(account=123))
        self.assertEqual(report.account, 123)
        self.assertEqual([rule.rule_id for rule in report.rules], ["RULE-2", "RULE-1"])

    def test_an_unknown_account_is_refused(self) -> None:
        self.assertEqual(
            self.refusal(RulesCommand, Request(account=99)),
            "riskd does not follow account 99, only 123, 456",
        )


class FloorTests(ControlTestCase):
    """``floor``: the firm's own figure for the floor of ``maximum_loss``."""

    def setUp(self) -> None:
        super().setUp()
        self.guard(drawdown="2000", starting_balance="50000")
        self.hold(Balance(agreed=Decimal(50000), earlier_close=Decimal(51000)))

    def guard(self, **table: str) -> None:
        self.account.rules = (RuleInForce(RULE, settings_of(Settings, **table)),)

    def hold(self, balance: Balance) -> None:
        self.account.account_state = msgspec.structs.replace(
            self.account.account_state, balance=balance
        )

    def give(self, amount: str, *, is_confirmed: bool = False) -> Outcome:
        return self.ask(FloorCommand, self.request(amount, is_confirmed=is_confirmed))

    def refused(self, amount: str) -> str:
        refusal = self.refusal(FloorCommand, self.request(amount))
        self.assertEqual(self.account.received, [])
        return refusal

    def request(self, amount: str, *, is_confirmed: bool = False) -> Request:
        return Request(account=123, amount=Decimal(amount), is_confirmed=is_confirmed)

    def test_it_is_taken_and_reported_as_the_firms(self) -> None:
        before = self.ask(StatusCommand).accounts[0]
        assert before.floor is not None
        self.assertEqual((before.floor.amount, before.floor.source), (49000, "estimate"))
        outcome = self.give("48500.25")
        self.assertEqual(outcome.floor_before, 49000)
        self.assertEqual(self.account.received, [("set_floor", Decimal("48500.25"), "jane")])
        for report in (outcome.account, self.ask(StatusCommand).accounts[0]):
            found = report.floor
            self.assertEqual((found.amount, found.source), (Decimal("48500.25"), "firm"))

    def test_each_answer_waits_until_its_floor_is_on_the_disk(self) -> None:
        for asks in ((StatusCommand,), (FloorCommand, self.request("48500"))):
            self.daemon.on_disk = Deferred()
            asked = self.begin(*asks)
            self.assertNoResult(asked)
            self.daemon.on_disk.callback("")
            self.pump.flush()
            self.successResultOf(asked)

    def test_the_flatten_that_follows_a_floor_is_waited_for(self) -> None:
        confirmed = self.account.begin_flatten()
        asked = self.begin(FloorCommand, self.request("50000", is_confirmed=True))
        self.assertNoResult(asked)
        confirmed.callback(ConfirmedFlatten(closed=1, canceled=0))
        self.pump.flush()
        outcome = self.successResultOf(asked)["answer"]
        self.assertEqual(outcome.flattened, FlattenReport(closed=1, canceled=0))

    def test_an_account_without_the_rule_has_no_floor(self) -> None:
        self.account.rules = ()
        self.assertEqual(
            self.refused("48500"), "account 123 has no floor: no [rules.maximum_loss] guards it"
        )

    def test_an_account_without_a_balance_is_refused(self) -> None:
        self.hold(Balance())
        self.assertIn("does not know the balance of account 123 yet", self.refused("48500"))

    def test_a_figure_that_the_settings_exclude_is_refused(self) -> None:
        self.assertEqual(
            self.refused("47999.99"),
            "expected at least $48,000.00, which is starting_balance less drawdown, got $47,999.99; "
            "if the firm's floor is lower, correct these keys first",
        )
        self.give("48000")

    def test_without_a_starting_balance_any_lower_figure_is_taken(self) -> None:
        """The first balance that riskd has seen is not the account's."""
        self.guard(drawdown="2000")
        self.hold(Balance(agreed=Decimal(51200), first=Decimal(51200)))
        self.assertEqual(self.give("-2000").account.floor.amount, -2000)

    def test_a_floor_that_would_lock_at_once_needs_a_yes(self) -> None:
        self.assertEqual(
            self.refused("50000"),
            "the equity of account 123 is $50,000.00, so with a floor of $50,000.00 riskd closes "
            "everything and locks the account at once; add --yes if that is the firm's figure",
        )
        self.assertEqual(self.give("50000", is_confirmed=True).account.floor.amount, 50000)
        self.hold(Balance(agreed=Decimal(50000)))
        self.give("49999.99")

    def test_what_closing_costs_counts_too(self) -> None:
        self.guard(drawdown="2000", starting_balance="50000", buffer="100")
        self.account.apply(position())
        self.assertIn("and a buffer of $100.00 riskd closes", self.refused("49900"))
        self.give("49899.99")

    def test_a_lower_floor_waits_for_the_end_of_a_lock(self) -> None:
        self.account.lock("lunch", "jane", None)
        self.account.received.clear()
        self.assertEqual(
            self.refused("48999.99"),
            "account 123 is locked, and a floor below $49,000.00 would loosen its maximum loss: "
            "unlock the account first",
        )
        self.give("49100")
        self.account.unlock("back", "jane")
        self.give("48500")

    def test_amounts_that_are_none_are_refused(self) -> None:
        for amount in ("NaN", "Infinity", "1000000000"):
            request = Request(account=123, amount=Decimal(amount))
            self.assertIn("expected an amount", self.refusal_of(request))
        self.assertIn("expected an amount", self.refusal(FloorCommand, Request(account=123)))
        self.assertEqual(self.account.received, [])

    def refusal_of(self, request: Request) -> str:
        """Return the refusal of a request that JSON cannot carry as it is."""
        error = self.assertRaises(
            RequestRefusedError, Commands(self.daemon, self.clock).floor, request
        )
        return str(error)

    def test_it_is_refused_while_a_journaled_figure_or_the_time_is_unknown(self) -> None:
        self.daemon.is_recovered = False
        self.assertIn("has not read its journal yet", self.refused("48500"))
        self.daemon.is_recovered, self.daemon.clock_offset = True, None
        self.assertIn("does not know the broker's time yet", self.refused("48500"))

    def test_a_dry_run_takes_it(self) -> None:
        self.daemon.enforces = False
        self.assertEqual(self.give("48500").account.floor.amount, 48500)


class OutcomeTests(ControlTestCase):
    """What has become of a command: what is on the disk, and what the broker has confirmed."""

    CHANGES = (
        (LockCommand, Request(account=123, reason="x")),
        (FlattenCommand, Request(account=123, reason="x")),
        (UnlockCommand, Request(account=123, reason="x")),
    )

    def end(self, asked: Deferred[Any]) -> Outcome:
        self.pump.flush()
        outcome: Outcome = self.successResultOf(asked)["answer"]
        return outcome

    def test_each_answer_waits_until_the_change_is_on_the_disk(self) -> None:
        for command, request in self.CHANGES:
            self.daemon.on_disk = Deferred()
            asked = self.begin(command, request)
            self.clock.advance(CONFIRM_SECONDS - 0.1)
            self.assertNoResult(asked)
            self.daemon.on_disk.callback("")
            self.assertEqual(self.end(asked).unwritten, "")

    def test_why_a_change_is_not_on_the_disk_is_reported(self) -> None:
        for command, request in self.CHANGES:
            self.daemon.on_disk = succeed("database or disk is full")
            self.assertEqual(self.ask(command, request).unwritten, "database or disk is full")

    def test_a_disk_that_hangs_is_not_waited_for(self) -> None:
        for command, request in self.CHANGES:
            self.daemon.on_disk = Deferred()
            asked = self.begin(command, request)
            self.clock.advance(CONFIRM_SECONDS)
            self.assertEqual(
                self.end(asked).unwritten, "the disk has not answered within 4 seconds"
            )

    def test_what_the_broker_has_confirmed_is_reported_with_the_account_as_it_is_then(
        self,
    ) -> None:
        for command in (LockCommand, FlattenCommand):
            confirmed = self.account.begin_flatten()
            asked = self.begin(command, Request(account=123, reason="x"))
            self.assertNoResult(asked)
            self.account.account_state = with_risk(self.account.account_state, flattening=None)
            confirmed.callback(ConfirmedFlatten(closed=2, canceled=1))
            outcome = self.end(asked)
            self.assertEqual(outcome.flattened, FlattenReport(closed=2, canceled=1))
            self.assertIsNone(outcome.account.flattening)

    def test_a_confirmation_that_does_not_come_is_not_waited_for(self) -> None:
        self.account.apply(position())
        for status, trouble in ((Status.RUNNING, ""), (Status.ERROR, "The feed is lost")):
            self.account.apply(
                DaemonStatus(status=status, message="The feed is lost", timestamp=NOW)
            )
            confirmed = self.account.begin_flatten()
            asked = self.begin(FlattenCommand, Request(account=123, reason="x"))
            self.clock.advance(CONFIRM_SECONDS)
            outcome = self.end(asked)
            self.assertEqual((outcome.flattened, outcome.trouble), (None, trouble))
            self.assertEqual(len(outcome.account.positions), 1)
            # Nobody waits for it any more.
            self.assertTrue(confirmed.called)

    def test_an_unlock_waits_for_no_broker(self) -> None:
        self.account.begin_flatten()
        outcome = self.ask(UnlockCommand, Request(account=123, reason="x"))
        self.assertIsNone(outcome.flattened)


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
        self.assertTrue(str(reason).startswith("a b\\x1b[2Jccc"))
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

    def test_a_lock_that_would_outlast_the_longest_is_refused(self) -> None:
        longest = NOW + timedelta(seconds=MAX_LOCK_SECONDS)
        self.ask(LockCommand, Request(account=123, reason="x", until=longest))
        for end in (longest + timedelta(seconds=1), datetime(9999, 12, 31, tzinfo=UTC)):
            refusal = self.refusal(LockCommand, Request(account=123, reason="x", until=end))
            self.assertIn(f"would end on {end:%Y-%m-%d}: expected an end within 366 days", refusal)

    def test_a_duration_is_added_to_the_brokers_time(self) -> None:
        """riskctl's clock, and that of the daemon's machine, may be wrong."""
        self.ask(LockCommand, Request(account=123, reason="lunch", seconds=300))
        end = NOW + timedelta(seconds=300)
        self.assertEqual(self.account.received, [("lock", "lunch", "jane", end)])

    def test_a_lock_that_is_to_end_is_refused_while_the_brokers_time_is_unknown(self) -> None:
        self.daemon.clock_offset = None
        end = NOW + timedelta(minutes=5)
        for request in (
            Request(account=123, reason="x", seconds=300),
            Request(account=123, reason="x", until=end),
        ):
            self.assertIn("lock without an end", self.refusal(LockCommand, request))
        self.ask(LockCommand, Request(account=123, reason="x"))
        self.assertEqual(self.account.received, [("lock", "x", "jane", None)])

    def test_unlock_is_refused_before_the_journal_was_read(self) -> None:
        self.daemon.is_recovered = False
        self.assertIn("journal", self.refusal(UnlockCommand, Request(account=123, reason="x")))
        self.assertEqual(self.account.received, [])
        self.ask(StatusCommand)
