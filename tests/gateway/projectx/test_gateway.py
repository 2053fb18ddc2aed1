"""The broker over the network, all of it: what is told, what is asked, and how it is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from riskd.gateway.interface import (
    GatewayRefusedError,
    GatewayUnansweredError,
    IGateway,
    IGatewayListener,
)
from riskd.gateway.projectx.credentials import Credentials, CredentialsError, Secret
from riskd.gateway.projectx.gateway import ProjectXGateway, make_agent
from riskd.gateway.projectx.hub_connection import TokenRejectedError
from riskd.gateway.signalr import Close, encode
from tests.support.broker import (
    API_KEY,
    CREDENTIALS,
    HttpConnection,
    HubEnd,
    MemoryBroker,
    MemoryHub,
    TimeOfDay,
    Upper,
    logged,
    make_token,
    observed,
    use_zone,
)

MNQ = "CON.F.US.MNQ.U25"
FIRST, SECOND, THIRD = (make_token(name) for name in ("first", "second", "third"))


@implementer(IGatewayListener)
class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def user_event(self, target: str, payload: dict[str, Any]) -> None:
        self.told.append(("user", target, payload))

    def market_event(self, target: str, contract_id: str, payload: dict[str, Any]) -> None:
        self.told.append(("market", target, contract_id, payload))

    def feed_lost(self, sentence: str) -> None:
        self.told.append(("lost", sentence))

    def feed_restored(self) -> None:
        self.told.append(("restored",))

    def gateway_problem(self, source: str, sentence: str) -> None:
        self.told.append(("problem", source, sentence))

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [told[1:] for told in self.told if told[0] == kind]


class HttpRequest(NamedTuple):
    """A request that waits for its answer."""

    connection: HttpConnection
    request: str
    token: str
    body: Any


class GatewayTestCase(SynchronousTestCase):
    ACCOUNTS: tuple[int, ...] = (123,)
    WATCH: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.events = observed(self)
        self.broker = MemoryBroker(self)
        self.reactor: MemoryReactorClock = self.broker.reactor
        self.user, self.market = MemoryHub(self.reactor), MemoryHub(self.reactor)
        self.listener = Listener()
        self.credentials: Credentials | Exception = CREDENTIALS
        self.gateway = ProjectXGateway(
            self.reactor,
            TimeOfDay(self.reactor),
            agent=make_agent(self.reactor),
            rest_url="http://127.0.0.1:8080",
            connect_user_hub=self.user,
            connect_market_hub=self.market,
            credentials=self.find_credentials,
            watch=self.WATCH,
            random=Upper(),
        )
        for account_id in self.ACCOUNTS:
            self.gateway.follow_account(account_id)
        self.answered: dict[int, int] = {}

    def find_credentials(self) -> Credentials:
        if isinstance(self.credentials, Exception):
            raise self.credentials
        return self.credentials

    @property
    def asked(self) -> list[HttpRequest]:
        """What waits for an answer."""
        self.broker.accept_all()
        found = []
        for connection in self.broker.connections:
            if connection.transport.connected:
                requests = connection.requests[self.answered.get(id(connection), 0) :]
                for first, headers, body in requests:
                    name = first.removeprefix("POST /api/").removesuffix(" HTTP/1.1")
                    token = headers.get("Authorization", "").removeprefix("Bearer ")
                    fields = json.loads(body) if body else None
                    found.append(HttpRequest(connection, name, token, fields))
        return found

    @property
    def waiting(self) -> list[str]:
        return [asked.request for asked in self.asked]

    def count(self, request: str) -> int:
        """Return how often a request was sent."""
        self.broker.accept_all()
        return sum(
            first.split()[1] == f"/api/{request}"
            for connection in self.broker.connections
            for first, _, _ in connection.requests
        )

    def take(self, request: str) -> HttpRequest:
        asked = next(asked for asked in self.asked if asked.request == request)
        key = id(asked.connection)
        self.answered[key] = self.answered.get(key, 0) + 1
        return asked

    def answer(self, request: str, **fields: Any) -> HttpRequest:
        asked = self.take(request)
        asked.connection.succeed(**fields)
        self.broker.flush()
        return asked

    def answer_badly(self, request: str, status: str = "502 Bad Gateway") -> None:
        self.take(request).connection.answer(b"", status)
        self.broker.flush()

    def log_in(self, token: str = FIRST) -> HttpRequest:
        return self.answer("Auth/loginKey", token=token)

    def pass_until_login(self) -> None:
        while "Auth/loginKey" not in self.waiting:
            self.pass_time(0.25)

    def start(self) -> tuple[HubEnd, HubEnd]:
        """Start, and let all come up; return the broker's ends of both hubs."""
        self.started = self.gateway.start(self.listener)
        self.log_in()
        return self.bring_up()

    def bring_up(self) -> tuple[HubEnd, HubEnd]:
        ends = self.user.accept(), self.market.accept()
        for end in ends:
            end.open()
        return ends

    def pass_time(self, seconds: float) -> None:
        """Let time pass in which no hub is silent."""
        for _ in range(int(seconds * 4)):
            self.reactor.advance(0.25)
            self.broker.accept_all()
            for end in (*self.user.ends, *self.market.ends):
                end.ping()


class StartTests(GatewayTestCase):
    """From nothing to a feed."""

    def test_it_is_a_gateway(self) -> None:
        verifyObject(IGateway, self.gateway)
        verifyObject(IGatewayListener, self.listener)
        self.assertEqual(self.gateway.name, "projectx")

    def test_it_logs_in_and_connects_both_hubs_with_the_token(self) -> None:
        started = self.gateway.start(self.listener)
        self.assertEqual((self.user.tries, self.market.tries), ([], []))
        asked = self.log_in()
        self.assertEqual(asked.body, {"userName": "trader", "apiKey": API_KEY})
        for hub in (self.user, self.market):
            self.assertEqual([each.token for each in hub.tries], [Secret(FIRST)])
        self.assertNoResult(started)
        self.assertEqual(self.count("Auth/loginKey"), 1)

    def test_it_is_started_when_its_accounts_are_subscribed(self) -> None:
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
        self.assertIn(("restored",), self.listener.told)

    def test_it_starts_once(self) -> None:
        user, _ = self.start()
        fired: list[Any] = []
        self.started.addCallback(fired.append)
        for _ in range(2):
            user.connection.end("lost")
            self.pass_time(1)
            user = self.user.accept()
            user.open()
        self.assertEqual(fired, [None])

    def test_it_does_not_need_the_market_hub(self) -> None:
        started = self.gateway.start(self.listener)
        self.log_in()
        self.market.refuse()
        self.user.accept().open()
        self.successResultOf(started)

    def test_it_tries_until_it_succeeds(self) -> None:
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

    def test_a_login_that_fails_is_told_as_trouble(self) -> None:
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

    def test_who_waits_for_the_start_may_give_up(self) -> None:
        started = self.gateway.start(self.listener)
        started.cancel()
        self.failureResultOf(started, CancelledError)
        self.log_in()
        self.bring_up()


class ToldTests(GatewayTestCase):
    """What is told."""

    def setUp(self) -> None:
        super().setUp()
        use_zone(self, "America/New_York")
        self.user_end, self.market_end = self.start()
        self.listener.told.clear()

    def test_events_of_accounts(self) -> None:
        order = {"id": 7, "accountId": 123, "limitPrice": Decimal("21000.25")}
        self.user_end.tell("GatewayUserOrder", {"action": 1, "data": order})
        self.user_end.tell("gatewayuserposition", {"action": 2, "data": {"id": 1, "size": 2}})
        self.user_end.tell("GatewayUserTrade", [{"id": 5}, {"id": 6}])
        self.user_end.tell("GatewaySomething", {"id": 9})
        self.assertEqual(
            self.listener.told,
            [
                ("user", "GatewayUserOrder", order),
                ("user", "GatewayUserPosition", {"id": 1, "size": 0}),
                ("user", "GatewayUserTrade", {"id": 5}),
                ("user", "GatewayUserTrade", {"id": 6}),
            ],
        )

    def test_quotes(self) -> None:
        self.gateway.follow_quotes(MNQ)
        self.assertEqual(self.market_end.complete().target, "SubscribeContractQuotes")
        self.market_end.tell("GatewayQuote", MNQ, {"lastPrice": Decimal("0.25")})
        self.market_end.tell("GatewayTrade", MNQ, {"price": 1})
        self.assertEqual(
            self.listener.told, [("market", "GatewayQuote", MNQ, {"lastPrice": Decimal("0.25")})]
        )

    def test_quotes_that_are_refused_are_told_as_trouble(self) -> None:
        self.gateway.follow_quotes(MNQ)
        self.market_end.complete("no data subscription")
        ((source, sentence),) = self.listener.of("problem")
        self.assertEqual(source, f"quotes of {MNQ}")
        self.assertEqual(sentence, f"The broker tells no quotes of {MNQ}: no data subscription")

    def test_a_lost_feed_is_told_with_its_moment_until_it_is_restored(self) -> None:
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
        self.assertEqual(self.listener.told[-1], ("restored",))

    def test_the_next_loss_has_a_moment_of_its_own(self) -> None:
        self.user_end.connection.end("lost")
        self.pass_time(1)
        end = self.user.accept()
        end.open()
        self.pass_time(20)
        end.connection.end("lost again")
        self.assertIn("since 10:00:21: lost again", self.listener.of("lost")[-1][0])

    def test_a_lost_market_hub_is_trouble_and_the_feed_goes_on(self) -> None:
        self.market_end.connection.end("lost")
        self.assertEqual(self.listener.of("lost"), [])
        ((source, sentence),) = self.listener.of("problem")
        self.assertEqual(source, "quotes")
        self.assertIn("No quotes since 10:00:00: lost", sentence)
        self.pass_time(1)
        self.market.accept().open()
        self.assertEqual(self.listener.of("problem")[-1], ("quotes", ""))

    def test_a_subscription_that_is_refused_is_told_and_accepted_later_in_step_again(self) -> None:
        self.user_end.connection.end("lost")
        self.pass_time(0.25)
        self.listener.told.clear()
        end = self.user.accept()
        end.shake_hands()
        end.complete()
        end.complete("not entitled")
        end.complete_all()
        self.assertEqual(
            self.listener.told,
            [
                (
                    "problem",
                    "orders of account 123",
                    "The broker does not tell riskd of orders of account 123: not entitled",
                ),
                ("restored",),
            ],
        )
        self.listener.told.clear()
        self.pass_time(30)
        self.assertEqual(end.complete().target, "SubscribeOrders")
        # Events may have been missed meanwhile.
        self.assertEqual(
            [told for told in self.listener.told if told[1:2] != ("quotes",)],
            [("problem", "orders of account 123", ""), ("restored",)],
        )

    def test_one_subscription_that_is_accepted_after_all_restores_no_feed(self) -> None:
        self.user_end.send(encode(Close()))
        self.pass_time(1)
        refusing = self.user.accept()
        refusing.shake_hands()
        refusing.complete("not now")
        refusing.send(encode(Close()))
        self.pass_time(2)
        self.listener.told.clear()
        again = self.user.accept()
        again.shake_hands()
        again.complete()
        self.assertEqual(self.listener.of("restored"), [])
        again.complete_all()
        self.assertEqual(self.listener.of("restored"), [()])

    def test_a_feed_that_is_lost_is_not_restored_by_rest(self) -> None:
        self.user_end.connection.end("lost")
        asked = self.gateway.search_open_orders(123)
        self.answer("Order/searchOpen", orders=[])
        self.assertEqual(self.successResultOf(asked), [])
        self.assertNotIn(("restored",), self.listener.told)

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
        self.user_end.tell("GatewayLogout", "another session")
        self.assertTrue(self.user_end.is_dropped)
        self.assertTrue(self.market_end.is_dropped)
        self.market_end.tell("GatewayLogout", "another session")
        self.pass_time(1.75)
        self.assertEqual(self.waiting, [])
        self.pass_time(0.25)
        self.log_in(SECOND)
        self.assertEqual(self.tokens(self.user), [FIRST, SECOND])
        self.assertEqual(self.tokens(self.market), [FIRST, SECOND])
        self.bring_up()
        self.assertEqual(self.listener.told.count(("restored",)), 2)

    def test_the_market_hub_may_tell_of_it_first(self) -> None:
        self.market_end.tell("gatewaylogout")
        self.assertTrue(self.user_end.is_dropped)
        self.assertIn("the broker has ended the login", self.listener.of("lost")[0][0])
        self.pass_time(2)
        self.log_in(SECOND)
        self.bring_up()

    def test_events_before_a_logout_in_the_same_message_are_told(self) -> None:
        self.user_end.send(
            b'{"type":1,"target":"GatewayUserOrder","arguments":[{"id":7}]}\x1e'
            b'{"type":1,"target":"GatewayLogout","arguments":[]}\x1e'
            b'{"type":1,"target":"GatewayLogout","arguments":[]}\x1e'
        )
        self.assertEqual(self.listener.of("user"), [("GatewayUserOrder", {"id": 7})])
        self.pass_time(2)
        self.assertEqual(self.waiting, ["Auth/loginKey"])

    def test_many_logouts_are_told_as_trouble_which_ends(self) -> None:
        for wait in (2, 4, 6, 8, 10):
            self.user_end.tell("GatewayLogout")
            self.pass_time(wait)
            self.log_in(make_token(f"after {wait}"))
            self.user_end, self.market_end = self.bring_up()
        self.user_end.tell("GatewayLogout")
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
        self.assertEqual(self.successResultOf(asked), [])
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

    def test_after_20_hours_both_hubs_are_connected_with_a_new_token(self) -> None:
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


class ReadTests(GatewayTestCase):
    """What is asked."""

    SINCE = datetime(2025, 7, 16, 18, 0, 0, 500000, tzinfo=timezone(timedelta(hours=-5)))

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def asks(self, asked: Deferred[Any], request: str, body: Any, **fields: Any) -> Any:
        """See what is asked, answer it, and return what comes of it."""
        sent = self.answer(request, **fields)
        self.assertEqual((sent.body, sent.token), (body, FIRST))
        return self.successResultOf(asked)

    def test_lists(self) -> None:
        since = "2025-07-16T23:00:00.500000+00:00"
        gateway, found = self.gateway, [{"id": n, "accountId": 123} for n in (1, 2)]
        for asked, request, body, name in (
            (gateway.search_open_positions(123), "Position/searchOpen", {}, "positions"),
            (gateway.search_open_orders(123), "Order/searchOpen", {}, "orders"),
            (
                gateway.search_orders(123, self.SINCE),
                "Order/search",
                {"startTimestamp": since},
                "orders",
            ),
            (
                gateway.search_trades(123, self.SINCE),
                "Trade/search",
                {"startTimestamp": since},
                "trades",
            ),
        ):
            answer = self.asks(asked, request, {"accountId": 123, **body}, **{name: found})
            self.assertEqual(answer, found)

    def test_a_list_that_is_missing_is_not_an_empty_one(self) -> None:
        asked = self.gateway.search_open_positions(123)
        self.answer("Position/searchOpen", positions=None)
        self.failureResultOf(asked, GatewayUnansweredError)

    def test_what_is_of_another_account_is_no_answer(self) -> None:
        gateway = self.gateway
        foreign = {"id": 1, "accountId": 456}
        for asked, request, fields in (
            (gateway.search_open_positions(123), "Position/searchOpen", {"positions": [foreign]}),
            (gateway.search_open_orders(123), "Order/searchOpen", {"orders": [foreign]}),
            (gateway.search_orders(123, self.SINCE), "Order/search", {"orders": [foreign]}),
            (gateway.search_order(123, 1), "Order/searchById", {"order": foreign}),
            (gateway.search_trades(123, self.SINCE), "Trade/search", {"trades": [foreign]}),
        ):
            self.answer(request, **fields)
            self.failureResultOf(asked, GatewayUnansweredError)

    def test_trades_come_oldest_first_however_their_moments_are_written(self) -> None:
        moments = [
            "2025-07-17T14:00:00Z",
            "2025-07-17T14:00:00.1Z",
            "2025-07-17T14:00:00.12+00:00",
            "2025-07-17T14:00:00.123Z",
            "2025-07-17T14:00:00.1234567Z",
            "2025-07-17T14:00:01",
            "2025-07-17T14:00:01.5+00:00",
        ]
        trades = [
            {"id": n, "accountId": 123, "creationTimestamp": moment}
            for n, moment in enumerate(moments)
        ]
        asked = self.gateway.search_trades(123, self.SINCE)
        self.answer("Trade/search", trades=trades[::-1])
        self.assertEqual(self.successResultOf(asked), trades)

    def test_trades_of_one_moment_come_by_their_ids(self) -> None:
        moment = "2025-07-17T14:00:00Z"
        trades = [{"id": n, "accountId": 123, "creationTimestamp": moment} for n in (9, 10, 11)]
        asked = self.gateway.search_trades(123, self.SINCE)
        self.answer("Trade/search", trades=trades[::-1])
        self.assertEqual(self.successResultOf(asked), trades)

    def test_trades_that_cannot_be_read_are_handed_on_all_the_same(self) -> None:
        unreadable: list[dict[str, Any]] = [
            {"id": "x"},
            {"creationTimestamp": 5},
            {"id": 1, "creationTimestamp": "noon"},
        ]
        trades = [{"accountId": 123, **trade} for trade in unreadable]
        asked = self.gateway.search_trades(123, self.SINCE)
        self.answer("Trade/search", trades=trades)
        self.assertCountEqual(self.successResultOf(asked), trades)

    def test_an_order_and_a_contract(self) -> None:
        found = {"id": 7, "accountId": 123}
        self.assertEqual(
            self.asks(
                self.gateway.search_order(123, 7),
                "Order/searchById",
                {"accountId": 123, "orderId": 7},
                order=found,
            ),
            found,
        )
        self.assertEqual(
            self.asks(
                self.gateway.search_contract(MNQ),
                "Contract/searchById",
                {"contractId": MNQ},
                contract=found,
            ),
            found,
        )

    def test_an_account_is_found_though_it_may_not_trade(self) -> None:
        accounts = [{"id": 1}, {"id": 123, "canTrade": False}]
        self.assertEqual(
            self.asks(
                self.gateway.search_account(123),
                "Account/search",
                {"onlyActiveAccounts": False},
                accounts=accounts,
            ),
            accounts[1],
        )

    def test_an_account_that_is_not_listed_is_refused(self) -> None:
        asked = self.gateway.search_account(123)
        self.answer("Account/search", accounts=[{"id": 1, "name": "EXPRESS-1"}, {}])
        refusal = self.failureResultOf(asked, GatewayRefusedError).value
        self.assertEqual(refusal.code, 1)
        self.assertEqual(
            refusal.why, "this login has no such account, but 1 (EXPRESS-1), None (None)"
        )

    def test_a_read_is_asked_again(self) -> None:
        asked = self.gateway.search_open_orders(123)
        self.answer_badly("Order/searchOpen")
        self.pass_time(0.25)
        self.answer("Order/searchOpen", orders=[])
        self.assertEqual(self.successResultOf(asked), [])

    def test_urgent_reads_have_room_when_others_have_none(self) -> None:
        for _ in range(140):
            self.gateway._requests._rate_limit.spend(self.reactor.seconds())
        self.assertFalse(self.gateway.has_room(1))
        for ask in (
            lambda urgent: self.gateway.search_open_positions(123, urgent=urgent),
            lambda urgent: self.gateway.search_open_orders(123, urgent=urgent),
            lambda urgent: self.gateway.search_orders(123, self.SINCE, urgent=urgent),
            lambda urgent: self.gateway.search_order(123, 7, urgent=urgent),
        ):
            waiting = ask(False)
            self.assertEqual(self.waiting, [])
            urgent = ask(True)
            self.assertEqual(len(self.waiting), 1)
            for asked in (waiting, urgent):
                asked.cancel()
                self.failureResultOf(asked, CancelledError)

    def test_who_gives_up_is_told_nothing_else(self) -> None:
        for asked in (
            self.gateway.search_account(123),
            self.gateway.search_open_orders(123),
            self.gateway.search_order(123, 7),
            self.gateway.cancel_order(123, 7),
            self.gateway.place_order(123, {}),
        ):
            asked.cancel()
            self.failureResultOf(asked, CancelledError)


class ChangeTests(GatewayTestCase):
    """What is changed."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def changes(self) -> Iterator[tuple[str, Deferred[Any], dict[str, Any]]]:
        """Yield each change as it is asked for, with what is to be sent."""
        gateway = self.gateway
        order = {"type": 4, "stopPrice": Decimal("0.25")}
        named, held = {"accountId": 123, "orderId": 7}, {"accountId": 123, "contractId": MNQ}
        yield (
            "Order/place",
            gateway.place_order(123, order),
            {"accountId": 123, "type": 4, "stopPrice": 0.25},
        )
        yield "Order/cancel", gateway.cancel_order(123, 7), named
        yield "Order/modify", gateway.modify_order(123, 7, {"size": 2}), {**named, "size": 2}
        yield "Position/closeContract", gateway.close_contract(123, MNQ), held
        yield (
            "Position/partialCloseContract",
            gateway.partial_close_contract(123, MNQ, 2),
            {**held, "size": 2},
        )

    def test_each_is_asked_as_documented(self) -> None:
        for request, asked, body in self.changes():
            self.assertEqual(self.answer(request, orderId=99).body, body)
            result = self.successResultOf(asked)
            self.assertEqual(result, 99 if request == "Order/place" else None)

    def test_each_is_sent_once_whatever_the_broker_does(self) -> None:
        for status in ("401 Unauthorized", "429 Too Many Requests", "500 Oops", "404 Not Found"):
            self.setUp()
            for request, asked, _ in self.changes():
                self.answer_badly(request, status)
                self.failureResultOf(asked, GatewayUnansweredError)
                if "401" in status:
                    self.pass_until_login()
                    self.log_in(make_token(request))
                self.pass_time(30)
                self.assertEqual(self.count(request), 1)

    def test_each_is_sent_once_if_nothing_is_answered(self) -> None:
        for request, asked, _ in self.changes():
            self.assertIn(request, self.waiting)
            self.pass_time(4)
            self.failureResultOf(asked, GatewayUnansweredError)
            self.pass_time(30)
            self.assertEqual(self.count(request), 1)

    def test_an_order_without_an_id_may_have_been_placed_or_not(self) -> None:
        for order_id in (None, "7", True, 7.5):
            asked = self.gateway.place_order(123, {})
            self.answer("Order/place", orderId=order_id)
            self.failureResultOf(asked, GatewayUnansweredError)

    def test_a_refusal_says_why(self) -> None:
        asked = self.gateway.place_order(123, {})
        body = b'{"success":false,"errorCode":2,"errorMessage":"Stop is too near","orderId":9}'
        self.take("Order/place").connection.answer(body)
        refusal = self.failureResultOf(asked, GatewayRefusedError).value
        self.assertEqual((refusal.code, refusal.message), (2, "Stop is too near"))


class ManyOrdersTests(GatewayTestCase):
    """A trader who places orders faster than the broker lets them be canceled."""

    def test_a_position_is_closed_all_the_same(self) -> None:
        self.start()
        for number in range(250):
            canceling = self.gateway.cancel_order(123, number)
            canceling.addErrback(lambda failure: failure.trap(CancelledError))
            self.addCleanup(canceling.cancel)
        self.assertTrue(150 < self.count("Order/cancel") < 175)
        for asked, request in (
            (self.gateway.search_open_positions(123, urgent=True), "Position/searchOpen"),
            (self.gateway.search_open_orders(123, urgent=True), "Order/searchOpen"),
            (self.gateway.close_contract(123, MNQ), "Position/closeContract"),
        ):
            self.addCleanup(asked.cancel)
            asked.addErrback(lambda failure: failure.trap(CancelledError))
            self.assertEqual(self.count(request), 1)


class StopTests(GatewayTestCase):
    """The end, at any moment."""

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
        user.tell("GatewayLogout")
        yield
        self.pass_time(2)
        yield
        self.log_in(SECOND)
        self.user.refuse()
        self.market.refuse(TokenRejectedError("HTTP 401"))
        yield

    def test_nothing_is_done_or_told_afterwards(self) -> None:
        for stage in range(11):
            self.setUp()
            stages = self.stages()
            for _ in range(stage + 1):
                next(stages)
            told = list(self.listener.told)
            self.successResultOf(self.gateway.stop())
            tries = len(self.user.tries), len(self.market.tries), self.broker.tries
            for connection in self.broker.connections:
                if connection.transport.connected:
                    connection.succeed(token=THIRD)
            self.pass_time(100)
            self.assertEqual(self.listener.told, told)
            self.assertEqual(
                (len(self.user.tries), len(self.market.tries), self.broker.tries), tries, stage
            )
            self.assertEqual(self.reactor.getDelayedCalls(), [], stage)

    def test_before_the_start(self) -> None:
        self.successResultOf(self.gateway.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_whoever_is_told_may_stop_it(self) -> None:
        for kind in ("feed_restored", "feed_lost", "user_event", "gateway_problem"):
            self.setUp()
            setattr(self.listener, kind, lambda *_: self.gateway.stop())
            self.gateway.start(self.listener)
            self.log_in()
            for hub in (self.user, self.market):
                if hub.is_tried:
                    end = hub.accept()
                    end.open()
                    end.tell("GatewayUserOrder", {"id": 7})
                    end.connection.end("lost")
            tries = len(self.user.tries), len(self.market.tries)
            self.pass_time(40)
            self.assertEqual((len(self.user.tries), len(self.market.tries)), tries, kind)
            self.assertEqual(self.reactor.getDelayedCalls(), [], kind)


class SecrecyTests(GatewayTestCase):
    """What nobody may read."""

    WATCH = ("MNQ",)

    def test_neither_key_nor_token_is_in_any_log_sentence_or_repr(self) -> None:
        self.start()
        self.answer_badly("Contract/available", "400 Bad Request")
        asked = self.gateway.place_order(123, {"size": 1})
        self.answer_badly("Order/place", "401 Unauthorized")
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
        seen = logged(self.events) + repr(self.listener.told) + repr(errors) + repr(parts)
        self.assertIn("logged in", seen)
        for secret in (API_KEY, FIRST, SECOND, THIRD):
            self.assertNotIn(secret, seen)


class FreezeTests(GatewayTestCase):
    """A market hub that freezes."""

    def test_only_the_market_hub_is_connected_anew_and_bars_stand_in(self) -> None:
        user, market = self.start()
        self.gateway.follow_quotes(MNQ)
        market.complete()
        self.pass_time(36)
        self.assertTrue(market.is_dropped)
        self.assertFalse(user.is_dropped)
        self.answer("History/retrieveBars", bars=[{"t": "2025-07-17T14:00:29Z", "c": 21000.5}])
        self.assertEqual(
            self.listener.of("market"),
            [
                (
                    "GatewayQuote",
                    MNQ,
                    {"lastPrice": Decimal("21000.5"), "timestamp": "2025-07-17T14:00:29Z"},
                )
            ],
        )
        market = self.market.accept()
        market.open()
        self.assertEqual(market.said[0].arguments, (MNQ,))
