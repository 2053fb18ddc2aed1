"""A hub: its subscriptions, its reconnects and its end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.backoff import Backoff
from riskd.gateway.projectx.hub import MOST_UNANSWERED, Hub, Subscription
from riskd.gateway.projectx.hub_connection import HubError, TokenRejectedError
from riskd.gateway.signalr import (
    Close,
    Completion,
    Invocation,
    Ping,
    encode,
    encode_handshake_response,
)
from riskd.host.secrets import Secret
from tests.support.broker import TOKEN, HubEnd, MemoryHub, MemoryLogin, Upper, logged, observed

EVENT = Invocation("GatewayUserOrder", ({"id": 7},))


class HubTestCase(SynchronousTestCase):
    REQUIRED: tuple[Subscription, ...] = (
        ("SubscribeAccounts", ()),
        ("SubscribeOrders", (123,)),
    )

    def setUp(self) -> None:
        self.events = observed(self)
        self.clock = Clock()
        self.connect = MemoryHub(self.clock)
        self.login: Any = MemoryLogin()
        self.received: list[tuple[Invocation, Secret]] = []
        self.ups: list[float] = []
        self.downs: list[str] = []
        self.refusals: list[tuple[str, str]] = []
        self.hub = Hub(
            "user",
            self.connect,
            self.login,
            self.clock,
            Backoff(Upper()),
            lambda invocation, token: self.received.append((invocation, token)),
            lambda: self.came_up(),  # noqa: PLW0108
            lambda why: self.went_down(why),  # noqa: PLW0108
            lambda subscription, why: self.refusals.append((subscription[0], why)),
        )
        for target, arguments in self.REQUIRED:
            self.hub.require(target, *arguments)

    def came_up(self) -> None:
        self.ups.append(self.clock.seconds())

    def went_down(self, why: str) -> None:
        self.downs.append(why)

    def start(self) -> HubEnd:
        """Start, and let the hub come up."""
        self.hub.start()
        return self.bring_up()

    def bring_up(self) -> HubEnd:
        end = self.connect.accept()
        end.open()
        self.assertTrue(self.hub.is_up)
        return end

    def start_unanswered(self) -> HubEnd:
        """Start, and answer only what is required."""
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        for _ in self.REQUIRED:
            end.complete()
        return end

    def talk(self, end: HubEnd, seconds: int) -> None:
        """Let time pass in which the hub is not silent."""
        for _ in range(seconds):
            self.clock.advance(1)
            end.send(encode(Ping()))

    def seconds_to_next_try(self) -> float:
        begun, tries = self.clock.seconds(), len(self.connect.tries)
        while len(self.connect.tries) == tries:
            self.clock.advance(0.25)
            self.assertTrue(self.clock.seconds() - begun < 100)
        return self.clock.seconds() - begun


class SubscriptionTests(HubTestCase):
    """Subscriptions, required and optional."""

    def test_the_hub_is_up_when_all_required_subscriptions_are_accepted(self) -> None:
        self.hub.start()
        self.assertEqual(self.connect.tries[0].token, TOKEN)
        end = self.connect.accept()
        self.assertEqual(end.asked, [])
        end.shake_hands()
        self.assertEqual(end.complete().target, "SubscribeAccounts")
        self.assertEqual((self.ups, self.hub.is_up), ([], False))
        self.assertEqual(end.complete().arguments, (123,))
        self.assertEqual((self.ups, self.hub.is_up), ([0], True))
        self.assertEqual(self.downs, [])

    def test_events_are_received_with_the_token_of_their_connection(self) -> None:
        end = self.start()
        end.send_event("GatewayUserOrder", {"id": 7})
        self.assertEqual(self.received, [(EVENT, TOKEN)])

    def test_events_before_the_last_subscription_are_received(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.send(encode_handshake_response(), encode(EVENT))
        self.assertEqual(self.received, [(EVENT, TOKEN)])

    def test_a_subscription_required_during_the_opening_is_awaited_too(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete()
        self.hub.require("SubscribeOrders", 456)
        end.complete()
        self.assertFalse(self.hub.is_up)
        self.assertEqual(end.complete().arguments, (456,))
        self.assertTrue(self.hub.is_up)

    def test_a_subscription_required_later_is_made_at_once_and_after_each_reconnect(self) -> None:
        end = self.start()
        self.hub.require("SubscribeOrders", 456)
        self.assertEqual(end.complete().arguments, (456,))
        end.connection.end("lost")
        self.clock.advance(1)
        again = self.connect.accept()
        again.open()
        self.assertIn((456,), [message.arguments for message in again.messages])

    def test_optional_subscriptions_may_be_added_at_any_time(self) -> None:
        self.hub.subscribe("SubscribeContractQuotes", "A")
        end = self.start()
        self.hub.subscribe("SubscribeContractQuotes", "B")
        self.hub.subscribe("SubscribeContractQuotes", "B")
        asked = [invocation.arguments for invocation in end.messages[2:]]
        self.assertEqual(asked, [("A",), ("B",)])

    def test_a_reconnect_makes_all_subscriptions_again(self) -> None:
        end = self.start()
        self.hub.subscribe("SubscribeContractQuotes", "A")
        end.connection.end("lost")
        self.seconds_to_next_try()
        end = self.bring_up()
        self.assertEqual(
            [invocation.target for invocation in end.messages],
            ["SubscribeAccounts", "SubscribeOrders", "SubscribeContractQuotes"],
        )

    def test_a_subscription_added_while_the_hub_is_down_is_made_when_it_is_up(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        self.hub.subscribe("SubscribeContractQuotes", "A")
        end.complete_all()
        self.assertEqual(end.messages[-1].arguments, ("A",))
        self.assertEqual(len(end.messages), 3)

    def test_of_many_subscriptions_a_few_are_unanswered_at_a_time(self) -> None:
        """A broker that lists a thousand contracts must not hold the reactor at each reconnect."""
        numbers = list(range(50))
        for number in numbers[:40]:
            self.hub.subscribe("SubscribeContractQuotes", number)
        end = self.start_unanswered()
        self.assertEqual((len(self.ups), len(end.asked)), (1, MOST_UNANSWERED))
        for number in numbers[40:]:
            self.hub.subscribe("SubscribeContractQuotes", number)
        self.assertEqual(len(end.asked), MOST_UNANSWERED)
        end.complete()
        end.complete("not now")
        self.assertEqual(len(end.asked), MOST_UNANSWERED)
        end.complete_all()
        self.assertEqual([each.arguments[0] for each in end.messages[2:]], numbers)

    def test_many_refused_subscriptions_are_tried_again_a_few_at_a_time(self) -> None:
        for number in range(50):
            self.hub.subscribe("SubscribeContractQuotes", number)
        end = self.start_unanswered()
        while end.asked:
            end.complete("not now")
        self.talk(end, 30)
        self.assertEqual(len(end.asked), MOST_UNANSWERED)
        end.complete_all()
        asked = [each.arguments for each in end.messages if isinstance(each, Invocation)][2:]
        self.assertEqual(asked, 2 * [(number,) for number in range(50)])

    def test_many_subscriptions_that_wait_are_forgotten_with_the_connection(self) -> None:
        for number in range(50):
            self.hub.subscribe("SubscribeContractQuotes", number)
        end = self.start_unanswered()
        end.connection.end("lost")
        self.seconds_to_next_try()
        self.assertEqual((self.downs, self.ups), (["lost"], [0]))
        self.assertEqual(len(end.messages), 2 + MOST_UNANSWERED)
        end = self.bring_up()
        end.complete_all()
        self.assertEqual([each.arguments[0] for each in end.messages[2:]], list(range(50)))

    def test_a_refusal_is_reported_and_all_other_subscriptions_work(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete("not allowed")
        self.assertEqual(self.refusals, [("SubscribeAccounts", "not allowed")])
        end.complete()
        self.assertEqual((self.ups, self.downs), ([0], []))
        end.send_event("GatewayUserOrder", {"id": 7})
        self.assertEqual(len(self.received), 1)

    def test_a_refusal_without_a_reason_is_a_refusal(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete("")
        self.assertEqual(self.refusals, [("SubscribeAccounts", "no reason given")])

    def test_a_refused_subscription_is_tried_again_after_30_seconds(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete("not allowed")
        end.complete()
        for _ in range(2):
            self.talk(end, 29)
            self.assertEqual(end.asked, [])
            self.talk(end, 1)
            self.assertEqual(end.complete("still not").target, "SubscribeAccounts")
        self.talk(end, 30)
        end.complete()
        self.talk(end, 60)
        self.assertEqual(end.asked, [])
        self.assertEqual(
            self.refusals,
            [
                ("SubscribeAccounts", "not allowed"),
                ("SubscribeAccounts", "still not"),
                ("SubscribeAccounts", "still not"),
                ("SubscribeAccounts", ""),
            ],
        )

    def test_a_refused_subscription_is_tried_again_after_slow_ones(self) -> None:
        self.hub._required = tuple(("SubscribeOrders", (number,)) for number in range(6))
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete("not allowed")
        for _ in range(4):
            self.talk(end, 9)
            end.complete()
        self.assertFalse(self.hub.is_up)
        end.complete()
        self.talk(end, 30)
        end.complete_all()
        self.assertEqual(end.messages.count(end.messages[0]), 1)
        again = [message.arguments for message in end.messages if isinstance(message, Invocation)]
        self.assertEqual(again.count((0,)), 2)

    def test_a_refused_subscription_may_be_accepted_after_a_reconnect(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete("not allowed")
        end.complete()
        end.connection.end("lost")
        self.seconds_to_next_try()
        end = self.bring_up()
        self.assertEqual(self.refusals[-1], ("SubscribeAccounts", ""))
        count = len(end.messages)
        self.talk(end, 31)
        self.assertEqual([m for m in end.messages[count:] if isinstance(m, Invocation)], [])

    def test_an_unanswered_subscription_ends_the_connection(self) -> None:
        for is_required in (True, False):
            self.setUp()
            self.hub.start()
            end = self.connect.accept()
            end.shake_hands()
            if not is_required:
                end.complete_all()
                self.hub.subscribe("SubscribeContractQuotes", "A")
            target = end.asked[0].target
            self.talk(end, 9)
            self.assertFalse(end.is_dropped)
            self.talk(end, 1)
            self.assertTrue(end.is_dropped)
            self.assertEqual(self.downs, [f"{target} was not answered: nothing in 10 s"])
            self.assertFalse(self.hub.is_up)

    def test_an_unanswered_handshake_ends_the_connection(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        self.clock.pump([1] * 10)
        self.assertTrue(end.is_dropped)
        self.assertEqual(self.downs, ["the handshake was not answered: nothing in 10 s"])

    def test_a_connection_that_closes_right_after_the_last_answer_was_up(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete()
        end.send(encode(Completion("2", 0)), encode(Close("bye")))
        self.assertEqual((self.ups, self.downs), ([0], ["the broker closed the connection: bye"]))
        self.assertFalse(self.hub.is_up)


class RetryTests(HubTestCase):
    """Tries, and the waits between them."""

    def waits(self, count: int, fail: Any = None) -> list[float]:
        """Return the seconds to each of so many tries, after tries that fail."""
        waits = []
        for _ in range(count):
            (fail or self.connect.refuse)()
            waits.append(self.seconds_to_next_try())
        return waits

    def test_the_first_try_is_immediate_and_the_next_ones_follow_soon(self) -> None:
        self.hub.start()
        self.assertEqual(self.connect.tries[0].moment, 0)
        self.assertEqual(self.waits(7), [0.25, 0.5, 1, 2, 3, 3, 3])
        self.assertEqual(self.downs, ["no connection"] * 7)

    def test_after_two_minutes_tries_are_rare(self) -> None:
        self.hub.start()
        self.waits(45)
        self.assertEqual(self.waits(5)[-2:], [30, 30])

    def test_every_failure_is_a_failed_try(self) -> None:
        def end_in_handshake() -> None:
            self.connect.accept().connection.end("lost")

        def refuse_handshake() -> None:
            self.connect.accept().send(encode_handshake_response("no"))

        def end_in_subscription() -> None:
            end = self.connect.accept()
            end.shake_hands()
            end.send(encode(Close("no")))

        self.hub.start()
        waits = []
        for fail in (end_in_handshake, refuse_handshake, end_in_subscription, self.connect.refuse):
            waits += self.waits(1, fail)
        self.assertEqual(waits, [0.25, 0.5, 1, 2])
        self.assertEqual(self.ups, [])

    def test_after_a_success_the_waits_are_short_again(self) -> None:
        self.hub.start()
        self.waits(5)
        end = self.bring_up()
        self.talk(end, 20)
        end.connection.end("lost")
        self.assertEqual(self.seconds_to_next_try(), 0.25)

    def test_a_short_success_does_not_shorten_the_waits(self) -> None:
        self.hub.start()

        def come_up_and_go_down() -> None:
            self.bring_up().send(encode(Close("another session")))

        self.assertEqual(self.waits(7, come_up_and_go_down), [0.25, 0.5, 1, 2, 3, 3, 3])

    def test_the_reason_is_reported_at_every_failure(self) -> None:
        end = self.start()
        end.connection.end("lost")
        self.seconds_to_next_try()
        self.connect.refuse(HubError("no route"))
        self.assertEqual(self.downs, ["lost", "no route"])

    def test_a_refused_token_is_discarded_and_the_hub_waits_for_the_next(self) -> None:
        self.hub.start()
        self.connect.refuse(TokenRejectedError("HTTP 401"))
        self.assertEqual(self.login.discarded, [TOKEN])
        self.clock.advance(10)
        self.assertEqual(len(self.connect.tries), 1)
        self.login.log_in()
        self.assertEqual(self.connect.tries[1].token, Secret("token 1"))

    def test_other_failures_keep_the_token(self) -> None:
        self.hub.start()
        self.connect.refuse()
        self.assertEqual(self.login.discarded, [])

    def test_hurry_tries_at_once(self) -> None:
        self.hub.start()
        self.waits(5)
        self.connect.refuse()
        self.clock.advance(2)
        self.hub.hurry()
        self.assertEqual(len(self.connect.tries), 7)
        self.connect.refuse()
        self.assertEqual(self.seconds_to_next_try(), 3)

    def test_hurry_tries_at_most_every_2_seconds(self) -> None:
        self.hub.start()
        self.waits(44)
        moments = []
        for _ in range(40):
            if self.connect.is_tried:
                moments.append(self.clock.seconds())
                self.connect.refuse()
            self.clock.advance(0.25)
            self.hub.hurry()
        gaps = {after - before for before, after in pairwise(moments)}
        self.assertEqual(gaps, {2.0})

    def test_hurry_does_nothing_while_the_hub_is_up_or_connecting(self) -> None:
        self.hub.start()
        self.clock.advance(5)
        self.hub.hurry()
        self.bring_up()
        self.hub.hurry()
        self.assertEqual((len(self.connect.tries), self.downs), (1, []))

    def test_after_an_internal_error_the_hub_connects_again(self) -> None:
        self.hub.start()
        self.connect.tries[-1].made.errback(ZeroDivisionError("a mistake"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.downs, ["internal error"])
        self.seconds_to_next_try()
        self.bring_up()

    def test_an_error_of_the_receiver_of_a_refusal_is_logged(self) -> None:
        self.hub._refused = lambda *_: 1 / 0
        end = self.start()
        self.hub.subscribe("SubscribeContractQuotes", "A")
        end.complete("not allowed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(end.is_dropped)
        self.seconds_to_next_try()

    def test_an_error_of_a_receiver_does_not_stop_the_hub(self) -> None:
        def fail(*_: Any) -> None:
            raise ZeroDivisionError

        self.came_up = fail  # type: ignore[method-assign]
        self.hub.start()
        self.connect.accept().open()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        del self.came_up
        self.seconds_to_next_try()
        self.bring_up()


class ReconnectTests(HubTestCase):
    """Reconnects."""

    def test_reconnect_opens_another_connection_at_once(self) -> None:
        end = self.start()
        self.talk(end, 100)
        self.hub.reconnect("the token was renewed")
        self.assertTrue(end.is_dropped)
        self.assertEqual(self.downs, ["the token was renewed"])
        self.assertEqual(self.connect.tries[-1].moment, 100)
        self.bring_up()
        self.assertEqual(self.ups, [0, 100])

    def test_reconnect_uses_the_new_token(self) -> None:
        self.start()
        self.login.log_in()
        self.hub.reconnect("the token was renewed")
        self.assertEqual(self.connect.tries[-1].token, Secret("token 1"))

    def test_reconnect_waits_for_a_token(self) -> None:
        self.start()
        self.login.discard(TOKEN)
        self.hub.reconnect("the broker has ended the login")
        self.assertEqual(len(self.connect.tries), 1)
        self.clock.advance(100)
        self.login.log_in()
        self.assertEqual(len(self.connect.tries), 2)

    def test_reconnect_ends_the_wait_for_the_next_try(self) -> None:
        self.hub.start()
        self.connect.refuse()
        self.hub.reconnect("the token was renewed")
        self.assertEqual([each.moment for each in self.connect.tries], [0, 0])

    def test_reconnect_during_the_handshake_starts_again(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        self.hub.reconnect("the token was renewed")
        self.assertTrue(end.is_dropped)
        self.assertEqual(len(self.connect.tries), 2)

    def test_a_connection_with_a_replaced_token_is_not_used(self) -> None:
        self.hub.start()
        self.login.log_in()
        self.hub.reconnect("the token was renewed")
        end = self.connect.accept()
        end.shake_hands()
        self.assertTrue(end.is_dropped)
        self.assertEqual(end.messages, [])
        self.assertEqual(self.seconds_to_next_try(), 0.25)
        self.assertEqual(self.connect.tries[-1].token, Secret("token 1"))
        self.bring_up()
        self.assertEqual(self.ups, [0.25])

    def test_events_on_the_old_connection_are_ignored(self) -> None:
        end = self.start()
        self.hub.reconnect("the token was renewed")
        end.send_event("GatewayUserOrder", {"id": 7})
        self.assertEqual(self.received, [])


class StoppedTestCase(HubTestCase):
    def assert_stopped(self) -> None:
        """See that nothing is tried, told or said any more, whatever is left on the clock."""
        before = (len(self.connect.tries), list(self.ups), list(self.downs), list(self.refusals))
        self.login.log_in()
        self.clock.pump([1] * 200)
        after = (len(self.connect.tries), list(self.ups), list(self.downs), list(self.refusals))
        self.assertEqual(after, before)
        self.assertFalse(self.hub.is_up)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StopTests(StoppedTestCase):
    """The stop, at any moment."""

    def test_stop_before_the_start(self) -> None:
        self.hub.stop()
        self.hub.start()
        self.assertEqual(self.connect.tries, [])
        self.assert_stopped()

    def test_stop_during_the_wait_for_a_token(self) -> None:
        self.login.current = None
        self.hub.start()
        self.hub.stop()
        self.assert_stopped()

    def test_stop_while_connecting(self) -> None:
        self.hub.start()
        self.hub.stop()
        self.assertEqual(self.connect.given_up, 1)
        self.assert_stopped()

    def test_stop_during_the_handshake_and_the_subscriptions(self) -> None:
        for subscribes in (False, True):
            self.setUp()
            self.hub.start()
            end = self.connect.accept()
            if subscribes:
                end.shake_hands()
            self.hub.stop()
            self.assertTrue(end.is_dropped)
            self.assert_stopped()

    def test_stop_while_up(self) -> None:
        end = self.start()
        self.hub.stop()
        self.assertTrue(end.is_dropped)
        self.assert_stopped()

    def test_stop_during_the_wait_for_the_next_try(self) -> None:
        self.hub.start()
        self.connect.refuse()
        self.hub.stop()
        self.assert_stopped()

    def test_stop_after_an_internal_error(self) -> None:
        self.hub.start()
        self.connect.tries[-1].made.errback(ZeroDivisionError("a mistake"))
        self.flushLoggedErrors(ZeroDivisionError)
        self.hub.stop()
        self.assert_stopped()

    def test_stop_while_a_subscription_waits_for_its_next_try(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete("not allowed")
        end.complete()
        self.hub.stop()
        count = len(end.messages)
        self.assert_stopped()
        self.assertEqual(len(end.messages), count)

    def test_stop_while_an_optional_subscription_is_unanswered(self) -> None:
        self.start()
        self.hub.subscribe("SubscribeContractQuotes", "A")
        self.hub.stop()
        self.assert_stopped()

    def test_stop_by_the_receiver_of_ups_and_downs(self) -> None:
        self.came_up = lambda: self.hub.stop()  # type: ignore[method-assign]  # noqa: PLW0108
        self.hub.start()
        end = self.connect.accept()
        end.open()
        self.assertTrue(end.is_dropped)
        self.assert_stopped()
        del self.came_up
        self.setUp()
        self.went_down = lambda _: self.hub.stop()  # type: ignore[method-assign]
        self.hub.start()
        self.connect.refuse()
        self.assert_stopped()

    def test_stop_by_the_receiver_of_an_event(self) -> None:
        self.hub._receive = lambda *_: self.hub.stop()
        end = self.start()
        end.send_event("GatewayUserOrder", {"id": 7})
        self.assertTrue(end.is_dropped)
        self.assert_stopped()

    def test_stop_twice(self) -> None:
        self.start()
        self.hub.stop()
        self.hub.stop()
        self.assert_stopped()

    def test_nothing_starts_after_the_stop(self) -> None:
        self.start()
        self.hub.stop()
        self.hub.reconnect("the token was renewed")
        self.hub.hurry()
        self.hub.subscribe("SubscribeContractQuotes", "A")
        self.assert_stopped()


class AnyOrderTests(StoppedTestCase):
    """Any course of events."""

    ACTS = (
        "accept",
        "come_up",
        "complete",
        "hurry",
        "log_in",
        "lose",
        "reconnect",
        "refuse",
        "reject",
        "shake_hands",
        "subscribe",
        "wait",
        "wait_long",
        "withhold",
    )

    def setUp(self) -> None:
        super().setUp()
        self.ends: list[HubEnd] = []

    @property
    def end(self) -> HubEnd | None:
        """The one that is there; there never are two."""
        live = [end for end in self.ends if not end.is_dropped]
        self.assertTrue(len(live) <= 1)
        return live[0] if live else None

    def accept(self) -> None:
        if self.connect.is_tried:
            self.ends.append(self.connect.accept())

    def shake_hands(self) -> None:
        if self.end is not None:
            self.end.shake_hands()

    def complete(self, error: str | None = None) -> None:
        if self.end is not None and self.end.asked:
            self.end.complete(error)

    def withhold(self) -> None:
        self.complete("not allowed")

    def come_up(self) -> None:
        self.accept()
        if self.end is not None:
            self.end.open()

    def lose(self) -> None:
        if self.end is not None:
            self.end.connection.end("lost")

    def refuse(self, error: HubError | None = None) -> None:
        if self.connect.is_tried:
            self.connect.refuse(error)

    def reject(self) -> None:
        self.refuse(TokenRejectedError("HTTP 401"))

    def log_in(self) -> None:
        self.login.log_in()

    def wait(self) -> None:
        self.clock.advance(0.5)

    def wait_long(self) -> None:
        self.clock.pump([1] * 12)

    def hurry(self) -> None:
        self.hub.hurry()

    def reconnect(self) -> None:
        self.hub.reconnect("the token was renewed")

    def subscribe(self) -> None:
        self.hub.subscribe("SubscribeContractQuotes", len(self.ends))

    @given(st.lists(st.sampled_from(ACTS), max_size=30))
    def test_stop_ends_everything_after_any_course_of_events(self, acts: list[str]) -> None:
        self.setUp()
        self.hub.start()
        for act in acts:
            getattr(self, act)()
        self.hub.stop()
        self.assertIsNone(self.end)
        self.assertFalse(self.connect.is_tried)
        self.assert_stopped()

    @given(st.lists(st.sampled_from(ACTS), max_size=30))
    def test_the_hub_comes_up_again_after_any_course_of_events(self, acts: list[str]) -> None:
        self.setUp()
        self.hub.start()
        for act in acts:
            getattr(self, act)()
        for _ in range(60):
            if self.login.current is None:
                self.log_in()
            self.come_up()
            self.clock.advance(1)
            if self.hub.is_up and self.end is not None:
                self.end.send(encode(Ping()))
        self.assertTrue(self.hub.is_up)
        self.hub.stop()


class SecrecyTests(HubTestCase):
    """Secrets."""

    def test_no_token_is_in_the_log(self) -> None:
        end = self.start()
        end.send(encode(Close("bye")))
        self.seconds_to_next_try()
        self.connect.refuse(TokenRejectedError("HTTP 401"))
        self.assertIn("HTTP 401", logged(self.events))
        self.assertNotIn(TOKEN.reveal(), logged(self.events) + repr(vars(self.hub)))
