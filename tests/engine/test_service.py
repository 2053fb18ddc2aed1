"""The engine from start to stop, on a scripted gateway and on the practice gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.engine.service import EngineService
from riskd.gateway.interface import GatewayRefusedError
from riskd.journal.reader import read_published
from riskd.journal.service import JournalService
from riskd.journal.store import Store
from riskd.model.account import AccountState
from riskd.model.events import DaemonStatus, Event, MarketQuote
from riskd.practice.gateway import PracticeGateway
from riskd.testing import make_event, unguarded_settings
from tests import in_one_runner
from tests.support.directories import temporary_directory
from tests.support.disk import SlowDisk, failing_disk
from tests.support.scripted_gateway import (
    ES,
    MNQ,
    NOON,
    EngineTestCase,
    order,
    position,
    quote,
    trade,
)


class StatusTests(EngineTestCase):
    """Start and stop."""

    def statuses(self) -> list[tuple[str, str]]:
        return [
            (data.status, data.message) for data in self.take() if isinstance(data, DaemonStatus)
        ]

    def test_running_is_announced_when_the_accounts_are_reconciled(self) -> None:
        self.gateway.started = Deferred()
        self.engine.startService()
        self.assertEqual(self.told, [])
        self.gateway.positions[123] = [position(3)]
        self.gateway.orders[123] = [order(1)]
        self.gateway.started.callback(None)
        self.assertEqual(
            [event.type for event in self.told],
            ["GatewayUserPosition", "GatewayUserOrder", "daemon_status"],
        )
        self.assertEqual(
            self.statuses()[-1],
            ("RUNNING", "Daemon started successfully on the PRACTICE gateway"),
        )

    def test_stopping_is_announced_and_the_gateway_stopped(self) -> None:
        self.start()
        self.successResultOf(self.engine.stopService())
        self.assertEqual(self.statuses(), [("STOPPING", "The daemon is stopping")])
        self.assertTrue(self.gateway.is_stopped)

    def test_stopping_before_the_gateway_answers_is_no_error(self) -> None:
        self.gateway.started = Deferred()
        self.engine.startService()
        self.successResultOf(self.engine.stopService())
        self.assertEqual([status for status, _ in self.statuses()], ["STOPPING"])

    def test_a_gateway_that_cannot_be_followed_is_an_error_a_trader_can_read(self) -> None:
        self.gateway.started = fail(GatewayRefusedError("Auth/loginKey", 3, "bad key"))
        self.engine.startService()
        self.assertEqual(len(self.flushLoggedErrors(GatewayRefusedError)), 1)
        ((status, message),) = self.statuses()
        self.assertEqual(status, "ERROR")
        self.assertIn("bad key", message)


class DurableTests(EngineTestCase):
    """What only riskd knows is on the disk before it is broadcast."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.clock.advance(1)
        self.disk.is_slow = True

    def test_events_of_riskd_wait_for_the_disk_and_those_of_the_gateway_do_not(self) -> None:
        for event_type in ("enforcement_action", "lockout_set", "lockout_cleared", "daily_reset"):
            self.engine.announce(make_event(event_type, {}))
        self.user("GatewayUserPosition", position(2))
        self.payloads.market_event("GatewayQuote", MNQ, quote(1))
        self.assertEqual(
            [event.type for event in self.told], ["GatewayUserPosition", "MarketQuote"]
        )
        self.told.clear()
        while self.disk.waiting:
            self.disk.catch_up()
        self.assertEqual(
            [event.type for event in self.told],
            ["enforcement_action", "lockout_set", "lockout_cleared", "daily_reset"],
        )

    def test_a_lock_that_waits_for_the_disk_is_in_the_journal(self) -> None:
        # Without rules, which would close the position of the locked account.
        self.engine.pause()
        self.engine.announce(make_event("lockout_set", {"rule_id": "RULE-003"}))
        self.user("GatewayUserPosition", position(2))
        self.clock.advance(1)
        self.disk.catch_up(1)
        self.disk.is_slow = False
        while self.disk.waiting:
            self.disk.catch_up()
        self.assertEqual(set(self.snapshot().lockouts), {"RULE-003"})
        self.assertEqual(
            [event.type for event in self.told],
            ["GatewayUserPosition", "daemon_status", "lockout_set", "daemon_status"],
        )
        self.assertIn("over a second", self.told[1].data.message)

    def snapshot(self) -> AccountState:
        self.successResultOf(self.journal.published())
        return read_published(self.directory).accounts[123]

    def test_a_lockout_is_published_at_once(self) -> None:
        self.disk.is_slow = False
        self.engine.announce(make_event("lockout_set", {"rule_id": "RULE-003"}))
        locks = read_published(self.directory).accounts[123].lockouts
        self.assertEqual(set(locks), {"RULE-003"})

    def test_a_disk_that_fails_silences_no_lockout(self) -> None:
        self.engine.announce(make_event("lockout_set", {"rule_id": "RULE-003"}))
        _, done = self.disk.waiting.pop()
        done.errback(OSError(28, "No space left on device"))
        self.assertEqual(
            [(event.type, getattr(event.data, "status", None)) for event in self.told],
            [("daemon_status", "ERROR"), ("lockout_set", None)],
        )
        self.assertIn("No space left", self.told[0].data.message)
        self.disk.is_slow = False
        self.disk.catch_up(len(self.disk.waiting))
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.told[-1].data.message, "Running again on the PRACTICE gateway")
        self.assertEqual(set(self.snapshot().lockouts), {"RULE-003"})


class RecoveryTests(EngineTestCase):
    """A daemon that starts again."""

    def restart(self) -> None:
        self.stop()
        self.time += timedelta(minutes=1)
        self.make()

    def test_locks_enforcement_and_the_day_are_remembered(self) -> None:
        self.start()
        self.engine.announce(make_event("lockout_set", {"rule_id": "RULE-003"}))
        self.engine.announce(make_event("enforcement_action", {}))
        self.user("GatewayUserTrade", trade(1, "-45.50"))
        before = self.state()
        self.restart()
        self.engine.startService()
        after = self.state()
        self.assertEqual(after.lockouts, before.lockouts)
        self.assertEqual(after.enforcement, before.enforcement)
        self.assertEqual((after.realized_pnl, after.trade_count), (Decimal("-45.50"), 1))
        # Clients that connected before the journal was open receive the lock.
        self.assertEqual([event.type for event in self.told], ["lockout_set", "daemon_status"])

    def test_an_event_before_the_journal_is_open_wipes_nothing_out(self) -> None:
        self.start()
        self.user("GatewayUserTrade", trade(7, "-45.50"))
        reset = make_event("daily_reset", {"reset_time": "2025-01-16T23:00:00Z"})
        self.engine.announce(reset)
        self.engine.announce(make_event("lockout_set", {"rule_id": "RULE-003"}))
        self.restart()
        self.disk.is_slow = True
        self.engine.startService()
        self.engine.announce(make_event("daemon_status", {"status": "ERROR"}))
        while self.disk.waiting:
            self.disk.catch_up()
            self.clock.advance(0.6)
        state = self.state()
        self.assertEqual((set(state.trades), set(state.lockouts)), ({7}, {"RULE-003"}))
        self.assertEqual(state.last_reset, reset.data)
        self.disk.is_slow = False
        self.stop()
        kept = read_published(self.directory).accounts[123]
        self.assertEqual((set(kept.trades), set(kept.lockouts)), ({7}, {"RULE-003"}))
        self.assertEqual((str(kept.realized_pnl), kept.last_reset), ("-45.50", reset.data))

    def state(self) -> AccountState:
        return self.engine.accounts[123].account.state

    def test_the_gateways_answers_replace_what_differs(self) -> None:
        self.start()
        self.user("GatewayUserPosition", position(2, MNQ))
        self.user("GatewayUserPosition", position(1, ES))
        self.user("GatewayUserOrder", order(1, 7))
        self.user("GatewayUserOrder", order(1, 8))
        self.user("GatewayUserOrder", order(1, 9))
        self.restart()
        self.gateway.positions[123] = [position(3, ES)]
        self.gateway.orders[123] = [order(1, 9)]
        self.gateway.ended = {7: order(2, 7)}
        self.gateway.trades[123] = [trade(1, None), trade(2, "12.50")]
        self.engine.startService()
        self.assertEqual(
            [(event.type, getattr(event.data, "id", None)) for event in self.told],
            [
                ("GatewayUserTrade", 2),
                ("GatewayUserPosition", 1),
                ("GatewayUserPosition", 1),
                ("GatewayUserOrder", 7),
                ("GatewayUserOrder", 8),
                ("daemon_status", None),
            ],
        )
        state = self.state()
        self.assertEqual(
            [(held.contract_id, held.size) for held in state.open_positions], [(ES, 3)]
        )
        self.assertEqual([working.id for working in state.working_orders], [9])
        self.assertEqual([event.data.state for event in self.told[3:5]], [2, 3])
        self.assertEqual(state.realized_pnl, Decimal("12.50"))

    def test_trades_of_a_day_are_requested_although_the_trading_day_has_just_begun(self) -> None:
        self.start()
        self.clock.advance(61)
        since = self.gateway.trades_since[123]
        self.assertLess(abs(NOON + timedelta(seconds=61) - since - timedelta(days=1)).seconds, 2)
        reset = make_event("daily_reset", {"reset_time": "2025-01-17T11:00:00Z"})
        self.engine.announce(reset)
        self.restart()
        self.start()
        self.assertLess(self.gateway.trades_since[123], NOON - timedelta(hours=23))

    def test_the_first_search_of_a_run_lists_the_trades_of_the_week(self) -> None:
        for _ in range(2):
            self.start()
            # 17:00 on Sunday in Chicago.
            self.assertEqual(
                self.gateway.trades_since[123], datetime(2025, 1, 12, 23, 0, tzinfo=UTC)
            )
            self.restart()

    def test_trades_are_requested_since_the_trading_day_began(self) -> None:
        self.start()
        account = self.engine.accounts[123].account
        began = NOON - timedelta(hours=25)
        account.state = msgspec.structs.replace(account.state, day_began=began)
        self.clock.advance(61)
        self.assertEqual(self.gateway.trades_since[123], began)

    def test_a_damaged_journal_is_announced_as_an_error_before_running(self) -> None:
        self.start()
        self.restart()
        (self.directory / "riskd.db").write_bytes(b"x" * 5000)
        (self.directory / "last-known.db").write_bytes(b"x" * 5000)
        self.engine.startService()
        statuses = [event.data.status for event in self.told if event.type == "daemon_status"]
        self.assertEqual(statuses, ["ERROR", "RUNNING"])
        self.assertNotEqual(self.state().lockout, None)

    def test_the_locks_of_a_journal_that_opens_late_are_in_force(self) -> None:
        self.start()
        self.engine.announce(make_event("lockout_set", {"rule_id": "RULE-003"}))
        self.restart()
        disk = failing_disk(self)
        self.engine.startService()
        self.user("GatewayUserPosition", position(2))
        # Meanwhile the locks come from the published copy.
        self.assertEqual(set(self.state().lockouts), {"RULE-003"})
        self.assertIn("lockout_set", [event.type for event in self.told])
        self.assertFalse(self.engine.is_recovered)
        disk.restore()
        self.clock.pump([0.5] * 6)
        self.assertTrue(self.engine.is_recovered)
        self.assertEqual(set(self.state().lockouts), {"RULE-003"})
        # The account was reconciled again: the gateway lists no position.
        self.assertEqual(self.state().open_positions, ())
        lock = self.state().lockout
        assert lock is not None
        self.assertEqual(lock.rule_id, "RULE-003")


class PracticeTests(SynchronousTestCase):
    """All of the engine on the practice gateway and a clock."""

    def run_for(self, seconds: int, seed: int) -> list[Event]:
        clock = Clock()

        def now() -> datetime:
            return NOON + timedelta(seconds=clock.seconds())

        told: list[Event] = []
        settings = unguarded_settings()
        accounts = {account.id: account.watch for account in settings.accounts}
        gateway = PracticeGateway(clock, now, accounts, seed=seed)
        directory = temporary_directory(self)
        journal = JournalService(clock, Store(directory), SlowDisk(), now, "practice")
        engine = EngineService(clock, gateway, settings, journal, told.append, now)
        journal.startService()
        engine.startService()
        clock.pump([0.25] * (seconds * 4))
        self.successResultOf(engine.stopService())
        self.successResultOf(journal.stopService())
        return told

    @in_one_runner
    def test_within_a_minute_every_account_sees_everything(self) -> None:
        for seed in range(5):
            told = self.run_for(60, seed)
            for account in (123, 456):
                kinds = {event.type for event in told if event.account_id == account}
                self.assertEqual(
                    kinds,
                    {"GatewayUserTrade", "GatewayUserPosition", "GatewayUserOrder", "MarketQuote"},
                    seed,
                )

    def test_quotes_move_within_two_seconds(self) -> None:
        told = self.run_for(2, 1)
        for account in (123, 456):
            quotes = [
                event.data.last
                for event in told
                if event.account_id == account and isinstance(event.data, MarketQuote)
            ]
            self.assertGreater(len(set(quotes)), 3)

    @in_one_runner
    def test_the_same_seed_gives_the_same_events(self) -> None:
        self.assertEqual(self.run_for(60, 7), self.run_for(60, 7))
        self.assertNotEqual(self.run_for(60, 7), self.run_for(60, 8))
