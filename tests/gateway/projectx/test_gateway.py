"""The gateway over the network, as a whole: events, problems, logins and the end."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from twisted.internet.defer import CancelledError
from zope.interface.verify import verifyObject

from riskd.gateway.commands import CancelOrder
from riskd.gateway.interface import (
    Found,
    GatewayRefusedError,
    GatewayUnansweredError,
    IGateway,
    IGatewayListener,
)
from riskd.gateway.projectx.credentials import CredentialsError
from riskd.gateway.projectx.hub_connection import TokenRejectedError
from riskd.gateway.signalr import SEPARATOR, Close, encode
from riskd.host.secrets import REDACTED, Secret
from riskd.model.broker import BrokerOrder, BrokerPosition, BrokerQuote, BrokerTrade, Unreadable
from tests.support.broker import (
    API_KEY,
    CREDENTIALS,
    MemoryHub,
    logged,
    make_token,
    use_zone,
)
from tests.support.projectx_gateway import (
    FIRST,
    MNQ,
    SECOND,
    THIRD,
    GatewayTestCase,
)


class StartTests(GatewayTestCase):
    """The start."""

    def test_the_interfaces(self) -> None:
        verifyObject(IGateway, self.gateway)
        verifyObject(IGatewayListener, self.listener)
        self.assertEqual(self.gateway.name, "projectx")

    def test_one_login_connects_both_hubs(self) -> None:
        started = self.gateway.start(self.listener)
        self.assertEqual((self.user.tries, self.market.tries), ([], []))
        asked = self.log_in()
        self.assertEqual(asked.body, {"userName": "trader", "apiKey": API_KEY})
        for hub in (self.user, self.market):
            self.assertEqual([each.token for each in hub.tries], [Secret(FIRST)])
        self.assertNoResult(started)
        self.assertEqual(self.count("Auth/loginKey"), 1)

    def test_the_start_is_over_when_the_accounts_are_subscribed(self) -> None:
        self.ACCOUNTS = (123, 456)
        self.setUp()
        started = self.gateway.start(self.listener)
        self.log_in()
        end = self.user.accept()
        end.shake_hands()
        subscribed = []
        while end.asked:
            self.assertNoResult(started)
            invocation = end.complete()
            subscribed.append((invocation.target, *invocation.arguments))
        self.assertEqual(
            subscribed,
            [
                ("SubscribeAccounts",),
                ("SubscribeOrders", 123),
                ("SubscribePositions", 123),
                ("SubscribeTrades", 123),
                ("SubscribeOrders", 456),
                ("SubscribePositions", 456),
                ("SubscribeTrades", 456),
            ],
        )
        self.assertIsNone(self.successResultOf(started))
        self.assertIn(("restored",), self.listener.received)

    def test_the_start_fires_once(self) -> None:
        user, _ = self.start()
        fired: list[Any] = []
        self.started.addCallback(fired.append)
        for _ in range(2):
            user.connection.end("lost")
            self.pass_time(1)
            user = self.user.accept()
            user.open()
        self.assertEqual(fired, [None])

    def test_the_start_does_not_wait_for_the_market_hub(self) -> None:
        started = self.gateway.start(self.listener)
        self.log_in()
        self.market.refuse()
        self.user.accept().open()
        self.successResultOf(started)

    def test_the_start_is_tried_until_it_succeeds(self) -> None:
        started = self.gateway.start(self.listener)
        self.answer_badly("Auth/loginKey")
        self.pass_time(0.25)
        self.log_in()
        self.user.refuse()
        self.pass_time(0.25)
        self.user.accept().connection.end("lost")
        self.pass_time(0.5)
        self.assertNoResult(started)
        self.user.accept().open()
        self.successResultOf(started)

    def test_a_failed_login_is_reported_as_a_problem(self) -> None:
        self.credentials = CredentialsError("the file riskd.key is missing")
        started = self.gateway.start(self.listener)
        self.assertEqual(
            self.listener.of("problem"),
            [("login", "riskd cannot log in, nothing is guarded: the file riskd.key is missing")],
        )
        self.credentials = CREDENTIALS
        self.pass_time(30)
        self.log_in()
        self.assertEqual(self.listener.of("problem")[-1], ("login", ""))
        self.bring_up()
        self.successResultOf(started)

    def test_the_start_may_be_canceled(self) -> None:
        started = self.gateway.start(self.listener)
        started.cancel()
        self.failureResultOf(started, CancelledError)
        self.log_in()
        self.bring_up()


class ConnectionTests(GatewayTestCase):
    """Connections for requests."""

    def test_connections_are_open_right_after_the_login(self) -> None:
        self.gateway.start(self.listener)
        self.pass_time(1)
        self.assertEqual(self.broker.tries, 1)
        self.log_in()
        self.broker.accept_all()
        self.assertEqual(len(self.broker.connections), 2)

    def test_commands_that_are_expected_find_connections(self) -> None:
        self.start()
        self.gateway.expect_commands(4)
        self.broker.accept_all()
        for order_id in range(4):
            self.gateway.carry_out(CancelOrder(account_id=123, order_id=order_id))
        self.assertEqual((self.count("Order/cancel"), self.broker.tries), (4, 4))

    def test_pings_count_as_requests_and_report_the_clock(self) -> None:
        self.start()
        self.broker.accept_all()
        self.listener.clock_reports.clear()
        for _ in range(16):
            self.reactor.advance(1)
            for connection in self.broker.connections:
                connection.answer_pings("Date: Fri, 13 Sep 2024 12:00:07 GMT")
        at = datetime(2024, 9, 13, 12, 0, 7, tzinfo=UTC)
        self.assertEqual(self.listener.clock_reports, [(at, 1.0, 0.0)] * 2)
        self.assertTrue(self.gateway.has_room(138))
        self.assertFalse(self.gateway.has_room(139))


class EventTests(GatewayTestCase):
    """Events and problems."""

    def setUp(self) -> None:
        super().setUp()
        use_zone(self, "America/New_York")
        self.user_end, self.market_end = self.start()
        self.listener.received.clear()

    def test_events_of_accounts(self) -> None:
        common = {"accountId": 123, "contractId": MNQ, "creationTimestamp": "2025-07-17T14:00:00Z"}
        order = {**common, "id": 7, "status": 1, "type": 1, "side": 0, "size": 1}
        position = {**common, "id": 1, "type": 1, "size": 2, "averagePrice": 21000}
        trade = {**common, "size": 1}
        self.user_end.send_event("GatewayUserOrder", {"action": 1, "data": order})
        self.user_end.send_event("gatewayuserposition", {"action": 2, "data": position})
        self.user_end.send_event("GatewayUserTrade", [{**trade, "id": 5}, {**trade, "id": 6}])
        self.user_end.send_event("GatewayUserTrade", {"accountId": 123, "id": 7})
        self.user_end.send_event("GatewaySomething", {"accountId": 123, "id": 9})
        self.assertEqual(
            [(type(news), news.id) for _account, news in self.listener.of("news")],
            [
                (BrokerOrder, 7),
                (BrokerPosition, 1),
                (BrokerTrade, 5),
                (BrokerTrade, 6),
                (Unreadable, 7),
            ],
        )
        self.assertEqual({account_id for account_id, _news in self.listener.of("news")}, {123})
        self.assertEqual(self.listener.of("news")[1][1].size, 0)

    def test_quotes(self) -> None:
        self.gateway.follow_quotes(MNQ)
        self.assertEqual(self.market_end.complete().target, "SubscribeContractQuotes")
        self.market_end.send_event("GatewayQuote", MNQ, {"lastPrice": Decimal("0.25")})
        self.market_end.send_event("GatewayTrade", MNQ, {"price": 1})
        self.assertEqual(
            self.listener.received,
            [("quote", BrokerQuote(MNQ, last=Decimal("0.25")))],
        )

    def test_refused_quotes_are_reported_as_a_problem(self) -> None:
        self.gateway.follow_quotes(MNQ)
        self.market_end.complete("no data subscription")
        ((source, sentence),) = self.listener.of("problem")
        self.assertEqual(source, f"quotes of {MNQ}")
        self.assertEqual(sentence, f"The broker sends no quotes of {MNQ}: no data subscription")

    def test_a_lost_feed_is_reported_with_its_time_until_it_is_restored(self) -> None:
        self.pass_time(61)
        self.user_end.connection.end("lost")
        for wait in (0.25, 0.5, 1):
            self.pass_time(wait)
            self.user.refuse()
        (first,), *_, (second,) = self.listener.of("lost")
        self.assertIn("missing since 10:01:01: lost", first)
        self.assertIn("missing since 10:01:01: no connection", second)
        self.pass_time(2)
        self.user.accept().open()
        self.assertEqual(self.listener.received[-1], ("restored",))

    def test_the_next_loss_has_a_time_of_its_own(self) -> None:
        self.user_end.connection.end("lost")
        self.pass_time(1)
        end = self.user.accept()
        end.open()
        self.pass_time(20)
        end.connection.end("lost again")
        self.assertIn("since 10:00:21: lost again", self.listener.of("lost")[-1][0])

    def test_a_lost_market_hub_is_a_problem_and_the_feed_goes_on(self) -> None:
        self.market_end.connection.end("lost")
        self.assertEqual(self.listener.of("lost"), [])
        ((source, sentence),) = self.listener.of("problem")
        self.assertEqual(source, "quotes")
        self.assertIn("No quotes since 10:00:00: lost", sentence)
        self.pass_time(1)
        self.market.accept().open()
        self.assertEqual(self.listener.of("problem")[-1], ("quotes", ""))

    def test_a_refused_subscription_is_a_problem_until_it_is_accepted(self) -> None:
        self.user_end.connection.end("lost")
        self.pass_time(0.25)
        self.listener.received.clear()
        end = self.user.accept()
        end.shake_hands()
        end.complete()
        end.complete("not entitled")
        end.complete_all()
        self.assertEqual(
            self.listener.received,
            [
                (
                    "problem",
                    "orders of account 123",
                    "The broker does not send orders of account 123: not entitled",
                ),
                ("restored",),
            ],
        )
        self.listener.received.clear()
        self.pass_time(30)
        self.assertEqual(end.complete().target, "SubscribeOrders")
        # Events may have been missed meanwhile.
        self.assertEqual(
            [received for received in self.listener.received if received[1:2] != ("quotes",)],
            [("problem", "orders of account 123", ""), ("restored",)],
        )

    def test_an_accepted_subscription_does_not_restore_a_lost_feed(self) -> None:
        self.user_end.send(encode(Close()))
        self.pass_time(1)
        refusing = self.user.accept()
        refusing.shake_hands()
        refusing.complete("not now")
        refusing.send(encode(Close()))
        self.pass_time(2)
        self.listener.received.clear()
        again = self.user.accept()
        again.shake_hands()
        again.complete()
        self.assertEqual(self.listener.of("restored"), [])
        again.complete_all()
        self.assertEqual(self.listener.of("restored"), [()])

    def test_an_answer_of_rest_does_not_restore_the_feed(self) -> None:
        self.user_end.connection.end("lost")
        asked = self.gateway.search_open_orders(123)
        self.answer("Order/searchOpen", orders=[])
        self.assertEqual(self.successResultOf(asked), Found(()))
        self.assertNotIn(("restored",), self.listener.received)

    def test_an_answer_of_rest_hurries_the_hubs_that_are_down(self) -> None:
        self.user_end.connection.end("lost")
        while len(self.user.tries) < 7:
            self.pass_time(0.25)
            if self.user.is_tried:
                self.user.refuse()
        tries = len(self.user.tries), len(self.market.tries)
        self.pass_time(2)
        asked = self.gateway.search_open_orders(123)
        self.answer("Order/searchOpen", orders=[])
        self.successResultOf(asked)
        self.assertEqual((len(self.user.tries), len(self.market.tries)), (tries[0] + 1, tries[1]))


class LoginTests(GatewayTestCase):
    """Tokens that end."""

    def setUp(self) -> None:
        super().setUp()
        self.user_end, self.market_end = self.start()

    def tokens(self, hub: MemoryHub) -> list[str]:
        return [each.token.reveal() for each in hub.tries]

    def test_a_logout_ends_both_hubs_and_counts_once(self) -> None:
        self.user_end.send_event("GatewayLogout", "another session")
        self.assertTrue(self.user_end.is_dropped)
        self.assertTrue(self.market_end.is_dropped)
        self.market_end.send_event("GatewayLogout", "another session")
        self.pass_time(1.75)
        self.assertEqual(self.waiting, [])
        self.pass_time(0.25)
        self.log_in(SECOND)
        self.assertEqual(self.tokens(self.user), [FIRST, SECOND])
        self.assertEqual(self.tokens(self.market), [FIRST, SECOND])
        self.bring_up()
        self.assertEqual(self.listener.received.count(("restored",)), 2)

    def test_the_market_hub_may_report_the_logout_first(self) -> None:
        self.market_end.send_event("gatewaylogout")
        self.assertTrue(self.user_end.is_dropped)
        self.assertIn("the broker has ended the login", self.listener.of("lost")[0][0])
        self.pass_time(2)
        self.log_in(SECOND)
        self.bring_up()

    def test_events_before_a_logout_in_the_same_message_are_reported(self) -> None:
        self.user_end.send(
            b'{"type":1,"target":"GatewayUserOrder","arguments":[{"id":7,"accountId":123}]}\x1e'
            b'{"type":1,"target":"GatewayLogout","arguments":[]}\x1e'
            b'{"type":1,"target":"GatewayLogout","arguments":[]}\x1e'
        )
        ((account_id, news),) = self.listener.of("news")
        self.assertEqual((account_id, news.what, news.id), (123, "GatewayUserOrder", 7))
        self.pass_time(2)
        self.assertEqual(self.waiting, ["Auth/loginKey"])

    def test_many_logouts_are_a_problem_that_ends(self) -> None:
        for wait in (2, 4, 6, 8, 10):
            self.user_end.send_event("GatewayLogout")
            self.pass_time(wait)
            self.log_in(make_token(f"after {wait}"))
            self.user_end, self.market_end = self.bring_up()
        self.user_end.send_event("GatewayLogout")
        self.assertIn(
            "another program",
            [words for source, words in self.listener.of("problem") if source == "login"][-1],
        )
        self.pass_time(59.75)
        self.assertEqual(self.waiting, [])
        self.pass_time(0.25)
        self.log_in(make_token("at last"))
        self.user_end, self.market_end = self.bring_up()
        self.pass_time(150)
        self.assertEqual(self.listener.of("problem")[-1], ("login", ""))

    def test_a_token_that_rest_refuses_is_replaced_for_the_hubs_too(self) -> None:
        asked = self.gateway.search_open_orders(123)
        self.answer_badly("Order/searchOpen", "401 Unauthorized")
        self.log_in(SECOND)
        self.assertEqual(self.answer("Order/searchOpen", orders=[]).token, SECOND)
        self.assertEqual(self.successResultOf(asked), Found(()))
        self.assertTrue(self.user_end.is_dropped)
        self.assertEqual(self.tokens(self.user), [FIRST, SECOND])
        self.assertEqual(self.tokens(self.market), [FIRST, SECOND])

    def test_a_token_that_a_hub_refuses_is_replaced(self) -> None:
        self.user_end.connection.end("lost")
        self.pass_time(0.25)
        self.user.refuse(TokenRejectedError("HTTP 401"))
        self.pass_time(1)
        self.log_in(SECOND)
        self.assertEqual(self.tokens(self.user), [FIRST, FIRST, SECOND])
        self.assertEqual(self.tokens(self.market), [FIRST, SECOND])

    def test_after_20_hours_both_hubs_reconnect_with_a_new_token(self) -> None:
        for _ in range(20 * 240):
            self.reactor.advance(15)
            for end in (self.user_end, self.market_end):
                end.ping()
        self.assertEqual(self.answer("Auth/validate", newToken=SECOND).token, FIRST)
        self.assertTrue(self.user_end.is_dropped)
        self.assertTrue(self.market_end.is_dropped)
        self.assertEqual(self.tokens(self.user), [FIRST, SECOND])
        self.assertEqual(self.tokens(self.market), [FIRST, SECOND])
        self.bring_up()


class StopTests(GatewayTestCase):
    """The stop, at any moment."""

    WATCH = ("MNQ",)

    def stages(self) -> Any:
        """Yield at each moment on the way up, and on the way down again."""
        self.gateway.start(self.listener)
        yield
        self.broker.accept_all()
        yield
        self.log_in()
        yield
        user, market = self.user.accept(), self.market.accept()
        yield
        user.shake_hands()
        market.open()
        yield
        user.open()
        self.broker.accept_all()
        yield
        self.answer(
            "Contract/available",
            contracts=[{"id": MNQ, "name": "MNQU5", "activeContract": True}],
        )
        yield
        self.gateway.search_open_orders(123).addErrback(lambda _: None)
        yield
        user.send_event("GatewayLogout")
        yield
        self.pass_time(2)
        yield
        self.log_in(SECOND)
        self.user.refuse()
        self.market.refuse(TokenRejectedError("HTTP 401"))
        yield

    def test_nothing_happens_after_the_stop(self) -> None:
        for stage in range(11):
            self.setUp()
            stages = self.stages()
            for _ in range(stage + 1):
                next(stages)
            received = list(self.listener.received)
            self.successResultOf(self.gateway.stop())
            tries = len(self.user.tries), len(self.market.tries), self.broker.tries
            for connection in self.broker.connections:
                if connection.transport.connected:
                    connection.succeed(token=THIRD)
            self.pass_time(100)
            self.assertEqual(self.listener.received, received)
            self.assertEqual(
                (len(self.user.tries), len(self.market.tries), self.broker.tries), tries, stage
            )
            self.assertEqual(self.reactor.getDelayedCalls(), [], stage)

    def test_a_gateway_can_be_stopped_before_the_start(self) -> None:
        self.successResultOf(self.gateway.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_listener_may_stop_the_gateway(self) -> None:
        for kind in ("feed_restored", "feed_lost", "receive", "gateway_problem"):
            self.setUp()
            setattr(self.listener, kind, lambda *_: self.gateway.stop())
            self.gateway.start(self.listener)
            self.log_in()
            for hub in (self.user, self.market):
                if hub.is_tried:
                    end = hub.accept()
                    end.open()
                    end.send_event("GatewayUserOrder", {"id": 7, "accountId": 123})
                    end.connection.end("lost")
            tries = len(self.user.tries), len(self.market.tries)
            self.pass_time(40)
            self.assertEqual((len(self.user.tries), len(self.market.tries)), tries, kind)
            self.assertEqual(self.reactor.getDelayedCalls(), [], kind)


class SecrecyTests(GatewayTestCase):
    """Secrets."""

    WATCH = ("MNQ",)

    def test_neither_key_nor_token_is_in_any_log_sentence_or_repr(self) -> None:
        self.start()
        self.answer_badly("Contract/available", "400 Bad Request")
        asked = self.gateway.carry_out(CancelOrder(account_id=123, order_id=1))
        self.answer_badly("Order/cancel", "401 Unauthorized")
        errors = [self.failureResultOf(asked, GatewayUnansweredError).value]
        self.user.ends[-1].connection.end("lost")
        self.pass_time(1)
        self.log_in(SECOND)
        self.user.refuse(TokenRejectedError("HTTP 401"))
        self.pass_time(4)
        self.answer_badly("Auth/loginKey", "403 Forbidden")
        self.pass_time(1)
        self.log_in(THIRD)
        asked = self.gateway.search_open_orders(123)
        self.answer_badly("Order/searchOpen", "400 Bad Request")
        errors.append(self.failureResultOf(asked, GatewayRefusedError).value)
        parts = [vars(part) for part in vars(self.gateway).values() if hasattr(part, "__dict__")]
        self.gateway.stop()
        self.pass_time(60)
        seen = logged(self.events) + repr(self.listener.received) + repr(errors) + repr(parts)
        self.assertIn("logged in", seen)
        for secret in (API_KEY, FIRST, SECOND, THIRD):
            self.assertNotIn(secret, seen)

    def test_an_echo_of_the_broker_is_in_no_log_sentence_value_or_error(self) -> None:
        """What the listener receives is what riskd announces, writes and records."""
        echo = f"no such key {API_KEY} or token {FIRST}"
        refused = {"success": False, "errorCode": 99, "errorMessage": echo}
        Secret(API_KEY)
        self.gateway.start(self.listener)
        self.answer("Auth/loginKey", **{**refused, "errorMessage": f"no such key {API_KEY}"})
        self.pass_until_login()
        self.log_in()
        user, market = self.user.accept(), self.market.accept()
        market.open()
        user.shake_hands()
        user.complete(echo)
        user.complete_all()
        errors = []
        asked = self.gateway.carry_out(CancelOrder(account_id=123, order_id=1))
        self.answer("Order/cancel", **refused)
        errors.append(self.failureResultOf(asked, GatewayRefusedError).value)
        found = self.gateway.search_open_orders(123)
        row = {"id": 7, "contractId": MNQ, "side": 0, "size": 1, "status": 1}
        self.answer("Order/searchOpen", orders=[{**row, "customTag": echo}, {**row, "size": echo}])
        user.send_event("GatewayUserAccount", {"id": 123, "name": echo})
        user.send_event("GatewayUserOrder", {**row, "accountId": 123, "side": FIRST})
        market.send(encode(Close(echo)))
        user.send(f"garbage {echo}".encode() + SEPARATOR)
        seen = "".join(
            (
                logged(self.events),
                repr(self.listener.received),
                repr(errors),
                repr(self.successResultOf(found)),
            )
        )
        self.assertGreater(seen.count(REDACTED), 10)
        for secret in (API_KEY, FIRST):
            self.assertNotIn(secret, seen)
            self.assertNotIn(secret[:-1], seen)


class FreezeTests(GatewayTestCase):
    """A market hub that freezes."""

    def test_a_frozen_market_hub_reconnects_and_bars_replace_quotes(self) -> None:
        user, market = self.start()
        self.gateway.follow_quotes(MNQ)
        market.complete()
        self.pass_time(36)
        self.assertTrue(market.is_dropped)
        self.assertFalse(user.is_dropped)
        self.answer("History/retrieveBars", bars=[{"t": "2025-07-17T14:00:29Z", "c": 21000.5}])
        self.assertEqual(
            self.listener.of("quote"),
            [
                (
                    BrokerQuote(
                        MNQ,
                        last=Decimal("21000.5"),
                        stamp=datetime(2025, 7, 17, 14, 0, 29, tzinfo=UTC),
                        is_trade=True,
                    ),
                )
            ],
        )
        market = self.market.accept()
        market.open()
        self.assertEqual(market.messages[0].arguments, (MNQ,))
