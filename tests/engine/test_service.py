"""From the gateway to the broadcast: what is applied, what is told, and in which order."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from riskd.config.settings import PRACTICE_ACCOUNTS, AccountSettings, Settings
from riskd.engine.service import EngineService
from riskd.gateway.fields import MappingError
from riskd.gateway.interface import GatewayRefusedError, IGateway, IGatewayListener, Payload
from riskd.journal.reader import read_published
from riskd.journal.service import JournalService
from riskd.journal.store import Store
from riskd.model.account import AccountState, BestBidAsk
from riskd.model.events import DaemonStatus, Event, EventData, MarketQuote
from riskd.practice.gateway import PracticeGateway
from riskd.testing import make_event
from tests.support.memory_transport import SlowDisk

NOON = datetime(2025, 1, 17, 12, 0, tzinfo=UTC)
MNQ, ES, MCL = "CON.F.US.MNQ.H25", "CON.F.US.EP.H25", "CON.F.US.MCLE.G25"


@implementer(IGateway)
class ScriptedGateway:
    """Tells what the test says, and answers with what the test gave it."""

    name = "practice"
    answer_seconds = 2.0

    def __init__(self) -> None:
        self.quotes_followed: list[str] = []
        self.accounts_followed: list[int] = []
        self.room = 100
        self.positions: dict[int, list[Payload]] = {}
        self.orders: dict[int, list[Payload]] = {}
        self.trades: dict[int, list[Payload]] = {}
        self.ended: dict[int, Payload] = {}
        self.trades_since: dict[int, datetime] = {}
        self.contracts: dict[str, Payload] = {}
        self.contracts_asked: list[str] = []
        self.started: Deferred[None] = succeed(None)
        self.is_stopped = False

    def start(self, listener: IGatewayListener) -> Deferred[None]:
        self.listener = listener
        return self.started

    def stop(self) -> Deferred[None]:
        self.is_stopped = True
        return succeed(None)

    def has_room(self, requests: int) -> bool:
        return requests <= self.room

    def follow_account(self, account_id: int) -> None:
        self.accounts_followed.append(account_id)

    def follow_quotes(self, contract_id: str) -> None:
        self.quotes_followed.append(contract_id)

    def search_open_positions(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        return succeed(self.positions.get(account_id, []))

    def search_open_orders(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        return succeed(self.orders.get(account_id, []))

    def search_orders(
        self, account_id: int, since: datetime, *, urgent: bool = False
    ) -> Deferred[list[Payload]]:
        raise NotImplementedError

    def search_order(
        self, account_id: int, order_id: int, *, urgent: bool = False
    ) -> Deferred[Payload]:
        if order_id not in self.ended:
            return fail(GatewayRefusedError("Order/searchById", 1, "not found"))
        return succeed(self.ended[order_id])

    def search_trades(self, account_id: int, since: datetime) -> Deferred[list[Payload]]:
        self.trades_since[account_id] = since
        return succeed(self.trades.get(account_id, []))

    def search_contract(self, contract_id: str) -> Deferred[Payload]:
        self.contracts_asked.append(contract_id)
        if contract_id not in self.contracts:
            return fail(GatewayRefusedError("Contract/searchById", 1, "not found"))
        return succeed(self.contracts[contract_id])

    def search_account(self, account_id: int) -> Deferred[Payload]:
        return succeed({"id": account_id, "canTrade": True})

    def place_order(self, account_id: int, order: Payload) -> Deferred[int]:
        raise NotImplementedError

    def cancel_order(self, account_id: int, order_id: int) -> Deferred[None]:
        raise NotImplementedError

    def close_contract(self, account_id: int, contract_id: str) -> Deferred[None]:
        raise NotImplementedError

    def modify_order(self, account_id: int, order_id: int, changes: Payload) -> Deferred[None]:
        raise NotImplementedError

    def partial_close_contract(
        self, account_id: int, contract_id: str, size: int
    ) -> Deferred[None]:
        raise NotImplementedError


def position(size: int, contract_id: str = MNQ, account_id: int = 123, **more: Any) -> Payload:
    return {
        "id": 1,
        "accountId": account_id,
        "contractId": contract_id,
        "creationTimestamp": NOON.isoformat(),
        "type": 1 if size else 0,
        "size": size,
        "averagePrice": Decimal(21000),
        **more,
    }


def order(status: int, identifier: int = 7, contract_id: str = MNQ, **more: Any) -> Payload:
    return {
        "id": identifier,
        "accountId": 123,
        "contractId": contract_id,
        "creationTimestamp": NOON.isoformat(),
        "updateTimestamp": NOON.isoformat(),
        "status": status,
        "type": 4,
        "side": 1,
        "size": 2,
        "stopPrice": Decimal(20990),
        **more,
    }


def trade(identifier: int, pnl: str | None, **more: Any) -> Payload:
    return {
        "id": identifier,
        "accountId": 123,
        "contractId": MNQ,
        "creationTimestamp": NOON.isoformat(),
        "profitAndLoss": None if pnl is None else Decimal(pnl),
        "size": 2,
        **more,
    }


def quote(last: int) -> Payload:
    return {"bestBid": last, "bestAsk": last + 1, "lastPrice": last}


class PipelineTestCase(SynchronousTestCase):
    """Accounts 123 (watches MNQ) and 456 (watches nothing) on a scripted gateway."""

    def setUp(self) -> None:
        self.time = NOON
        self.clock = Clock()
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.disk = SlowDisk()
        self.make()

    def make(self) -> None:
        """Make a daemon without a network, as at every start."""
        self.gateway = ScriptedGateway()
        self.told: list[Event] = []
        store = Store(self.directory)
        self.addCleanup(store.close)
        self.journal = JournalService(self.clock, store, self.disk, lambda: self.time, "practice")
        self.engine = EngineService(
            self.clock,
            self.gateway,
            Settings(accounts=(AccountSettings(id=123, watch=("MNQ",)), AccountSettings(id=456))),
            self.journal,
            self.told.append,
            lambda: self.time,
        )
        self.journal.startService()

    def start(self) -> None:
        self.engine.startService()
        self.told.clear()

    def stop(self) -> None:
        self.successResultOf(self.engine.stopService())
        self.successResultOf(self.journal.stopService())

    def user(self, target: str, payload: Payload) -> None:
        self.time += timedelta(milliseconds=1)
        self.engine.user_event(target, payload)

    def take(self) -> list[EventData]:
        data = [event.data for event in self.told]
        self.told.clear()
        return data


class NewsTests(PipelineTestCase):
    """Only news is told."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def test_it_is_a_listener(self) -> None:
        self.assertTrue(verifyObject(IGatewayListener, self.engine))
        self.assertTrue(verifyObject(IGateway, self.gateway))

    def test_a_position_is_told_once_and_its_end_once(self) -> None:
        for size in (2, 2, 0, 0, 0):
            self.user("GatewayUserPosition", position(size))
        self.assertEqual([data.size for data in self.take()], [2, 0])

    def test_a_trade_is_told_once_an_id_and_half_turns_never(self) -> None:
        for identifier, pnl in ((1, None), (2, "-45.50"), (2, "-45.50"), (3, "0.00")):
            self.user("GatewayUserTrade", trade(identifier, pnl))
        self.assertEqual([data.id for data in self.take()], [2, 3])

    def test_a_voided_trade_is_not_told(self) -> None:
        self.user("GatewayUserTrade", trade(1, "5.00", voided=True))
        self.assertEqual(self.take(), [])

    def test_a_repeat_outdates_what_is_older_than_it(self) -> None:
        for stop, seconds in ((20990, 1), (20990, 5), (20000, 3)):
            updated = (NOON + timedelta(seconds=seconds)).isoformat()
            self.user(
                "GatewayUserOrder", order(1, stopPrice=Decimal(stop), updateTimestamp=updated)
            )
        self.assertEqual([data.stop_price for data in self.take()], [20990])

    def test_an_order_is_told_when_it_changes(self) -> None:
        for status in (6, 1, 1, 8, 2, 2, 1):
            self.user("GatewayUserOrder", order(status))
        self.assertEqual([data.state for data in self.take()], [1, 2])

    def test_a_closed_position_keeps_its_side(self) -> None:
        self.user("GatewayUserPosition", position(2, type=2))
        self.user("GatewayUserPosition", position(0))
        self.assertEqual([data.type for data in self.take()], [2, 2])

    def test_accounts_that_are_not_followed_are_passed_over(self) -> None:
        self.user("GatewayUserPosition", position(2, account_id=999))
        self.user("GatewayUserAccount", {"id": 123, "balance": Decimal(50000)})
        self.assertEqual(self.take(), [])

    def test_events_carry_their_account(self) -> None:
        self.user("GatewayUserPosition", position(1, account_id=456))
        self.user("GatewayUserPosition", position(1, account_id=123))
        self.assertEqual([event.account_id for event in self.told], [456, 123])

    def test_what_cannot_be_read_is_logged_and_the_rest_goes_on(self) -> None:
        with capturedLogs() as captured:
            self.user("GatewayUserPosition", position(2, averagePrice="high"))
            self.engine.market_event("GatewayQuote", MNQ, {"bestBid": "x"})
            self.user("GatewayUserPosition", position(2))
        errors = [each for each in captured if isinstance(each.get("error"), MappingError)]
        self.assertEqual(
            [str(each["error"]).split(":")[0] for each in errors],
            ["GatewayUserPosition.averagePrice", "GatewayQuote.bestBid"],
        )
        self.assertEqual([data.size for data in self.take()], [2])

    def test_a_mistake_of_ours_is_logged_and_the_rest_goes_on(self) -> None:
        self.user("GatewayUserPosition", position(2, contract_id=["unhashable"]))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.user("GatewayUserPosition", position(2))
        self.assertEqual([data.size for data in self.take()], [2])


class QuoteTests(PipelineTestCase):
    """Quotes go to every account they concern, and to no other."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def accounts_told(self, contract_id: str, last: int) -> list[int | None]:
        self.time += timedelta(milliseconds=1)
        self.told.clear()
        self.engine.market_event("GatewayQuote", contract_id, quote(last))
        return [event.account_id for event in self.told if isinstance(event.data, MarketQuote)]

    def test_watched_contracts_are_quoted(self) -> None:
        self.assertEqual(self.accounts_told(MNQ, 1), [123])
        self.assertEqual(self.accounts_told(ES, 1), [])

    def test_held_contracts_are_quoted_as_long_as_they_are_held(self) -> None:
        self.user("GatewayUserPosition", position(1, ES, account_id=456))
        self.assertEqual(self.accounts_told(ES, 1), [456])
        self.user("GatewayUserPosition", position(0, ES, account_id=456))
        self.assertEqual(self.accounts_told(ES, 2), [])

    def test_contracts_with_a_working_order_are_quoted(self) -> None:
        self.user("GatewayUserOrder", order(1, contract_id=MCL))
        self.assertEqual(self.accounts_told(MCL, 1), [123])
        self.user("GatewayUserOrder", order(3, contract_id=MCL))
        self.assertEqual(self.accounts_told(MCL, 2), [])

    def test_one_quote_is_told_once_for_every_account(self) -> None:
        self.user("GatewayUserPosition", position(1, MNQ, account_id=456))
        self.assertEqual(self.accounts_told(MNQ, 1), [123, 456])

    def test_a_mistake_with_one_account_takes_the_quote_from_no_other(self) -> None:
        self.user("GatewayUserPosition", position(1, MNQ, account_id=456))
        self.patch(self.engine.accounts[123].risk_engine, "receive", lambda _quote: 1 / 0)
        self.assertEqual(self.accounts_told(MNQ, 1), [123, 456])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nor_does_it_take_bid_and_ask(self) -> None:
        for account_id in (123, 456):
            self.user("GatewayUserPosition", position(1, MNQ, account_id=account_id))
        self.patch(self.engine.accounts[123].risk_engine, "receive_best_bid_ask", lambda: 1 / 0)
        self.engine.market_event("GatewayQuote", MNQ, {"bestBid": 1, "bestAsk": 2})
        best_bid_asks = self.engine.accounts[456].account.state.risk.best_bid_asks
        self.assertEqual(best_bid_asks[MNQ], BestBidAsk(Decimal(1), Decimal(2)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_other_market_events_are_passed_over(self) -> None:
        self.engine.market_event("GatewayDepth", MNQ, {})
        self.assertEqual(self.take(), [])


class StatusTests(PipelineTestCase):
    """Start and stop."""

    def statuses(self) -> list[tuple[str, str]]:
        return [
            (data.status, data.message) for data in self.take() if isinstance(data, DaemonStatus)
        ]

    def test_running_is_said_when_the_gateway_is_in_step(self) -> None:
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

    def test_stopping_is_said_and_the_gateway_left(self) -> None:
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


class DurableTests(PipelineTestCase):
    """What riskd alone knows is on the disk before it is told."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.clock.advance(1)
        self.disk.is_slow = True

    def test_it_is_told_when_it_is_written_and_the_stream_goes_on_meanwhile(self) -> None:
        for event_type in ("enforcement_action", "lockout_set", "lockout_cleared", "daily_reset"):
            self.engine.announce(make_event(event_type, {}))
        self.user("GatewayUserPosition", position(2))
        self.engine.market_event("GatewayQuote", MNQ, quote(1))
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

    def test_what_waits_to_be_told_is_not_written_away(self) -> None:
        # A locked account may hold nothing, but that is another story.
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


class RecoveryTests(PipelineTestCase):
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
        # Whoever was let in before the journal was open is told of the lock.
        self.assertEqual([event.type for event in self.told], ["lockout_set", "daemon_status"])

    def test_a_word_on_the_daemon_before_the_journal_is_open_wipes_nothing_out(self) -> None:
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

    def test_what_the_gateway_says_replaces_what_differs(self) -> None:
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

    def test_trades_are_asked_for_since_the_day_began(self) -> None:
        self.start()
        # 17:00 in Chicago, the evening before.
        began = datetime(2025, 1, 16, 23, tzinfo=UTC)
        self.assertEqual(self.gateway.trades_since[123], began)
        reset = make_event("daily_reset", {"reset_time": "2025-01-17T11:00:00Z"})
        self.engine.announce(reset)
        self.restart()
        self.start()
        self.assertEqual(self.gateway.trades_since[123], NOON - timedelta(hours=1))

    def test_a_damaged_journal_is_an_error_and_then_running(self) -> None:
        self.start()
        self.restart()
        (self.directory / "riskd.db").write_bytes(b"x" * 5000)
        (self.directory / "last-known.db").write_bytes(b"x" * 5000)
        self.engine.startService()
        statuses = [event.data.status for event in self.told if event.type == "daemon_status"]
        self.assertEqual(statuses, ["ERROR", "RUNNING"])
        self.assertNotEqual(self.state().lockout, None)

    def test_a_journal_that_opens_late_still_locks(self) -> None:
        self.start()
        self.engine.announce(make_event("lockout_set", {"rule_id": "RULE-003"}))
        self.restart()
        (self.directory / "riskd.db").rename(self.directory / "kept")
        (self.directory / "riskd.db").mkdir()
        self.engine.startService()
        self.user("GatewayUserPosition", position(2))
        # Meanwhile its copy says what it says.
        self.assertEqual(set(self.state().lockouts), {"RULE-003"})
        self.assertIn("lockout_set", [event.type for event in self.told])
        self.assertFalse(self.engine.is_recovered)
        (self.directory / "riskd.db").rmdir()
        (self.directory / "kept").rename(self.directory / "riskd.db")
        self.clock.pump([0.5] * 6)
        self.assertTrue(self.engine.is_recovered)
        self.assertEqual(set(self.state().lockouts), {"RULE-003"})
        # The gateway was asked again: it knows of no position.
        self.assertEqual(self.state().open_positions, ())
        lock = self.state().lockout
        assert lock is not None
        self.assertEqual(lock.rule_id, "RULE-003")


class ContractTests(PipelineTestCase):
    """The gateway is asked once for each contract that matters."""

    def setUp(self) -> None:
        super().setUp()
        self.gateway.contracts["CON.F.US.XYZ.H25"] = {
            "id": "CON.F.US.XYZ.H25",
            "name": "MNQH5",
            "tickSize": Decimal("0.5"),
            "tickValue": Decimal(1),
        }
        self.start()

    def test_a_contract_is_asked_for_once(self) -> None:
        for size in (1, 2):
            self.user("GatewayUserPosition", position(size, "CON.F.US.XYZ.H25"))
        self.assertEqual(self.gateway.contracts_asked, ["CON.F.US.XYZ.H25"])

    def test_one_that_is_not_told_of_is_asked_for_again_and_not_with_each_quote(self) -> None:
        unknown = "CON.F.US.NONE.H25"
        self.user("GatewayUserPosition", position(1, unknown))
        for last in range(4 * 29):
            self.engine.market_event("GatewayQuote", unknown, quote(last))
            self.clock.advance(0.25)
        self.assertEqual(self.gateway.contracts_asked, [unknown])
        self.gateway.contracts[unknown] = {
            **self.gateway.contracts["CON.F.US.XYZ.H25"],
            "id": unknown,
        }
        self.clock.advance(2)
        self.engine.market_event("GatewayQuote", unknown, quote(1))
        self.assertIn(unknown, self.engine.accounts[123].account.state.contracts)

    def test_so_is_one_that_a_mistake_kept_from_being_told_of(self) -> None:
        wanted = "CON.F.US.XYZ.H25"
        mistaken = self.patch(self.gateway, "search_contract", lambda _contract_id: 1 / 0)
        self.user("GatewayUserPosition", position(1, wanted))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        mistaken.restore()
        self.engine.market_event("GatewayQuote", wanted, quote(1))
        self.assertEqual(self.gateway.contracts_asked, [])
        self.clock.advance(30)
        self.engine.market_event("GatewayQuote", wanted, quote(2))
        self.assertEqual(self.gateway.contracts_asked, [wanted])
        self.assertIn(wanted, self.engine.accounts[123].account.state.contracts)

    def test_what_the_gateway_says_of_a_contract_makes_it_watched(self) -> None:
        self.user("GatewayUserPosition", position(1, "CON.F.US.XYZ.H25"))
        self.user("GatewayUserPosition", position(0, "CON.F.US.XYZ.H25"))
        self.told.clear()
        self.engine.market_event("GatewayQuote", "CON.F.US.XYZ.H25", quote(5))
        self.assertEqual([event.type for event in self.told], ["MarketQuote"])

    def test_an_unknown_contract_is_an_error_in_the_log_and_nothing_stops(self) -> None:
        with capturedLogs() as captured:
            self.user("GatewayUserPosition", position(1, "CON.F.US.NONE.H25"))
        self.assertIn(LogLevel.error, [each["log_level"] for each in captured])
        self.assertEqual(len(self.take()), 1)


class PracticeTests(SynchronousTestCase):
    """The whole picture, on the practice gateway and a clock."""

    def run_for(self, seconds: int, seed: int) -> list[Event]:
        clock = Clock()

        def now() -> datetime:
            return NOON + timedelta(seconds=clock.seconds())

        told: list[Event] = []
        accounts = {account.id: account.watch for account in PRACTICE_ACCOUNTS}
        gateway = PracticeGateway(clock, now, accounts, seed=seed)
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        journal = JournalService(clock, Store(directory), SlowDisk(), now, "practice")
        settings = Settings(accounts=PRACTICE_ACCOUNTS)
        engine = EngineService(clock, gateway, settings, journal, told.append, now)
        journal.startService()
        engine.startService()
        clock.pump([0.25] * (seconds * 4))
        self.successResultOf(engine.stopService())
        self.successResultOf(journal.stopService())
        return told

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

    def test_the_same_seed_tells_the_same(self) -> None:
        self.assertEqual(self.run_for(60, 7), self.run_for(60, 7))
        self.assertNotEqual(self.run_for(60, 7), self.run_for(60, 8))
