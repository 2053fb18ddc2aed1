"""Each change of an account is applied, journaled and broadcast, once and in order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.engine import tracked_account
from riskd.engine.tracked_account import TrackedAccount, missing_positions
from riskd.gateway.interface import Found
from riskd.model.account import AccountState
from riskd.model.broker import BrokerOrder, on_wire
from riskd.model.events import (
    DailyReset,
    EnforcementAction,
    Event,
    LockoutCleared,
    LockoutSet,
    MarketQuote,
)
from riskd.model.unlocks import UNLOCKED, Unlock
from riskd.testing import make_event
from tests.support.rules import ACCOUNT, MNQ, NOON, at, order, position, quote, trade


class FakeJournal:
    """Writes and publishes when the test says so, and records the account at that moment."""

    def __init__(self) -> None:
        self.writes: list[Deferred[None]] = []
        self.copies: list[Deferred[None]] = []
        self.changes: list[bool] = []
        self.noted: list[Any] = []

    def changed(self, *, only_quotes: bool = False) -> None:
        self.changes.append(only_quotes)

    def note_event(self, event: Any) -> None:
        self.noted.append(event)

    def make_durable(self) -> Deferred[None]:
        self.writes.append(Deferred())
        return self.writes[-1]

    def published(self) -> Deferred[None]:
        self.copies.append(Deferred())
        return self.copies[-1]


class TrackedAccountTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.journal: Any = FakeJournal()
        self.told: list[Any] = []
        self.account = TrackedAccount(
            ACCOUNT,
            ["MNQ"],
            self.journal,
            self.hear,
            lambda: at(self.clock.seconds()),
            self.clock.seconds,
        )

    def hear(self, event: Event) -> None:
        self.assertEqual(event.account_id, ACCOUNT)
        # A client may read the state as soon as it receives the event.
        self.state_when_told = self.account.state
        self.told.append(event.data)

    def take(self, *events: Event) -> list[bool]:
        return [self.account.update(event.data) for event in events]

    @property
    def state(self) -> AccountState:
        return self.account.state


def lock(rule_id: str = "RULE-003", seconds: float = 60) -> LockoutSet:
    return LockoutSet(
        reason="Too much", locked_until=at(seconds), rule_id=rule_id, locked_at=at(0)
    )


def action() -> EnforcementAction:
    data = make_event("enforcement_action", {}).data
    assert isinstance(data, EnforcementAction)
    return msgspec.structs.replace(data, timestamp=at(0))


def reset(seconds: float, *, clears: bool = False) -> DailyReset:
    data = make_event("daily_reset", {}).data
    assert isinstance(data, DailyReset)
    return msgspec.structs.replace(data, reset_time=at(seconds), lockouts_cleared=clears)


def cleared() -> LockoutCleared:
    data = make_event("lockout_cleared", {"cleared_at": "2026-11-23T18:00:01Z"}).data
    assert isinstance(data, LockoutCleared)
    return data


class AnnouncementTests(TrackedAccountTestCase):
    """riskd's own announcements."""

    def test_what_only_riskd_knows_is_written_first(self) -> None:
        done = self.account.announce(lock())
        self.assertEqual((self.told, self.state.lockouts), ([], {}))
        self.assertEqual(set(self.account.state_with_pending.lockouts), {"RULE-003"})
        self.journal.writes[0].callback(None)
        self.assertEqual(self.told, [lock()])
        self.assertEqual(set(self.state_when_told.lockouts), {"RULE-003"})
        self.assertNoResult(done)
        self.journal.copies[0].callback(None)
        self.successResultOf(done)

    def test_one_announcement_is_one_write_and_keeps_its_order(self) -> None:
        news = (action(), lock("RULE-003"), lock("RULE-007", 120))
        self.account.announce(*news)
        self.assertEqual(len(self.journal.writes), 1)
        self.assertEqual(set(self.account.state_with_pending.lockouts), {"RULE-003", "RULE-007"})
        self.assertEqual(self.account.state_with_pending.enforcement, (action(),))
        self.journal.writes[0].callback(None)
        self.assertEqual(self.told, list(news))

    def test_announcements_are_broadcast_in_the_order_of_their_writes(self) -> None:
        self.account.announce(lock())
        self.account.announce(cleared())
        self.assertEqual(self.account.state_with_pending.lockouts, {})
        for write in self.journal.writes:
            write.callback(None)
        self.assertEqual(self.told, [lock(), cleared()])
        self.assertEqual(self.state.lockouts, {})

    def test_equal_events_are_broadcast_one_by_one(self) -> None:
        for data in (lock(), cleared(), lock()):
            self.account.announce(data)
        for locks in ({"RULE-003"}, set(), {"RULE-003"}):
            self.journal.writes.pop(0).callback(None)
            self.assertEqual(set(self.state.lockouts), locks)
            self.assertEqual(set(self.account.state_with_pending.lockouts), {"RULE-003"})
        self.assertEqual(self.told, [lock(), cleared(), lock()])

    def test_all_but_quotes_is_noted_for_the_outbox_with_the_write_of_its_effect(self) -> None:
        self.take(order(1), position(MNQ, 2), trade(3, "-10"))
        self.account.announce(action(), lock())
        self.assertEqual([event.data for event in self.journal.noted[:-2]], self.told)
        self.assertEqual([event.data for event in self.journal.noted[-2:]], [action(), lock()])
        self.journal.writes[0].callback(None)
        self.account.update_quote(quote(MNQ, "21000").data)
        self.assertEqual(len(self.told), 6)
        self.assertEqual([event.data for event in self.journal.noted], self.told[:-1])
        self.assertEqual({event.account_id for event in self.journal.noted}, {ACCOUNT})

    def test_events_of_the_gateway_do_not_wait_for_the_disk(self) -> None:
        self.account.announce(lock())
        self.take(position(MNQ, 1))
        self.assertEqual([one.size for one in self.told], [1])
        self.assertEqual(
            (
                set(self.account.state_with_pending.lockouts),
                len(self.account.state_with_pending.open_positions),
            ),
            ({"RULE-003"}, 1),
        )

    def test_what_the_broker_knows_too_waits_for_nothing(self) -> None:
        self.successResultOf(self.account.announce(position(MNQ, 1).data))
        self.assertEqual((len(self.told), self.journal.writes), (1, []))

    def test_a_write_that_fails_is_logged(self) -> None:
        done = self.account.announce(lock())
        self.journal.writes[0].errback(OSError("no disk"))
        self.successResultOf(done)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class LogTests(TrackedAccountTestCase):
    """The entries of the audit log."""

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.state.risk.log]

    def test_locks_and_days_are_in_the_audit_log_before_they_are_written(self) -> None:
        self.account.announce(action(), lock())
        self.account.announce(cleared())
        self.account.announce(reset(120))
        self.assertEqual(self.kinds(), ["lockout_set", "lockout_cleared", "daily_reset"])
        first, _, last = self.state.risk.log
        self.assertEqual((first.at, last.at), (at(0), at(120)))
        self.assertEqual(msgspec.json.decode(first.data)["rule_id"], "RULE-003")

    def test_the_oldest_of_very_many_entries_are_dropped(self) -> None:
        for number in range(300):
            self.account.log(at(number), "operator", f'{{"number":{number}}}')
        self.assertEqual(len(self.state.risk.log), 256)
        self.assertEqual(self.state.risk.log[-1].at, at(299))


class NewsTests(TrackedAccountTestCase):
    """Events of the gateway."""

    def test_an_event_is_applied_before_it_is_broadcast(self) -> None:
        self.assertEqual(self.take(position(MNQ, 1)), [True])
        self.assertEqual(len(self.state_when_told.open_positions), 1)

    def test_a_repeat_is_not_broadcast(self) -> None:
        self.assertEqual(self.take(position(MNQ, 1), position(MNQ, 1)), [True, False])
        self.assertEqual(self.take(position(MNQ, 1, seconds=5)), [False])
        self.assertEqual(len(self.told), 1)

    def test_the_time_on_the_wire_never_goes_back(self) -> None:
        self.clock.advance(5)
        self.take(position(MNQ, 1))
        self.clock.rightNow = 4
        self.assertEqual(self.take(position(MNQ, 3)), [True])
        self.assertEqual([one.updated_at for one in self.told], [at(5), at(5)])

    def test_a_trade_after_an_unlock_has_a_later_time_whatever_the_clock_says(self) -> None:
        self.clock.advance(5)
        self.take(trade(1, "-5"))
        limits = {UNLOCKED: Unlock(at=at(6)).limit}
        self.account.state = msgspec.structs.replace(self.state, limits=limits)
        self.take(trade(1, "-5"), trade(2, "-5"))
        self.clock.advance(5)
        self.take(trade(3, "-5"))
        times = [each.timestamp for each in self.state.trades.values()]
        self.assertEqual(times, [at(5), at(6.001), at(10)])

    def test_the_journal_is_notified_of_changes(self) -> None:
        self.take(position(MNQ, 1), position(MNQ, 1))
        self.assertEqual(self.journal.changes, [False])

    def test_a_quote_is_broadcast_and_journaled_if_it_is_news(self) -> None:
        told = quote(MNQ, "21000")
        assert isinstance(told.data, MarketQuote)
        for _ in range(2):
            self.account.update_quote(told.data)
        self.assertEqual((self.told, self.journal.changes), ([told.data], [True]))
        self.assertEqual(self.state.quotes, {MNQ: told.data})

    def test_a_late_end_of_a_vanished_position_is_no_news_whatever_its_price(self) -> None:
        self.take(position(MNQ, 2))
        (held,) = self.state.open_positions
        self.account.close_vanished(held, self.clock.seconds())
        self.clock.advance(1)
        told = len(self.told)
        late = msgspec.structs.replace(held, size=0, average_price=held.average_price + 1)
        self.assertFalse(self.account.update(late))
        self.assertEqual(len(self.told), told)

    def test_a_vanished_position_is_closed_even_by_a_clock_that_was_set_back(self) -> None:
        self.clock.advance(10)
        self.take(position(MNQ, 2))
        self.clock.rightNow = 3
        (missing,) = missing_positions(self.account.state, Found(()))
        flat = self.account.close_vanished(missing, 0)
        self.assertEqual(self.told[-1], on_wire(flat))
        self.assertEqual((flat.size, flat.updated_at), (0, at(10)))
        self.assertEqual(self.state.open_positions, ())
        self.assertEqual(missing_positions(self.account.state, Found(())), [])

    def test_a_vanished_order_is_not_working(self) -> None:
        working = order(7, seconds=10)
        self.take(working)
        assert isinstance(working.data, BrokerOrder)
        self.account.end_vanished(working.data, 0)
        self.assertEqual(self.state.working_orders, ())
        self.assertEqual(len(self.told), 2)

    def test_quotes_are_wanted_of_contracts_watched_or_worked(self) -> None:
        es = "CON.F.US.EP.U25"
        self.assertTrue(self.account.wants_quotes(MNQ))
        self.assertFalse(self.account.wants_quotes(es))
        self.take(order(7, es))
        self.assertTrue(self.account.wants_quotes(es))


class PastTradeTests(TrackedAccountTestCase):
    """Late copies of trades that do not count any more."""

    def test_a_trade_of_a_day_that_ended_is_no_news(self) -> None:
        self.take(trade(1, "-5", seconds=1))
        self.account.announce(reset(60))
        self.journal.writes[0].callback(None)
        self.assertEqual(self.state.trades, {})
        self.assertEqual(self.take(trade(1, "-5", seconds=1)), [False])
        self.assertEqual(self.take(trade(2, "-5", seconds=61)), [True])

    def test_a_trade_of_a_day_that_goes_on_counts_again(self) -> None:
        """The clock was ahead for a moment, so the wrong day had ended."""
        self.take(trade(1, "-5", seconds=1), trade(2, "-5", seconds=2))
        self.account.void_trade(2)
        self.account.announce(reset(60))
        self.journal.writes[0].callback(None)
        self.account.count_since(at(0))
        again = self.take(trade(1, "-5", seconds=1), trade(2, "-5", seconds=2))
        self.assertEqual((again, self.state.trade_count), ([True, False], 1))

    def test_a_voided_trade_is_no_news_whether_it_had_counted_or_not(self) -> None:
        self.take(trade(1, "-5"))
        self.assertTrue(self.account.void_trade(1))
        self.assertFalse(self.account.void_trade(1))
        self.assertFalse(self.account.void_trade(2))
        self.assertEqual(self.take(trade(1, "-5"), trade(2, "-5")), [False, False])
        self.assertEqual((self.state.trade_count, len(self.told)), (0, 1))

    def test_the_oldest_of_very_many_are_forgotten(self) -> None:
        self.patch(tracked_account, "_MAX_REMEMBERED", 2)
        trades = [trade(number, "-5", seconds=number) for number in range(3)]
        self.take(*trades)
        self.account.announce(reset(60))
        self.journal.writes[0].callback(None)
        self.assertEqual(self.take(*trades), [True, False, False])


class DetailTests(TrackedAccountTestCase):
    """What the wire does not carry of an order."""

    def detailed(self, filled: int) -> Event:
        return Event(ACCOUNT, msgspec.structs.replace(order(7).data, filled=filled))

    def test_details_are_kept_while_the_order_is_working(self) -> None:
        self.take(self.detailed(1))
        self.assertEqual(self.state.orders[7].filled, 1)

    def test_the_same_details_are_no_news(self) -> None:
        self.assertEqual(
            self.take(self.detailed(1), self.detailed(1), self.detailed(2)), [True, False, True]
        )

    def test_details_are_not_broadcast(self) -> None:
        self.take(order(7), self.detailed(1))
        self.assertEqual(len(self.told), 1)


class RecoveryTests(TrackedAccountTestCase):
    """Taking over what the journal knows."""

    def test_recovered_locks_are_broadcast_unless_they_are_known(self) -> None:
        self.account.announce(lock("RULE-007"))
        self.journal.writes[0].callback(None)
        self.told.clear()
        known = AccountState(
            account_id=ACCOUNT,
            lockouts={"RULE-003": lock(), "RULE-007": lock("RULE-007", 120)},
        )
        self.account.recover(known)
        self.assertEqual(self.told, [lock()])
        self.assertEqual(self.state.lockouts["RULE-007"], lock("RULE-007", 120))

    def test_what_was_cleared_meanwhile_stays_cleared(self) -> None:
        self.account.announce(msgspec.structs.replace(cleared(), cleared_at=at(30)))
        self.journal.writes[0].callback(None)
        later = msgspec.structs.replace(lock("RULE-007"), locked_at=at(31))
        locks = {"RULE-003": lock(), "RULE-007": later}
        self.account.recover(AccountState(account_id=ACCOUNT, lockouts=locks))
        self.assertEqual(set(self.state.lockouts), {"RULE-007"})

    def test_what_the_gateway_reported_since_stays(self) -> None:
        self.take(position(MNQ, 3))
        told: Any = quote(MNQ, "21000").data
        self.account.update_quote(told)
        known = AccountState(account_id=ACCOUNT, lockouts={"RULE-003": lock()})
        self.account.recover(known)
        self.assertEqual(self.state.open_positions[0].size, 3)
        self.assertIsInstance(self.state.quotes[MNQ], MarketQuote)

    def test_the_day_goes_on(self) -> None:
        known = AccountState(account_id=ACCOUNT, day_began=NOON - timedelta(hours=1))
        self.account.recover(known)
        self.take(trade(1, "-5"))
        self.assertEqual(self.state.trade_count, 1)
