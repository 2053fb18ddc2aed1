"""The broker voids and amends trades: state, rules, published copy, journal, and what clients receive."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import succeed

from riskd.config.settings import NO_FAULTS, Faults
from riskd.engine.corrections import (
    Versions,
    amended_sentence,
    is_amended,
    voided_sentence,
)
from riskd.gateway.interface import Found
from riskd.journal.audit_log import read_log
from riskd.journal.reader import read_published
from riskd.model.broker import BrokerTrade
from riskd.model.events import (
    ClearedBy,
    DaemonStatus,
    GatewayUserTrade,
    Status,
)
from tests import examples
from tests.support.broker_values import broker_trade
from tests.support.guarded_account import DAILY_LOSS, GuardTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, MNQ, SELL, PracticeDaemon, settings_of

FEES = DAILY_LOSS + "include_fees = true\n"

FREQUENCY = """
[rules.trade_frequency_limit]
max_trades = 3
time_window_minutes = 5
cooldown_seconds = 300
"""

COOLDOWN = """
[rules.cooldown_after_loss]
loss_threshold = 100
cooldown_seconds = 300
"""

TIERS = """
[rules.cooldown_after_loss]
loss_thresholds = [
    { loss_amount = 100, cooldown_duration = 300 },
    { loss_amount = 200, cooldown_duration = 900 },
]
"""


def a_trade(number: int, pnl: str = "-5", **more: Any) -> BrokerTrade:
    return broker_trade(id=number, profit_and_loss=Decimal(pnl), **more)


class CorrectionTestCase(GuardTestCase):
    def start(self, config: str) -> None:
        self.daemon.close()
        self.daemon = PracticeDaemon(config)
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")
        # The broker's searches say nothing about the trades of these tests.
        self.listed: list[BrokerTrade] = []
        self.patch(
            self.daemon.gateway,
            "search_trades",
            lambda _account, _since: succeed(Found(items=tuple(self.listed), unreadable=())),
        )
        self.daemon.advance(20)

    def receive(self, number: int, pnl: str = "-5", **more: Any) -> BrokerTrade:
        """Receive the event of a trade that is executed now."""
        trade = a_trade(number, pnl, **{"at": self.daemon.now(), **more})
        self.daemon.engine.receive(ACCOUNT, trade)
        return trade

    def void(self, trade: BrokerTrade) -> BrokerTrade:
        voided = msgspec.structs.replace(trade, is_voided=True)
        self.daemon.engine.receive(ACCOUNT, voided)
        return voided

    def amend(self, trade: BrokerTrade, pnl: str) -> BrokerTrade:
        amended = msgspec.structs.replace(trade, profit_and_loss=Decimal(pnl))
        self.daemon.engine.receive(ACCOUNT, amended)
        return amended

    def restart(self) -> None:
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(2)

    @property
    def locks(self) -> list[str]:
        return sorted(self.daemon.state.lockouts)

    def messages(self) -> list[str]:
        return [status.message for status in self.daemon.news(DaemonStatus)]


class VoidTests(CorrectionTestCase):
    def test_a_voided_trade_takes_its_fees_along(self) -> None:
        self.start(FEES)
        first = self.receive(1, "-100", fees=Decimal(60))
        self.void(first)
        self.receive(2, "-445", fees=Decimal(1))
        self.daemon.advance(1)
        self.assertEqual(self.locks, [])
        self.receive(3, "-53", fees=Decimal(1))
        self.daemon.advance(1)
        self.assertEqual(self.locks, ["RULE-003"])

    def test_so_does_a_voided_half_turn(self) -> None:
        self.start(FEES)
        entry = self.receive(1, "0", fees=Decimal(60), is_full_turn=False)
        self.void(entry)
        self.daemon.engine.receive(ACCOUNT, entry)
        self.receive(2, "-445", fees=Decimal(1))
        self.daemon.advance(1)
        self.assertEqual((self.locks, list(self.daemon.state.risk.charges)), ([], [2]))

    def test_a_void_in_any_order_and_twice(self) -> None:
        for order in ((0, 1), (1, 0), (1, 0, 0), (0, 1, 1), (1, 1, 0), (0, 1, 0, 1, 0)):
            self.start(FEES)
            sent = a_trade(1, "-600", at=self.daemon.now(), fees=Decimal(3))
            versions = (sent, msgspec.structs.replace(sent, is_voided=True))
            for index in order:
                self.daemon.engine.receive(ACCOUNT, versions[index])
            self.daemon.advance(2)
            state = self.daemon.state
            self.assertEqual(
                (state.realized_pnl, state.trade_count, dict(state.risk.charges)),
                (0, 0, {}),
                order,
            )
            self.assertEqual(self.locks, [], order)

    def test_a_void_that_only_a_search_knows(self) -> None:
        self.start(FEES)
        trade = self.receive(1, "-600")
        self.listed = [msgspec.structs.replace(trade, is_voided=True)]
        self.daemon.advance(1)
        self.assertEqual(self.locks, ["RULE-003"])
        self.daemon.advance(10)
        self.assertEqual((self.locks, self.daemon.state.realized_pnl), ([], 0))

    def test_a_void_while_the_daemon_was_down(self) -> None:
        self.start(FEES)
        trade = self.receive(1, "-600", fees=Decimal(1))
        self.daemon.advance(2)
        self.daemon.kill()
        self.listed = [msgspec.structs.replace(trade, is_voided=True)]
        self.daemon.restart()
        self.daemon.advance(2)
        self.assertEqual((self.locks, self.daemon.state.realized_pnl), ([], 0))
        self.restart()
        self.assertEqual(self.locks, [])

    def test_a_late_copy_after_a_restart(self) -> None:
        self.start(FEES)
        trade = self.receive(1, "-600")
        self.listed = [self.void(trade)]
        self.daemon.advance(2)
        self.restart()
        self.daemon.engine.receive(ACCOUNT, trade)
        self.daemon.advance(2)
        self.assertEqual((self.locks, self.daemon.state.realized_pnl), ([], 0))

    def test_a_void_across_the_daily_reset(self) -> None:
        self.start(FREQUENCY)
        self.daemon.advance(1)
        self.daemon.clock.advance(5 * 3600 - 21 - 120)
        self.daemon.advance(60)
        trades = [self.receive(number) for number in range(4)]
        self.daemon.advance(2)
        self.assertEqual(self.locks, ["RULE-006"])
        self.daemon.advance(100)
        self.assertEqual(self.daemon.state.trade_count, 0)
        self.assertEqual(self.locks, ["RULE-006"])
        told = len(self.messages())
        self.void(trades[1])
        self.daemon.advance(1)
        self.assertEqual(self.locks, [])
        # Clients have nothing of that day any more.
        self.assertEqual(len(self.messages()), told)


class EarlierDayTests(CorrectionTestCase):
    """Trades from before the daily reset, in windows that span it."""

    def before_reset(self, config: str) -> None:
        self.start(config)
        # The day ends in a minute.
        self.daemon.clock.advance(5 * 3600 - 20 - 60)
        self.daemon.advance(2)

    def test_a_restart_after_the_reset_forgets_no_window(self) -> None:
        self.before_reset(FREQUENCY)
        self.listed = [self.receive(number) for number in range(3)]
        self.daemon.advance(60)
        self.assertEqual(self.daemon.state.trade_count, 0)
        before = len(self.daemon.news(GatewayUserTrade))
        self.restart()
        self.assertEqual(self.locks, [])
        self.assertEqual(len(self.daemon.news(GatewayUserTrade)), before)
        self.assertEqual((self.daemon.state.trade_count, dict(self.daemon.state.trades)), (0, {}))
        self.receive(9)
        self.daemon.advance(1)
        self.assertEqual(self.locks, ["RULE-006"])

    def test_a_void_of_the_day_before_that_only_a_search_knows(self) -> None:
        for config in (FREQUENCY, COOLDOWN):
            for is_restarted in (False, True):
                self.before_reset(config)
                trades = [self.receive(number, "-100") for number in range(4)]
                if config is COOLDOWN:
                    trades = trades[:1]
                    for trade in self.daemon.state.trades.values():
                        if trade.id:
                            self.void(trade)
                self.daemon.advance(65)
                self.assertEqual(len(self.locks), 1)
                self.listed = [msgspec.structs.replace(trades[0], is_voided=True), *trades[1:]]
                if is_restarted:
                    self.restart()
                self.daemon.advance(10)
                self.assertEqual(self.locks, [], (config, is_restarted))

    def test_charges_of_the_day_before_count_on_no_other_day(self) -> None:
        self.before_reset(FEES)
        self.listed = [
            self.receive(1, "-1", fees=Decimal(400)),
            self.receive(2, "0", fees=Decimal(400), is_full_turn=False),
        ]
        self.daemon.advance(70)
        self.restart()
        self.assertEqual(dict(self.daemon.state.risk.charges), {})


class AmendmentTests(CorrectionTestCase):
    def test_the_brokers_last_word_counts(self) -> None:
        self.start(DAILY_LOSS)
        trade = self.receive(1, "-5")
        self.listed = [self.amend(trade, "-600")]
        self.daemon.advance(130)
        self.assertEqual(self.daemon.state.realized_pnl, -600)
        self.assertEqual((self.daemon.state.trade_count, self.locks), (1, ["RULE-003"]))

    def test_the_trade_is_sent_once(self) -> None:
        self.start(DAILY_LOSS)
        trade = self.receive(1, "-5")
        self.amend(trade, "-7")
        self.void(trade)
        self.daemon.advance(2)
        self.assertEqual(
            [each.profit_and_loss for each in self.daemon.news(GatewayUserTrade)], [-5]
        )

    def test_an_amendment_that_only_a_search_knows(self) -> None:
        self.start(DAILY_LOSS)
        trade = self.receive(1, "-5")
        self.daemon.advance(2)
        self.listed = [msgspec.structs.replace(trade, profit_and_loss=Decimal(-600))]
        self.daemon.advance(65)
        self.assertEqual(self.locks, ["RULE-003"])

    def test_a_late_copy_of_an_amended_trade_is_no_amendment(self) -> None:
        self.start(DAILY_LOSS)
        trade = self.receive(1, "-5")
        self.listed = [self.amend(trade, "-600")]
        self.daemon.engine.receive(ACCOUNT, trade)
        self.assertEqual(self.daemon.state.realized_pnl, -600)
        self.daemon.advance(2)
        self.assertEqual(len(self.daemon.locks), 1)

    def test_a_search_settles_which_of_two_swapped_events_counts(self) -> None:
        self.start(DAILY_LOSS)
        amended = self.receive(1, "-600")
        self.listed = [amended]
        self.amend(amended, "-5")
        self.daemon.advance(15)
        self.assertEqual((self.daemon.state.realized_pnl, self.locks), (-600, ["RULE-003"]))

    def test_a_restart_forgets_nothing_of_it(self) -> None:
        self.start(DAILY_LOSS)
        trade = self.receive(1, "-600")
        self.daemon.advance(2)
        self.assertEqual(self.locks, ["RULE-003"])
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(2)
        self.assertEqual(self.locks, ["RULE-003"])
        self.listed = [self.amend(trade, "-499.99")]
        self.daemon.advance(2)
        self.assertEqual(self.locks, [])
        self.restart()
        self.assertEqual((self.locks, self.daemon.state.realized_pnl), ([], Decimal("-499.99")))

    @settings(max_examples=examples(25))
    @given(
        st.lists(
            st.tuples(st.integers(0, 2), st.sampled_from(["-5", "-250", "-600", "void"])),
            min_size=1,
            max_size=8,
        ),
        st.booleans(),
    )
    def test_after_a_reconciliation_state_and_lock_are_what_the_broker_says(
        self, events: list[tuple[int, str]], is_restarted: bool
    ) -> None:
        self.start(DAILY_LOSS)
        last: dict[int, str] = {}
        at = self.daemon.now()
        for number, reported in events:
            word = "void" if last.get(number) == "void" else reported
            last[number] = word
            pnl = "-1" if word == "void" else word
            trade = a_trade(number, pnl, at=at, is_voided=word == "void")
            self.daemon.engine.receive(ACCOUNT, trade)
            self.listed = [
                a_trade(key, "-1" if each == "void" else each, at=at, is_voided=each == "void")
                for key, each in last.items()
            ]
        if is_restarted:
            self.daemon.advance(1)
            self.restart()
        self.daemon.advance(70)
        expected = sum(Decimal(each) for each in last.values() if each != "void")
        self.assertEqual(self.daemon.state.realized_pnl, expected)
        self.assertEqual(self.locks, ["RULE-003"] if expected <= -500 else [])


class LiftTests(CorrectionTestCase):
    """Which locks a void ends."""

    CONFIG = DAILY_LOSS + FREQUENCY + COOLDOWN

    def test_the_locks_of_all_three_rules(self) -> None:
        self.start(self.CONFIG)
        trades = [self.receive(number, "-1") for number in range(3)]
        trades.append(self.receive(3, "-500"))
        self.daemon.advance(1)
        self.assertEqual(self.locks, ["RULE-003", "RULE-006", "RULE-007"])
        self.void(trades[3])
        self.daemon.advance(1)
        self.assertEqual(self.locks, [])
        self.assertEqual(
            [each.cleared_by for each in self.daemon.cleared], [ClearedBy.ADMIN_OVERRIDE]
        )

    def test_after_a_restart(self) -> None:
        for config, pnl in ((DAILY_LOSS, "-500"), (FREQUENCY, "-1"), (COOLDOWN, "-100")):
            self.start(config)
            count = 4 if config is FREQUENCY else 1
            trades = [self.receive(number, pnl) for number in range(count)]
            self.daemon.advance(2)
            self.restart()
            self.assertEqual(len(self.locks), 1, config)
            self.void(trades[0])
            self.daemon.advance(1)
            self.assertEqual(self.locks, [], config)
            self.restart()
            self.assertEqual(self.locks, [], config)

    def test_only_the_lock_that_has_lost_its_reason(self) -> None:
        self.start(self.CONFIG)
        trades = [self.receive(number, "-1") for number in range(3)]
        self.receive(3, "-500")
        self.daemon.advance(1)
        self.void(trades[0])
        self.daemon.advance(1)
        ended = [
            lock.rule_id
            for lock in self.daemon.state.lockouts.values()
            if lock.locked_until and lock.locked_until <= self.daemon.now()
        ]
        self.assertEqual(ended, ["RULE-006"])
        self.assertEqual(self.daemon.cleared, [])

    def test_an_operators_lock_stays(self) -> None:
        self.start(self.CONFIG)
        trade = self.receive(1, "-500")
        self.daemon.engine.accounts[ACCOUNT].lock("lunch", "jane", None)
        self.daemon.advance(1)
        self.void(trade)
        self.daemon.advance(1)
        in_force = [
            lock for lock in self.daemon.state.lockouts.values() if lock.locked_until is None
        ]
        self.assertEqual([lock.rule_id for lock in in_force], ["OPERATOR"])

    def test_new_settings_in_the_lock_do_not_keep_it(self) -> None:
        self.start(DAILY_LOSS)
        trade = self.receive(1, "-500")
        self.daemon.advance(1)
        self.daemon.engine.reload(settings_of(DAILY_LOSS.replace("500", "800")))
        self.daemon.advance(1)
        self.assertEqual(self.locks, ["RULE-003"])
        self.void(trade)
        self.daemon.advance(1)
        self.assertEqual(self.locks, [])

    def test_after_it_the_account_may_trade_and_is_guarded(self) -> None:
        self.start(DAILY_LOSS)
        self.void(self.receive(1, "-500"))
        self.daemon.advance(1)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(5)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.receive(2, "-500")
        self.daemon.advance(1)
        self.assertEqual((self.locks, self.daemon.held), (["RULE-003"], {}))


class OrderOfLearningTests(CorrectionTestCase):
    def test_trades_whose_events_were_lost_count_in_the_window_of_a_later_one(self) -> None:
        self.daemon.close()
        self.daemon = PracticeDaemon(FREQUENCY)
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")
        self.daemon.advance(2)
        for lost in ((0, 1, 2), (3,), (1, 3), (0, 1, 2, 3)):
            with self.subTest(lost):
                for number in range(4):
                    self.daemon.gateway.faults = (
                        Faults(lost_events=1.0) if number in lost else NO_FAULTS
                    )
                    self.daemon.trade(BUY, 1)
                    self.daemon.trade(SELL, 1)
                    self.daemon.advance(2)
                self.daemon.gateway.faults = NO_FAULTS
                self.daemon.advance(130)
                self.assertEqual(self.locks, ["RULE-006"])
                self.daemon.advance(600)
                self.assertEqual(self.locks, [])
                self.daemon.told.clear()


class ExitTests(CorrectionTestCase):
    """Several fills of one exit order."""

    def test_they_are_one_loss(self) -> None:
        self.start(COOLDOWN)
        self.receive(900, "-99", order_id=5)
        self.daemon.advance(1)
        self.assertEqual(self.locks, [])
        self.receive(901, "-99", order_id=5)
        self.receive(902, "-99", order_id=5)
        self.daemon.advance(2)
        self.assertEqual([lock.rule_id for lock in self.daemon.locks], ["RULE-007"])

    def test_fills_of_other_orders_are_other_losses(self) -> None:
        self.start(COOLDOWN)
        self.receive(900, "-99", order_id=5)
        self.receive(901, "-99", order_id=6)
        self.receive(902, "-99")
        self.receive(903, "-99")
        self.daemon.advance(2)
        self.assertEqual(self.locks, [])

    def test_parts_that_only_a_search_knows(self) -> None:
        self.start(COOLDOWN)
        parts = [a_trade(number, "-60", at=self.daemon.now(), order_id=5) for number in range(2)]
        self.daemon.engine.receive(ACCOUNT, parts[1])
        self.listed = parts
        self.daemon.advance(65)
        self.assertEqual(self.locks, ["RULE-007"])

    def test_more_parts_deepen_the_loss(self) -> None:
        self.start(TIERS)
        now = self.daemon.now()
        for number in (2, 0, 1):
            self.receive(number, "-99", order_id=5, at=now)
        self.daemon.advance(2)
        (lock,) = self.daemon.state.lockouts.values()
        assert lock.locked_until is not None
        self.assertEqual(lock.locked_until - now, timedelta(seconds=900))

    def test_a_part_that_arrives_in_the_cooldown_deepens_it(self) -> None:
        self.start(TIERS)
        now = self.daemon.now()
        self.receive(1, "-120", order_id=5)
        self.daemon.advance(2)
        self.receive(2, "-120", order_id=5, at=now)
        self.daemon.advance(1)
        ends = [lock.locked_until - now for lock in self.daemon.locks if lock.locked_until]
        self.assertEqual(ends[0], timedelta(seconds=300))
        self.assertGreaterEqual(ends[-1], timedelta(seconds=900))

    def test_a_voided_part_ends_the_cooldown_if_the_rest_is_no_such_loss(self) -> None:
        self.start(COOLDOWN)
        parts = [self.receive(number, "-60", order_id=5) for number in range(3)]
        self.daemon.advance(1)
        self.void(parts[0])
        self.daemon.advance(1)
        self.assertEqual(self.locks, ["RULE-007"])
        self.void(parts[1])
        self.daemon.advance(1)
        self.assertEqual(self.locks, [])


class StatusTests(CorrectionTestCase):
    """What clients receive."""

    def test_the_copy_is_corrected_before_the_sentence(self) -> None:
        self.start(DAILY_LOSS)
        trade = self.receive(1, "-5")
        self.daemon.advance(2)
        published: list[tuple[str, list[Decimal]]] = []
        send = self.daemon.engine._broadcast

        def look(event: Any) -> None:
            if isinstance(event.data, DaemonStatus):
                account = read_published(self.daemon.directory).accounts[ACCOUNT]
                found = [each.profit_and_loss for each in account.trades.values()]
                published.append((event.data.message, found))
            send(event)

        self.daemon.engine._broadcast = look
        trade = self.amend(trade, "-7.50")
        self.daemon.advance(2)
        self.void(trade)
        self.daemon.advance(2)
        self.assertEqual(
            published,
            [
                (
                    "The broker changed trade 1 of account 123 from -$5.00 to -$7.50",
                    [Decimal("-7.50")],
                ),
                (
                    "The broker voided trade 1 of account 123 (-$7.50); it does not count any more",
                    [],
                ),
            ],
        )

    def test_the_status_is_that_which_stands(self) -> None:
        self.start(DAILY_LOSS)
        trade = self.receive(1, "-5")
        self.amend(trade, "-6")
        self.daemon.advance(2)
        last = self.daemon.news(DaemonStatus)[-1]
        self.assertEqual(last.status, Status.RUNNING)
        self.daemon.engine.report_problem("test", "Something is wrong")
        self.amend(trade, "-7")
        self.daemon.advance(2)
        *_, correction, again = self.daemon.news(DaemonStatus)
        self.assertEqual((correction.status, again.status), (Status.ERROR, Status.ERROR))
        self.assertIn("changed trade 1", correction.message)
        self.assertEqual(again.message, "Something is wrong")

    def test_corrections_while_the_copy_is_written_are_one_status(self) -> None:
        self.start(DAILY_LOSS)
        trades = [self.receive(number) for number in range(3)]
        self.daemon.advance(2)
        before = len(self.messages())
        self.daemon.disk.is_slow = True
        for trade in trades:
            self.void(trade)
        while self.daemon.disk.waiting:
            self.daemon.disk.catch_up()
        self.daemon.disk.is_slow = False
        self.daemon.advance(2)
        (message,) = self.messages()[before:]
        self.assertTrue(message.endswith("(2 more corrections)"), message)

    def test_a_dry_run_still_says_that_it_is_one(self) -> None:
        self.start("enforce = false\n" + DAILY_LOSS)
        self.void(self.receive(1))
        self.daemon.advance(2)
        self.assertTrue(self.messages()[-1].endswith("(dry run: nothing is enforced)"))

    def test_the_audit_log_has_it(self) -> None:
        self.start(DAILY_LOSS)
        self.void(self.receive(1))
        self.daemon.advance(2)
        (line,) = [
            each for each in read_log(self.daemon.directory, ACCOUNT) if each.kind == "correction"
        ]
        self.assertIn("The broker voided trade 1", line.data["message"])

    def test_what_the_wire_does_not_carry_is_no_correction(self) -> None:
        self.start(FEES)
        trade = self.receive(1)
        before = len(self.messages())
        self.daemon.engine.receive(
            ACCOUNT, msgspec.structs.replace(trade, fees=Decimal(2), order_id=9)
        )
        self.daemon.advance(2)
        self.assertEqual(len(self.messages()), before)
        self.assertEqual(self.daemon.state.risk.charges[1].amount, 2)


class VersionTests(CorrectionTestCase):
    def test_versions(self) -> None:
        now = self.daemon.now()
        first, second = a_trade(1, "-5", at=now), a_trade(1, "-6", at=now)
        versions = Versions()
        self.assertFalse(versions.is_late_copy(first))
        versions.amend(first, second)
        self.assertTrue(versions.is_late_copy(first))
        self.assertFalse(versions.is_late_copy(second))
        versions.amend(second, first)
        self.assertFalse(versions.is_late_copy(first))
        self.assertTrue(versions.is_late_copy(second))
        self.assertTrue(is_amended(first, second))

    def test_sentences(self) -> None:
        now = self.daemon.now()
        first = a_trade(1, "-5", at=now)
        self.assertIn("(-$5.00)", voided_sentence(123, first))
        more = msgspec.structs.replace(first, quantity=2)
        self.assertEqual(
            amended_sentence(123, first, more), "The broker changed trade 1 of account 123"
        )
