"""A hub: its subscriptions, its reconnects and its end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.backoff import Backoff
from riskd.gateway.projectx.credentials import Secret
from riskd.gateway.projectx.hub import Hub, Subscription
from riskd.gateway.projectx.hub_connection import HubError, TokenRejectedError
from riskd.gateway.signalr import (
    Close,
    Completion,
    Invocation,
    Ping,
    encode,
    encode_handshake_response,
)
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
    """What is subscribed before the hub is up, and after."""

    def test_it_is_up_when_all_that_is_required_was_accepted(self) -> None:
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

    def test_events_are_told_with_the_token_of_their_connection(self) -> None:
        end = self.start()
        end.tell("GatewayUserOrder", {"id": 7})
        self.assertEqual(self.received, [(EVENT, TOKEN)])

    def test_events_before_all_is_subscribed_are_told(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.send(encode_handshake_response(), encode(EVENT))
        self.assertEqual(self.received, [(EVENT, TOKEN)])

    def test_what_is_required_while_it_opens_is_waited_for_too(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete()
        self.hub.require("SubscribeOrders", 456)
        end.complete()
        self.assertFalse(self.hub.is_up)
        self.assertEqual(end.complete().arguments, (456,))
        self.assertTrue(self.hub.is_up)

    def test_what_is_required_when_it_is_up_is_subscribed_at_once_and_from_then_on(self) -> None:
        end = self.start()
        self.hub.require("SubscribeOrders", 456)
        self.assertEqual(end.complete().arguments, (456,))
        end.connection.end("lost")
        self.clock.advance(1)
        again = self.connect.accept()
        again.open()
        self.assertIn((456,), [said.arguments for said in again.said])

    def test_more_may_be_subscribed_at_any_time(self) -> None:
        self.hub.subscribe("SubscribeContractQuotes", "A")
        end = self.start()
        self.hub.subscribe("SubscribeContractQuotes", "B")
        self.hub.subscribe("SubscribeContractQuotes", "B")
        asked = [invocation.arguments for invocation in end.said[2:]]
        self.assertEqual(asked, [("A",), ("B",)])

    def test_all_is_subscribed_again_after_a_reconnect(self) -> None:
        end = self.start()
        self.hub.subscribe("SubscribeContractQuotes", "A")
        end.connection.end("lost")
        self.seconds_to_next_try()
        end = self.bring_up()
        self.assertEqual(
            [invocation.target for invocation in end.said],
            ["SubscribeAccounts", "SubscribeOrders", "SubscribeContractQuotes"],
        )

    def test_what_is_subscribed_while_it_is_down_waits_until_it_is_up(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        self.hub.subscribe("SubscribeContractQuotes", "A")
        end.complete_all()
        self.assertEqual(end.said[-1].arguments, ("A",))
        self.assertEqual(len(end.said), 3)

    def test_a_refusal_is_told_and_all_else_works(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete("not allowed")
        self.assertEqual(self.refusals, [("SubscribeAccounts", "not allowed")])
        end.complete()
        self.assertEqual((self.ups, self.downs), ([0], []))
        end.tell("GatewayUserOrder", {"id": 7})
        self.assertEqual(len(self.received), 1)

    def test_a_refusal_without_words_is_one(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete("")
        self.assertEqual(self.refusals, [("SubscribeAccounts", "no reason given")])

    def test_what_was_refused_is_tried_again_after_30_seconds(self) -> None:
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

    def test_it_is_tried_again_though_the_others_took_long(self) -> None:
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
        self.assertEqual(end.said.count(end.said[0]), 1)
        again = [message.arguments for message in end.said if isinstance(message, Invocation)]
        self.assertEqual(again.count((0,)), 2)

    def test_what_was_refused_is_told_as_accepted_after_a_reconnect(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete("not allowed")
        end.complete()
        end.connection.end("lost")
        self.seconds_to_next_try()
        end = self.bring_up()
        self.assertEqual(self.refusals[-1], ("SubscribeAccounts", ""))
        said = len(end.said)
        self.talk(end, 31)
        self.assertEqual([m for m in end.said[said:] if isinstance(m, Invocation)], [])

    def test_one_that_is_not_answered_ends_the_connection(self) -> None:
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

    def test_a_handshake_that_is_not_answered_ends_the_connection(self) -> None:
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
    """When the next connection is tried."""

    def waits(self, count: int, fail: Any = None) -> list[float]:
        """Return the seconds to each of so many tries, after tries that fail."""
        waits = []
        for _ in range(count):
            (fail or self.connect.refuse)()
            waits.append(self.seconds_to_next_try())
        return waits

    def test_the_first_try_is_made_at_once_and_the_next_ones_soon(self) -> None:
        self.hub.start()
        self.assertEqual(self.connect.tries[0].moment, 0)
        self.assertEqual(self.waits(7), [0.25, 0.5, 1, 2, 3, 3, 3])
        self.assertEqual(self.downs, ["no connection"] * 7)

    def test_after_two_minutes_they_are_far_between(self) -> None:
        self.hub.start()
        self.waits(45)
        self.assertEqual(self.waits(5)[-2:], [30, 30])

    def test_all_that_can_go_wrong_with_a_try_is_a_failed_try(self) -> None:
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

    def test_success_begins_the_waits_anew(self) -> None:
        self.hub.start()
        self.waits(5)
        end = self.bring_up()
        self.talk(end, 20)
        end.connection.end("lost")
        self.assertEqual(self.seconds_to_next_try(), 0.25)

    def test_a_hub_that_comes_up_and_goes_down_at_once_is_not_hurried(self) -> None:
        self.hub.start()

        def come_up_and_go_down() -> None:
            self.bring_up().send(encode(Close("another session")))

        self.assertEqual(self.waits(7, come_up_and_go_down), [0.25, 0.5, 1, 2, 3, 3, 3])

    def test_why_it_is_down_is_told_each_time(self) -> None:
        end = self.start()
        end.connection.end("lost")
        self.seconds_to_next_try()
        self.connect.refuse(HubError("no route"))
        self.assertEqual(self.downs, ["lost", "no route"])

    def test_a_refused_token_is_given_up_and_the_next_waited_for(self) -> None:
        self.hub.start()
        self.connect.refuse(TokenRejectedError("HTTP 401"))
        self.assertEqual(self.login.discarded, [TOKEN])
        self.clock.advance(10)
        self.assertEqual(len(self.connect.tries), 1)
        self.login.log_in()
        self.assertEqual(self.connect.tries[1].token, Secret("token 1"))

    def test_other_failures_leave_the_token(self) -> None:
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

    def test_hurry_does_not_try_more_often_than_every_2_seconds(self) -> None:
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

    def test_hurry_does_nothing_to_a_hub_that_is_up_or_being_tried(self) -> None:
        self.hub.start()
        self.clock.advance(5)
        self.hub.hurry()
        self.bring_up()
        self.hub.hurry()
        self.assertEqual((len(self.connect.tries), self.downs), (1, []))

    def test_a_mistake_of_ours_is_logged_and_begun_anew_after(self) -> None:
        self.hub.start()
        self.connect.tries[-1].made.errback(ZeroDivisionError("a mistake"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.downs, ["internal error"])
        self.seconds_to_next_try()
        self.bring_up()

    def test_a_mistake_of_whoever_is_told_of_a_refusal_is_logged(self) -> None:
        self.hub._refused = lambda *_: 1 / 0
        end = self.start()
        self.hub.subscribe("SubscribeContractQuotes", "A")
        end.complete("not allowed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(end.is_dropped)
        self.seconds_to_next_try()

    def test_whoever_is_told_may_make_a_mistake(self) -> None:
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
    """A connection in place of one that is there."""

    def test_a_hub_that_is_up_is_connected_again_at_once(self) -> None:
        end = self.start()
        self.talk(end, 100)
        self.hub.reconnect("the token was renewed")
        self.assertTrue(end.is_dropped)
        self.assertEqual(self.downs, ["the token was renewed"])
        self.assertEqual(self.connect.tries[-1].moment, 100)
        self.bring_up()
        self.assertEqual(self.ups, [0, 100])

    def test_it_is_connected_with_the_new_token(self) -> None:
        self.start()
        self.login.log_in()
        self.hub.reconnect("the token was renewed")
        self.assertEqual(self.connect.tries[-1].token, Secret("token 1"))

    def test_without_a_token_it_waits_for_one(self) -> None:
        self.start()
        self.login.discard(TOKEN)
        self.hub.reconnect("the broker has ended the login")
        self.assertEqual(len(self.connect.tries), 1)
        self.clock.advance(100)
        self.login.log_in()
        self.assertEqual(len(self.connect.tries), 2)

    def test_a_hub_that_waits_for_its_next_try_waits_no_longer(self) -> None:
        self.hub.start()
        self.connect.refuse()
        self.hub.reconnect("the token was renewed")
        self.assertEqual([each.moment for each in self.connect.tries], [0, 0])

    def test_a_hub_in_its_handshake_begins_anew(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        self.hub.reconnect("the token was renewed")
        self.assertTrue(end.is_dropped)
        self.assertEqual(len(self.connect.tries), 2)

    def test_a_connection_that_opens_with_a_token_that_was_replaced_is_not_used(self) -> None:
        self.hub.start()
        self.login.log_in()
        self.hub.reconnect("the token was renewed")
        end = self.connect.accept()
        end.shake_hands()
        self.assertTrue(end.is_dropped)
        self.assertEqual(end.said, [])
        self.assertEqual(self.seconds_to_next_try(), 0.25)
        self.assertEqual(self.connect.tries[-1].token, Secret("token 1"))
        self.bring_up()
        self.assertEqual(self.ups, [0.25])

    def test_what_comes_on_the_old_connection_is_not_heard(self) -> None:
        end = self.start()
        self.hub.reconnect("the token was renewed")
        end.tell("GatewayUserOrder", {"id": 7})
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
    """The end, at any moment."""

    def test_before_it_was_started(self) -> None:
        self.hub.stop()
        self.hub.start()
        self.assertEqual(self.connect.tries, [])
        self.assert_stopped()

    def test_while_it_waits_for_a_token(self) -> None:
        self.login.current = None
        self.hub.start()
        self.hub.stop()
        self.assert_stopped()

    def test_while_it_connects(self) -> None:
        self.hub.start()
        self.hub.stop()
        self.assertEqual(self.connect.given_up, 1)
        self.assert_stopped()

    def test_in_the_handshake_and_while_it_subscribes(self) -> None:
        for subscribes in (False, True):
            self.setUp()
            self.hub.start()
            end = self.connect.accept()
            if subscribes:
                end.shake_hands()
            self.hub.stop()
            self.assertTrue(end.is_dropped)
            self.assert_stopped()

    def test_while_it_is_up(self) -> None:
        end = self.start()
        self.hub.stop()
        self.assertTrue(end.is_dropped)
        self.assert_stopped()

    def test_while_it_waits_for_its_next_try(self) -> None:
        self.hub.start()
        self.connect.refuse()
        self.hub.stop()
        self.assert_stopped()

    def test_after_a_mistake_of_ours(self) -> None:
        self.hub.start()
        self.connect.tries[-1].made.errback(ZeroDivisionError("a mistake"))
        self.flushLoggedErrors(ZeroDivisionError)
        self.hub.stop()
        self.assert_stopped()

    def test_while_a_subscription_waits_to_be_tried_again(self) -> None:
        self.hub.start()
        end = self.connect.accept()
        end.shake_hands()
        end.complete("not allowed")
        end.complete()
        self.hub.stop()
        said = len(end.said)
        self.assert_stopped()
        self.assertEqual(len(end.said), said)

    def test_while_a_subscription_beside_is_not_answered(self) -> None:
        self.start()
        self.hub.subscribe("SubscribeContractQuotes", "A")
        self.hub.stop()
        self.assert_stopped()

    def test_by_whoever_is_told_that_it_is_up_or_down(self) -> None:
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

    def test_by_whoever_hears_an_event(self) -> None:
        self.hub._receive = lambda *_: self.hub.stop()
        end = self.start()
        end.tell("GatewayUserOrder", {"id": 7})
        self.assertTrue(end.is_dropped)
        self.assert_stopped()

    def test_twice(self) -> None:
        self.start()
        self.hub.stop()
        self.hub.stop()
        self.assert_stopped()

    def test_nothing_begins_again_after_it(self) -> None:
        self.start()
        self.hub.stop()
        self.hub.reconnect("the token was renewed")
        self.hub.hurry()
        self.hub.subscribe("SubscribeContractQuotes", "A")
        self.assert_stopped()


class AnyOrderTests(StoppedTestCase):
    """Whatever happens in whatever order."""

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
    def test_stop_ends_all(self, acts: list[str]) -> None:
        self.setUp()
        self.hub.start()
        for act in acts:
            getattr(self, act)()
        self.hub.stop()
        self.assertIsNone(self.end)
        self.assertFalse(self.connect.is_tried)
        self.assert_stopped()

    @given(st.lists(st.sampled_from(ACTS), max_size=30))
    def test_it_comes_up_again(self, acts: list[str]) -> None:
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
    """What nobody may read."""

    def test_no_token_is_in_the_log(self) -> None:
        end = self.start()
        end.send(encode(Close("bye")))
        self.seconds_to_next_try()
        self.connect.refuse(TokenRejectedError("HTTP 401"))
        self.assertIn("HTTP 401", logged(self.events))
        self.assertNotIn(TOKEN.reveal(), logged(self.events) + repr(vars(self.hub)))
