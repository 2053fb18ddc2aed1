"""What other limits would have done on a recorded day."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.gateway import PracticeGateway
from riskd.recording.format import Recording, RecordingError
from riskd.recording.what_if import Enforced, what_if
from tests.support.practice_daemon import ACCOUNT, BUY, CATALOGUE, ES, MNQ, SELL
from tests.support.recorded_daemon import RecordedDaemon, settings_of

ONE_ACCOUNT = f'[[accounts]]\nid = {ACCOUNT}\nwatch = ["MNQ"]\n'
TWO_ACCOUNTS = f"{ONE_ACCOUNT}[[accounts]]\nid = 456\n"


class WhatIfTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = RecordedDaemon(
            f"[rules.max_contracts]\nlimit = 4\n{TWO_ACCOUNTS}", is_open=False
        )
        self.addCleanup(self.daemon.clean_up)
        for contract, price in ((MNQ, 21000), (ES, 5800)):
            self.daemon.gateway.move_market(contract, Decimal(price))
        self.daemon.advance(3)

    def trade(self, side: int, size: int, contract: str = MNQ, account: int = ACCOUNT) -> None:
        order = {"contractId": contract, "type": 2, "side": int(side), "size": size}
        self.daemon.gateway.place_order(account, order)
        # Long enough for tries that fail to be given up.
        self.daemon.advance(10)

    def move(self, price: int) -> None:
        self.daemon.gateway.move_market(MNQ, Decimal(price))
        self.daemon.advance(10)

    def what_if(self, rules: str, accounts: str = ONE_ACCOUNT) -> list[Enforced]:
        if self.daemon.engine.running:
            self.recorded = self.daemon.end().read_bytes()
        recording = Recording(io.BytesIO(self.recorded), "day.jsonl")
        return list(what_if(recording, settings_of(f"{rules}\n{accounts}"), CATALOGUE))

    def would_be(self, rules: str, accounts: str = ONE_ACCOUNT) -> list[tuple[int, str, str]]:
        return [
            (one.account_id, one.action.rule_id, one.action.reason)
            for one in self.what_if(rules, accounts)
            if not one.is_real
        ]

    def test_a_tighter_limit_would_have_closed_the_position(self) -> None:
        self.trade(BUY, 3)
        self.trade(SELL, 3)
        (action,) = self.would_be("[rules.max_contracts]\nlimit = 2")
        self.assertEqual(
            action, (ACCOUNT, "RULE-001", "Too many contracts: 3 net contracts held (limit 2)")
        )
        self.assertEqual(self.would_be("[rules.max_contracts]\nlimit = 3"), [])

    def test_real_actions_are_marked_as_real(self) -> None:
        self.trade(BUY, 5)
        enforced = self.what_if("[rules.max_contracts]\nlimit = 5")
        (real,) = [one for one in enforced if one.is_real]
        self.assertEqual((real.account_id, real.action.rule_id), (ACCOUNT, "RULE-001"))
        self.assertEqual([one for one in enforced if not one.is_real], [])

    def test_realized_losses_count(self) -> None:
        self.trade(BUY, 2)
        self.move(20970)
        self.trade(SELL, 2)
        (action,) = self.would_be("[rules.daily_realized_loss]\nloss_limit = 100")
        self.assertEqual(action[1], "RULE-003")
        self.assertEqual(self.would_be("[rules.daily_realized_loss]\nloss_limit = 1000"), [])

    def test_quotes_move_open_positions(self) -> None:
        self.trade(BUY, 2)
        self.move(20970)
        actions = self.would_be("[rules.daily_unrealized_loss]\nloss_limit = 100")
        self.assertEqual(actions[0][1], "RULE-004")

    def test_timers_fire_by_the_clock_of_the_recording(self) -> None:
        self.trade(BUY, 1)
        self.daemon.advance(20)
        rule = "[rules.no_stop_loss_grace]\ngrace_period_seconds = "
        self.assertEqual(self.would_be(f"{rule}60"), [])
        enforced = [one for one in self.what_if(f"{rule}10") if not one.is_real]
        self.assertEqual(enforced[0].action.rule_id, "RULE-008")
        opened_at = self.daemon._origin.timestamp() + 3
        # No one closes it, so the action is reported after five seconds of tries.
        late = enforced[0].action.timestamp.timestamp() - opened_at
        self.assertTrue(10 <= late <= 16, late)

    def test_a_what_if_takes_no_action(self) -> None:
        self.trade(BUY, 3)
        asked: list[Any] = []
        for name in ("place_order", "cancel_order", "close_contract", "modify_order"):
            self.patch(PracticeGateway, name, lambda *arguments: asked.append(arguments))
        enforced = [
            one for one in self.what_if("[rules.max_contracts]\nlimit = 2") if not one.is_real
        ]
        self.assertEqual([one.action.success for one in enforced], [False])
        details = enforced[0].action.details
        self.assertEqual((details.positions_closed, details.dry_run), (1, True))
        self.assertEqual(asked, [])

    def test_earlier_lockouts_and_operators_are_left_out(self) -> None:
        self.daemon.account(ACCOUNT).lock("lunch", "jane", None)
        self.daemon.advance(2)
        self.daemon.kill()
        self.daemon.begin()
        self.daemon.advance(3)
        self.daemon.account(ACCOUNT).unlock("back", "jane")
        self.trade(BUY, 3)
        (action,) = self.would_be("[rules.max_contracts]\nlimit = 2")
        self.assertEqual(action[1], "RULE-001")

    def test_a_position_from_before_the_recording_is_known(self) -> None:
        self.trade(BUY, 3)
        self.daemon.kill()
        self.daemon.begin()
        self.daemon.gateway.move_market(MNQ, Decimal(21000))
        self.daemon.advance(5)
        (action,) = self.would_be("[rules.max_contracts]\nlimit = 2")
        self.assertEqual(action[1], "RULE-001")

    def test_what_the_journal_knew_of_the_account_is_known(self) -> None:
        """The floor follows from the first balance, and not from that after the loss."""
        self.trade(BUY, 2)
        self.move(20900)
        self.trade(SELL, 2)
        self.daemon.kill()
        self.daemon.begin()
        self.daemon.gateway.move_market(MNQ, Decimal(20900))
        self.daemon.advance(5)
        self.trade(BUY, 2)
        self.move(20850)
        (enforced,) = [
            one for one in self.what_if("[rules.maximum_loss]\ndrawdown = 600") if one.decided
        ]
        self.assertIn("floor $49,400.00", enforced.action.reason)
        assert enforced.decided is not None
        self.assertEqual(enforced.decided.day, date(2026, 11, 23))
        self.assertLess(enforced.decided.net_pnl, -550)

    def test_accounts_that_the_settings_do_not_name_are_left_out(self) -> None:
        self.trade(BUY, 5, ES, 456)
        self.assertEqual(self.what_if("[rules.max_contracts]\nlimit = 2"), [])
        actions = self.would_be("[rules.max_contracts]\nlimit = 9", TWO_ACCOUNTS)
        self.assertEqual(actions, [])

    def test_an_account_that_the_recording_does_not_have_is_an_error(self) -> None:
        with self.assertRaisesRegex(RecordingError, "day.jsonl has no account 99, only 123, 456"):
            self.what_if("", "[[accounts]]\nid = 99\n")

    def test_an_error_names_the_damaged_line(self) -> None:
        self.trade(BUY, 5)
        self.what_if("")
        for old, new in (
            (b'"action":"CLOSE', b'"action":"KLOSE'),
            (b'"asked":1,', b'"asked":"x",'),
        ):
            self.recorded, whole = self.recorded.replace(old, new), self.recorded
            with self.assertRaisesRegex(RecordingError, r"day.jsonl, line \d+ is damaged"):
                self.what_if("")
            self.recorded = whole
