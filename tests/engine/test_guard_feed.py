"""Rules at work while the broker's events are lost, and after; and on a broker that answers only so much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import LogLevel

from riskd.config.faults import NO_FAULTS, Faults
from riskd.engine.reconciliation_loop import FULL_ROUND, ROUND_SECONDS
from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.journal.store import Store
from riskd.model.account import AccountState
from riskd.model.events import Action, DaemonStatus, LockoutSet, MarketQuote, Status
from riskd.rules.interface import OWN_STOP_TAG
from tests.engine.test_guard import MAX_CONTRACTS, GuardTestCase
from tests.support.broker import logged, observed
from tests.support.practice_daemon import ACCOUNT, BUY, ES, MNQ, SELL

WHY = "The broker's events are missing since 18:00:00: the connection was lost"

GONE = 999

A_LOOK = ROUND_SECONDS + 1
"""Long enough for a patrol to look, and for what follows."""


class FeedTestCase(GuardTestCase):
    def lose_feed(self) -> None:
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.engine.feed_lost(WHY)

    def restore_feed(self) -> None:
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.engine.feed_restored()

    def statuses(self) -> list[tuple[Status, str]]:
        return [(told.status, told.message) for told in self.daemon.news(DaemonStatus)]


class LostFeedTests(FeedTestCase):
    config = MAX_CONTRACTS

    def test_it_is_told_and_that_it_is_over(self) -> None:
        self.lose_feed()
        self.assertEqual(self.statuses()[-1], (Status.ERROR, WHY))
        self.daemon.advance(60)
        self.assertEqual(self.statuses()[-1], (Status.ERROR, WHY))
        self.restore_feed()
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_what_nobody_was_told_of_is_found_and_enforced(self) -> None:
        self.lose_feed()
        self.daemon.trade(BUY, 3)
        self.assertEqual(self.daemon.held, {MNQ: 3})
        self.daemon.advance(A_LOOK)
        self.assertEqual(self.daemon.held, {})
        (action,) = self.daemon.actions
        self.assertEqual((action.rule_id, action.success), ("RULE-001", True))
        self.assertEqual(self.daemon.state.open_positions, ())

    def test_what_happened_meanwhile_is_known_when_running_is_told(self) -> None:
        self.lose_feed()
        self.daemon.trade(BUY, 1)
        self.daemon.trade(BUY, 1, limitPrice="20900")
        self.daemon.told.clear()
        self.restore_feed()
        (held,) = self.daemon.state.open_positions
        self.assertEqual((held.size, len(self.daemon.state.working_orders)), (1, 1))
        self.assertEqual([told[0] for told in self.statuses()], [Status.RUNNING])
        self.assertIsInstance(self.daemon.news()[-1], DaemonStatus)

    def test_what_vanished_meanwhile_is_gone(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.advance(2)
        self.lose_feed()
        self.daemon.trade(SELL, 2)
        self.restore_feed()
        self.assertEqual(self.daemon.state.open_positions, ())
        self.assertEqual(self.daemon.state.trade_count, 1)

    def test_rules_run_no_sooner_than_the_account_is_in_step(self) -> None:
        self.lose_feed()
        self.daemon.trade(BUY, 3)
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.engine.feed_restored()
        self.daemon.move(MNQ, "21001")
        self.daemon.advance(5)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({MNQ: 3}, []))
        self.assertEqual(self.statuses()[-1][0], Status.ERROR)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(15)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({}, 1))
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_a_feed_that_is_lost_again_at_once_keeps_the_rules_waiting(self) -> None:
        self.lose_feed()
        answer = self.hold_back("search_account")
        self.daemon.engine.feed_restored()
        self.daemon.engine.feed_lost(WHY)
        answer()
        self.daemon.advance(1)
        self.assertEqual(self.statuses()[-1], (Status.ERROR, WHY))
        self.restore_feed()
        self.daemon.advance(1)
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)
        self.daemon.trade(BUY, 3)
        self.assertEqual(self.daemon.held, {})

    def test_a_feed_that_is_restored_twice_is_caught_up_with_once(self) -> None:
        self.lose_feed()
        answer = self.hold_back("search_account")
        self.daemon.engine.feed_restored()
        self.restore_feed()
        self.assertEqual(self.statuses()[-1], (Status.ERROR, WHY))
        answer()
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def restart_without_feed(self) -> Deferred[None]:
        """Restart on a broker that answers, and tells nothing before the Deferred fires."""
        self.daemon.stop()
        started: Deferred[None] = Deferred()
        real = self.daemon.gateway.start

        def start(listener: Any) -> Deferred[None]:
            real(listener)
            listener.feed_lost(WHY)
            return started

        self.patch(self.daemon.gateway, "start", start)
        self.daemon.told.clear()
        self.daemon.restart()
        return started

    def test_an_account_is_guarded_before_there_was_a_feed(self) -> None:
        started = self.restart_without_feed()
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 3)
        self.daemon.advance(A_LOOK)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({}, 1))
        self.restore_feed()
        started.callback(None)
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)
        self.daemon.trade(BUY, 3)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({}, 2))

    def test_a_feed_that_is_lost_before_there_was_one_holds_nothing_up(self) -> None:
        started = self.restart_without_feed()
        self.assertEqual(self.statuses(), [(Status.ERROR, WHY)])
        self.daemon.engine.feed_restored()
        started.callback(None)
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)
        self.daemon.trade(BUY, 3)
        self.assertEqual(self.daemon.held, {})

    def test_a_feed_that_is_lost_before_the_first_answer_is_not_running(self) -> None:
        self.daemon.stop()
        answer = self.hold_back("search_account")
        self.daemon.told.clear()
        self.daemon.restart()
        self.daemon.engine.feed_lost(WHY)
        self.assertEqual(self.statuses(), [(Status.ERROR, WHY)])
        answer()
        self.restore_feed()
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_a_stop_before_the_first_answer_is_no_start(self) -> None:
        self.daemon.stop()
        self.hold_back("search_account")
        self.daemon.restart()
        self.daemon.stop()
        self.assertNoResult(self.daemon.engine.started)

    def test_a_mistake_in_a_look_leaves_the_rules_waiting(self) -> None:
        self.lose_feed()
        risk_engine = self.daemon.engine.accounts[ACCOUNT].risk_engine
        mistake = self.patch(risk_engine, "_check_again", lambda: 1 / 0)
        self.daemon.advance(A_LOOK)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        mistake.restore()
        self.assertFalse(risk_engine.is_active)

    def hold_back(self, method: str) -> Callable[[], None]:
        """Let a request wait; return what lets it be answered."""
        real = getattr(self.daemon.gateway, method)
        held: list[tuple[Deferred[Any], tuple[Any, ...]]] = []

        def wait(*arguments: Any) -> Deferred[Any]:
            held.append((Deferred(), arguments))
            return held[-1][0]

        patch = self.patch(self.daemon.gateway, method, wait)

        def answer() -> None:
            patch.restore()
            for waiting, arguments in held:
                real(*arguments).chainDeferred(waiting)

        return answer


class LostTradesTests(FeedTestCase):
    """A trade is judged once, when it becomes known."""

    config = """
    [rules.trade_frequency_limit]
    max_trades = 2
    time_window_minutes = 60
    cooldown_seconds = 600
    """

    def test_trades_that_nobody_was_told_of_are_judged_when_they_are_found(self) -> None:
        self.lose_feed()
        for _ in range(3):
            self.lose(1)
        self.assertEqual(self.daemon.locks, [])
        self.daemon.advance(A_LOOK)
        (lock,) = self.daemon.locks
        self.assertEqual(lock.rule_id, "RULE-006")

    def test_or_when_the_feed_is_back(self) -> None:
        self.lose_feed()
        for _ in range(3):
            self.lose(1)
        self.restore_feed()
        self.daemon.advance(0.25)
        self.assertEqual([lock.rule_id for lock in self.daemon.locks], ["RULE-006"])

    def test_they_are_judged_once(self) -> None:
        self.lose_feed()
        for _ in range(3):
            self.lose(1)
        self.daemon.advance(A_LOOK)
        self.daemon.engine.accounts[ACCOUNT].unlock("enough", "trader")
        self.restore_feed()
        self.daemon.advance(A_LOOK)
        self.assertEqual((len(self.daemon.locks), len(self.daemon.cleared)), (1, 1))


class LostTimeTests(FeedTestCase):
    """Deadlines and locks end while events are lost, too."""

    config = """
    [rules.no_stop_loss_grace]
    grace_period_seconds = 30
    [rules.cooldown_after_loss]
    loss_threshold = 100
    cooldown_seconds = 60
    """

    def test_a_position_without_a_stop_is_closed(self) -> None:
        self.lose_feed()
        self.daemon.trade(BUY, 1)
        self.daemon.advance(29)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.daemon.advance(1 + A_LOOK)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual([action.rule_id for action in self.daemon.actions], ["RULE-008"])

    def test_a_cooldown_ends(self) -> None:
        self.lose(60)
        self.assertEqual(len(self.daemon.locks), 1)
        self.lose_feed()
        self.daemon.advance(60 + A_LOOK)
        self.assertEqual(len(self.daemon.cleared), 1)

    def test_a_locked_account_is_flattened(self) -> None:
        self.lose(60)
        self.lose_feed()
        self.daemon.trade(BUY, 1)
        self.daemon.advance(A_LOOK)
        self.assertEqual(self.daemon.held, {})


class UnfinishedTests(FeedTestCase):
    config = MAX_CONTRACTS

    def test_a_flatten_of_before_goes_on_without_a_feed(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        order = {"contractId": MNQ, "type": 2, "side": 0, "size": 1}
        self.daemon.gateway.exchange.place_order(ACCOUNT, order, self.daemon.now())
        self.daemon.move(MNQ, "21000")
        self.daemon.advance(1)
        self.lose_feed()
        self.daemon.advance(A_LOOK)
        self.assertEqual(self.daemon.held, {})


class UnknownAccountTests(FeedTestCase):
    """A locked account that neither the settings name any more nor the broker knows is no trouble."""

    config = MAX_CONTRACTS

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Deferred[Any]] = []
        self.is_answered = True
        real = self.daemon.gateway.search_account

        def search(account_id: int) -> Deferred[Any]:
            if account_id != GONE:
                return real(account_id)
            self.asked.append(Deferred())
            if self.is_answered:
                self.answer(self.asked[-1])
            return self.asked[-1]

        self.patch(self.daemon.gateway, "search_account", search)
        self.lock_and_restart()

    def lock_and_restart(self) -> None:
        """Start on a journal that has a lock of such an account."""
        daemon = self.daemon
        daemon.stop()
        lock = LockoutSet(
            rule_id="RULE-003", reason="enough", locked_at=daemon.now(), locked_until=None
        )
        store = Store(daemon.directory)
        known = store.open([ACCOUNT], daemon.now()).accounts
        known = {**known, GONE: AccountState(account_id=GONE, lockouts={"RULE-003": lock})}
        store.write([*known.values()], "practice", daemon.now())
        store.publish()
        store.close()
        daemon.restart()
        daemon.advance(1)
        self.assertIn(GONE, daemon.engine.accounts)

    def answer(self, waiting: Deferred[Any]) -> None:
        waiting.errback(GatewayRefusedError("Account/search", 1, "no such account"))

    def test_it_is_not_looked_at_while_events_are_lost(self) -> None:
        self.asked.clear()
        self.lose_feed()
        self.daemon.advance(3 * A_LOOK)
        self.assertEqual((self.asked, self.statuses()[-1]), ([], (Status.ERROR, WHY)))
        self.restore_feed()
        self.assertEqual((len(self.asked), self.statuses()[-1][0]), (1, Status.RUNNING))

    def test_trouble_of_before_it_was_given_up_ends(self) -> None:
        engine = self.daemon.engine
        self.lose_feed()
        for source in ("begin", "reconciliation", "permission", "reading"):
            engine.report_problem(f"{source} {GONE}", "The broker does not answer")
        self.restore_feed()
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_a_look_that_ends_after_it_was_given_up_is_no_trouble(self) -> None:
        self.is_answered = False
        self.daemon.engine._reconciliation.request(self.daemon.engine.accounts[GONE])
        self.answer(self.asked[-1])
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_once_the_broker_knows_it_again_it_is_guarded_and_looked_at(self) -> None:
        self.lose_feed()
        gateway = self.daemon.gateway
        self.patch(gateway, "search_account", lambda number: succeed({"id": number}))
        for method in ("search_open_positions", "search_open_orders", "search_trades"):
            self.patch(gateway, method, lambda *_wanted, **_more: succeed([]))
        self.restore_feed()
        risk_engine = self.daemon.engine.accounts[GONE].risk_engine
        self.assertTrue(risk_engine.is_active)
        self.lose_feed()
        looked: list[int] = []
        self.patch(
            self.daemon.engine._reconciliation,
            "request",
            lambda account: looked.append(account.account.account_id),
        )
        self.daemon.advance(A_LOOK)
        self.assertIn(GONE, looked)


class RoomTests(FeedTestCase):
    """What is kept for enforcement is not spent on looking around."""

    def looks_in(self, rounds: int) -> int:
        """Let patrols pass; return how often the broker was asked what is held."""
        asked: list[int] = []
        real = self.daemon.gateway.search_open_positions

        def search(account_id: int, *, urgent: bool = False) -> Deferred[Any]:
            asked.append(account_id)
            return real(account_id, urgent=urgent)

        patch = self.patch(self.daemon.gateway, "search_open_positions", search)
        self.daemon.advance(rounds * ROUND_SECONDS)
        patch.restore()
        return len(asked)

    def test_a_mistake_does_not_end_the_patrols(self) -> None:
        def fail(_requests: int) -> bool:
            raise ZeroDivisionError

        self.daemon.advance(1)
        mistaken = self.patch(self.daemon.gateway, "has_room", fail)
        self.assertEqual(self.looks_in(FULL_ROUND), 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        mistaken.restore()
        self.assertEqual(self.looks_in(FULL_ROUND), 1)

    def test_nobody_looks_around_when_there_is_no_room(self) -> None:
        self.daemon.advance(1)
        self.assertEqual(self.looks_in(FULL_ROUND), 1)
        self.patch(self.daemon.gateway, "has_room", lambda _requests: False)
        self.assertEqual(self.looks_in(FULL_ROUND), 0)

    def test_accounts_take_turns(self) -> None:
        looked: list[int] = []
        engine = self.daemon.engine
        for number in (1, 2):
            engine._follow(
                type(self.daemon.settings.accounts[0])(id=number)
            ).risk_engine.is_active = True
        loop = engine._reconciliation
        self.patch(loop, "request", lambda account: looked.append(account.account.account_id))
        self.patch(self.daemon.gateway, "has_room", lambda _requests: len(looked) % 2 == 0)
        loop.is_feed_lost = True
        for _ in range(3):
            loop._round()
            looked.append(0)
        self.assertEqual([number for number in looked if number], [ACCOUNT, 1, 2])


class QuotesTests(FeedTestCase):
    def test_the_quotes_of_what_is_held_or_worked_are_followed(self) -> None:
        followed: list[str] = []
        self.patch(self.daemon.gateway, "follow_quotes", followed.append)
        self.daemon.move(ES, "5800")
        self.daemon.trade(BUY, 1, ES, limitPrice="5700")
        self.daemon.advance(1)
        self.assertEqual(followed, [ES])

    def test_trouble_with_quotes_is_told_and_stops_no_rule(self) -> None:
        self.daemon.engine.gateway_problem("quotes", "No quotes since 18:00:00")
        self.assertEqual(self.statuses()[-1], (Status.ERROR, "No quotes since 18:00:00"))
        self.daemon.trade(BUY, 1)
        self.assertIn(MNQ, self.daemon.state.positions)
        self.daemon.engine.gateway_problem("quotes", "")
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)
        self.assertTrue(self.daemon.news(MarketQuote))


class TroubleTests(FeedTestCase):
    """Of several troubles, the one that the others follow from is told."""

    config = MAX_CONTRACTS

    def test_why_the_login_ends_is_not_hidden_by_what_follows_from_it(self) -> None:
        why = "The broker keeps logging riskd out"
        self.daemon.engine.gateway_problem("login", why)
        self.lose_feed()
        self.daemon.engine.gateway_problem("quotes", "No quotes")
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.advance(A_LOOK)
        self.assertEqual(self.statuses()[-1], (Status.ERROR, why))

    def test_lost_events_are_not_hidden_by_lost_quotes(self) -> None:
        self.lose_feed()
        self.daemon.engine.gateway_problem("quotes", "No quotes")
        self.assertEqual(self.statuses()[-1], (Status.ERROR, WHY))
        self.restore_feed()
        self.assertEqual(self.statuses()[-1], (Status.ERROR, "No quotes"))

    def test_what_cannot_be_looked_at_while_events_are_lost_is_guarded_by_nothing(self) -> None:
        events = observed(self)
        self.lose_feed()
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.advance(10 * A_LOOK)
        sentence = f"Nothing guards account {ACCOUNT}, the broker does not say what it holds"
        self.assertEqual(self.statuses()[-1], (Status.ERROR, sentence))
        warnings = [one for one in events if one["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1, logged(events))

    def test_what_stands_is_not_told_again_when_another_trouble_is_over(self) -> None:
        self.lose_feed()
        self.daemon.engine.gateway_problem("quotes", "No quotes")
        self.daemon.told.clear()
        self.daemon.engine.gateway_problem("quotes", "")
        self.assertEqual(self.statuses(), [])


class StopTagTests(GuardTestCase):
    """A stop whose placing was not answered never becomes two."""

    config = "[rules.trade_management]\nenabled = true\n"

    def buy(self, faults: Faults) -> None:
        """Let the trader buy one, who is at the exchange itself, on a broker that fails riskd."""
        self.daemon.gateway.faults = faults
        order = {"contractId": MNQ, "type": 2, "side": 0, "size": 1}
        self.daemon.gateway.exchange.place_order(ACCOUNT, order, self.daemon.now())
        self.daemon.move(MNQ, "21000")

    def orders(self) -> list[dict[str, Any]]:
        return [
            order
            for order in self.daemon.gateway.exchange.orders(ACCOUNT, self.daemon._origin)
            if str(order.get("customTag", "")).startswith(OWN_STOP_TAG)
        ]

    def test_one_that_got_through_is_found_by_its_tag(self) -> None:
        self.buy(Faults(unanswered=1.0))
        self.daemon.advance(10)
        self.assertEqual(len(self.orders()), 1)
        (action,) = self.daemon.actions
        self.assertEqual((action.action, action.success), (Action.AUTO_STOP_LOSS, True))
        self.assertEqual(action.details.order_id, self.orders()[0]["id"])

    def test_one_that_is_only_seen_late_is_not_placed_twice(self) -> None:
        searches = self.patch(
            self.daemon.gateway, "search_orders", lambda *_wanted, **_more: succeed([])
        )
        open_orders = self.patch(
            self.daemon.gateway, "search_open_orders", lambda *_wanted, **_more: succeed([])
        )
        # No event tells of it either.
        self.buy(Faults(unanswered=1.0, lost_events=1.0))
        self.daemon.engine._reconciliation.request(self.daemon.engine.accounts[ACCOUNT])
        self.daemon.advance(4)
        self.assertEqual(len(self.orders()), 1)
        self.assertFalse(self.daemon.actions[0].success)
        searches.restore()
        open_orders.restore()
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(70)
        self.assertEqual(len(self.orders()), 1)
        self.assertTrue(self.daemon.actions[-1].success)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_one_that_was_lost_is_placed_after_all(self) -> None:
        self.buy(Faults(lost_requests=1.0))
        self.daemon.advance(3)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(70)
        self.assertEqual(len(self.orders()), 1)

    def test_what_the_broker_rejects_at_the_second_try_is_closed(self) -> None:
        self.buy(Faults(lost_requests=1.0))
        self.daemon.advance(3)
        self.daemon.gateway.faults = NO_FAULTS
        self.patch(
            self.daemon.gateway,
            "place_order",
            lambda *_wanted: fail(GatewayRefusedError("Order/place", 2, "through the market")),
        )
        self.daemon.advance(70)
        self.assertEqual(self.daemon.held, {})
        self.assertIn("through the market", self.daemon.actions[-1].reason)

    def test_the_tag_of_one_that_is_known_is_used_no_more(self) -> None:
        tags = []
        real = self.daemon.gateway.place_order

        def place(account_id: int, order: dict[str, Any]) -> Deferred[Any]:
            if "customTag" in order:
                tags.append(order["customTag"])
                if len(tags) == 1:
                    return fail(GatewayUnansweredError("Order/place", "lost"))
            return real(account_id, order)

        self.patch(self.daemon.gateway, "place_order", place)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(70)
        self.daemon.trade(SELL, 1)
        self.daemon.advance(2)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(2)
        self.assertEqual(len(tags), 3)
        self.assertEqual((tags[0] == tags[1], tags[1] == tags[2]), (True, False))
