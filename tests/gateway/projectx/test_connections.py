"""Connections that are open before a request needs them, in memory."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IResponse

from riskd.gateway.interface import GatewayUnansweredError
from riskd.gateway.projectx.connections import (
    IDLE_SECONDS,
    MOST_CONNECTIONS,
    PING_AFTER_SECONDS,
    PING_SECONDS,
    BrokerAgent,
)
from riskd.gateway.projectx.rest import Rest
from tests.support.broker import HttpConnection, MemoryBroker, Upper, observed

URL = "http://127.0.0.1:8080"


class ConnectionsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.events = observed(self)
        self.broker = MemoryBroker(self)
        self.reactor = self.broker.reactor
        self.may_ping = True
        self.pings = 0
        self.answers: list[tuple[int, float]] = []
        self.agent = BrokerAgent(self.reactor, Upper())
        self.ordinary = Rest(self.agent, URL, self.reactor)
        self.urgent = Rest(self.agent.urgent, URL, self.reactor)
        self.seen: dict[int, int] = {}

    def keep_warm(self) -> None:
        self.agent.keep_warm(f"{URL}/api/Status/ping", self.count_ping, self.ping_answered)

    def ping_answered(self, response: IResponse, sent_at: float) -> None:
        self.answers.append((response.code, sent_at))

    def count_ping(self) -> bool:
        self.pings += self.may_ping
        return self.may_ping

    def warm_up(self, commands: int = 0) -> list[HttpConnection]:
        """Log in, and return the connections that are open then."""
        self.keep_warm()
        self.agent.expect_commands(commands)
        login = self.post("Auth/loginKey")
        connection = self.broker.accept()
        connection.succeed()
        self.seen[id(connection)] = 1
        self.successResultOf(login)
        self.broker.accept_all()
        return self.open

    def post(self, request: str, *, urgent: bool = False) -> Deferred[Any]:
        rest = self.urgent if urgent else self.ordinary
        asked: Deferred[Any] = Deferred.fromCoroutine(rest.post(request, {}, None, 60))
        self.broker.flush()
        return asked

    @property
    def open(self) -> list[HttpConnection]:
        return [each for each in self.broker.connections if each.transport.connected]

    def on(self, request: str) -> HttpConnection:
        """Return the connection that a request was sent on last."""
        return [
            each
            for each in self.broker.connections
            if any(request in first for first, _, _ in each.requests)
        ][-1]

    def pass_time(self, seconds: float, *, pongs: bool = True) -> None:
        for _ in range(int(seconds * 4)):
            self.reactor.advance(0.25)
            self.broker.accept_all()
            for connection in self.open if pongs else ():
                connection.answer_pings()


class NumberTests(ConnectionsTestCase):
    """How many connections are held open."""

    def test_none_is_opened_before_the_broker_has_answered(self) -> None:
        self.keep_warm()
        self.agent.expect_commands(4)
        self.pass_time(5)
        self.assertEqual(self.broker.tries, 0)
        self.post("Auth/loginKey")
        self.broker.accept_all()
        self.pass_time(5)
        self.assertEqual(self.broker.tries, 1)

    def test_one_is_held_for_each_command_from_2_to_8(self) -> None:
        for commands, connections in ((0, 2), (1, 2), (2, 2), (3, 3), (8, 8), (9, 8), (500, 8)):
            self.setUp()
            self.assertEqual(len(self.warm_up(commands)), connections)
            self.pass_time(120)
            self.assertEqual(self.broker.tries, connections)

    def test_more_are_opened_when_more_commands_are_expected(self) -> None:
        self.warm_up(0)
        self.agent.expect_commands(5)
        self.broker.accept_all()
        self.assertEqual(len(self.open), 5)

    def test_those_that_are_not_wanted_end_by_themselves(self) -> None:
        self.warm_up(6)
        self.agent.expect_commands(1)
        self.pass_time(IDLE_SECONDS + 2)
        self.assertEqual(len(self.open), 2)
        self.assertEqual(self.broker.tries, 6)

    def test_a_lost_one_is_replaced_at_once(self) -> None:
        first, second = self.warm_up()
        self.pass_time(10)
        first.transport.loseConnection()
        self.broker.accept_all()
        self.assertEqual(len(self.open), 2)
        self.assertIn(second, self.open)

    def test_all_lost_ones_are_replaced_at_once(self) -> None:
        before = self.warm_up(5)
        self.pass_time(10)
        for connection in before:
            connection.transport.loseConnection()
        self.broker.accept_all()
        self.assertEqual(len(self.open), 5)

    def test_one_that_speaks_without_a_request_is_replaced(self) -> None:
        first, second = self.warm_up()
        first.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
        self.broker.accept_all()
        self.assertFalse(first.transport.connected)
        self.assertEqual(len(self.open), 2)
        self.assertIn(second, self.open)
        self.flushLoggedErrors()

    def test_no_more_than_8_are_kept_after_a_storm(self) -> None:
        self.warm_up()
        asked = [self.post("Order/cancel", urgent=True) for _ in range(20)]
        self.broker.accept_all()
        for connection in self.open:
            if connection.requests[-1][0].startswith("POST /api/Order/cancel"):
                connection.succeed()
        for each in asked:
            self.successResultOf(each)
        self.broker.flush()
        self.assertEqual(len(self.open), MOST_CONNECTIONS)

    def test_a_broker_that_closes_each_connection_is_not_hammered(self) -> None:
        self.warm_up()
        for _ in range(60):
            for connection in self.open:
                connection.transport.loseConnection()
            self.pass_time(1)
        self.assertTrue(10 < self.broker.tries < 70, self.broker.tries)

    def test_a_broker_that_refuses_connections_is_not_hammered(self) -> None:
        self.warm_up()
        for connection in self.open:
            connection.transport.loseConnection()
        for _ in range(240):
            self.reactor.advance(0.25)
            self.broker.refuse_all()
        self.assertTrue(10 < self.broker.tries < 80, self.broker.tries)

    def test_a_broker_that_is_back_gets_its_connections_back(self) -> None:
        self.test_a_broker_that_refuses_connections_is_not_hammered()
        self.pass_time(31)
        self.assertEqual(len(self.open), 2)

    def test_a_broker_that_keeps_no_connection_gets_none_ahead_of_need(self) -> None:
        self.keep_warm()
        for _ in range(3):
            asked = self.post("Auth/loginKey")
            connection = self.broker.accept()
            connection.answer(b'{"success":true}', "200 OK", "Connection: close")
            connection.transport.loseConnection()
            self.successResultOf(asked)
            self.pass_time(10)
        self.assertEqual(self.broker.tries, 3)

    def test_stopping_closes_all_and_leaves_nothing_running(self) -> None:
        for has_dial in (False, True):
            self.setUp()
            self.warm_up(4)
            if has_dial:
                self.agent.expect_commands(8)
            under_way = self.post("Order/cancel", urgent=True)
            self.agent.stop()
            self.broker.accept_all()
            (connection,) = self.open
            connection.succeed()
            self.successResultOf(under_way)
            self.reactor.advance(1)
            self.assertEqual(self.open, [])
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_request_after_the_stop_is_sent(self) -> None:
        self.warm_up()
        self.agent.stop()
        asked = self.post("Order/cancel", urgent=True)
        self.broker.accept().succeed()
        self.successResultOf(asked)
        self.reactor.advance(1)
        self.assertEqual(self.open, [])

    def test_no_request_goes_to_another_server(self) -> None:
        self.warm_up()
        elsewhere = Rest(self.agent, "http://127.0.0.1:9", self.reactor)
        asked = Deferred.fromCoroutine(elsewhere.post("Order/cancel", {}, None, 4))
        self.failureResultOf(asked, GatewayUnansweredError)


class PingTests(ConnectionsTestCase):
    """Connections stay alive."""

    def test_each_idle_connection_is_pinged_before_20_s_have_passed(self) -> None:
        self.warm_up(8)
        # How many requests each has received, and when the latest came.
        latest = {id(connection): (0, 0.0) for connection in self.open}
        for _ in range(4 * 300):
            for connection in self.open:
                before = len(connection.received)
                connection.answer_pings()
                self.assertEqual(len(connection.received), before)
            self.pass_time(0.25, pongs=False)
            for connection in self.open:
                count, at = latest[id(connection)]
                received = len(connection.received)
                if received != count:
                    latest[id(connection)] = received, self.reactor.seconds()
                self.assertTrue(self.reactor.seconds() - at < 20)
        self.assertEqual((self.broker.tries, len(self.open)), (8, 8))
        # 8 connections, 4 a minute each.
        self.assertTrue(8 * 15 <= self.pings <= 8 * 20, self.pings)

    def test_one_is_pinged_at_a_time(self) -> None:
        self.warm_up(4)
        self.pass_time(PING_AFTER_SECONDS + 1, pongs=False)
        self.assertEqual(self.pings, 1)
        for number in range(3):
            self.post(f"Position/closeContract{number}", urgent=True)
        taken = {id(self.on(f"Position/closeContract{number}")) for number in range(3)}
        self.assertEqual((self.broker.tries, len(taken)), (4, 3))

    def test_a_request_saves_the_ping(self) -> None:
        self.warm_up()
        for number in range(20):
            self.pass_time(7, pongs=False)
            asked = self.post(f"Account/{number}/")
            self.on(f"Account/{number}/").succeed()
            self.successResultOf(asked)
        self.assertEqual((self.pings, self.broker.tries), (0, 2))

    def test_a_ping_is_a_get_without_a_token(self) -> None:
        self.warm_up()
        self.pass_time(PING_AFTER_SECONDS + 1, pongs=False)
        ((first, headers, body),) = (
            each for one in self.open for each in one.received if "ping" in each[0]
        )
        self.assertEqual((first, body), ("GET /api/Status/ping HTTP/1.1", b""))
        self.assertNotIn("Authorization", headers)

    def test_the_response_to_a_ping_is_passed_on(self) -> None:
        self.warm_up()
        self.pass_time(PING_AFTER_SECONDS + 1)
        self.assertEqual(self.answers, [(200, 15.0)] * 2)

    def test_an_internal_error_with_a_response_does_not_end_the_pings(self) -> None:
        def fail(_response: IResponse, _sent_at: float) -> None:
            raise ZeroDivisionError

        self.patch(self, "ping_answered", fail)
        self.warm_up()
        self.pass_time(100)
        self.assertEqual((self.broker.tries, self.pings), (2, 12))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 12)

    def test_a_connection_whose_request_ended_long_ago_is_closed_and_replaced(self) -> None:
        self.warm_up()
        asked = self.post("Account/search")
        stuck = self.on("Account/search")
        self.pass_time(IDLE_SECONDS + 1)
        self.failureResultOf(asked, GatewayUnansweredError)
        self.assertNotIn(stuck, self.open)
        self.assertEqual(len(self.open), 2)

    def test_a_ping_that_is_refused_keeps_the_connection(self) -> None:
        self.warm_up()
        for _ in range(3):
            self.pass_time(PING_AFTER_SECONDS + 2, pongs=False)
            for connection in self.open:
                connection.answer(b"", "401 Unauthorized")
        self.assertEqual(self.broker.tries, 2)

    def test_without_room_for_pings_connections_are_replaced(self) -> None:
        self.may_ping = False
        before = self.warm_up()
        self.pass_time(IDLE_SECONDS + 1)
        self.assertEqual(len(self.open), 2)
        self.assertFalse(set(before) & set(self.open))
        self.assertEqual(self.pings, 0)

    def test_an_unanswered_ping_replaces_all_that_were_silent_as_long(self) -> None:
        before = self.warm_up(4)
        self.pass_time(PING_AFTER_SECONDS + PING_SECONDS + 1, pongs=False)
        self.assertEqual(len(self.open), 4)
        self.assertFalse(set(before) & set(self.open))
        self.assertEqual(self.pings, 1)

    def test_after_a_sleep_no_old_connection_is_used(self) -> None:
        before = self.warm_up(4)
        # One step, as the clock makes it when the machine wakes up.
        self.reactor.rightNow += 3600
        self.post("Position/closeContract", urgent=True)
        self.broker.accept_all()
        self.assertNotIn(self.on("Position/closeContract"), before)
        self.assertFalse(set(before) & set(self.open))


class ChoiceTests(ConnectionsTestCase):
    """Which connection a request takes."""

    def test_urgent_requests_leave_at_once_each_on_its_own(self) -> None:
        self.warm_up(4)
        for number in range(4):
            self.post(f"Order/cancel{number}", urgent=True)
        self.assertEqual(len({self.on(f"Order/cancel{number}") for number in range(4)}), 4)
        self.assertEqual(self.broker.tries, 4)

    def test_an_urgent_request_takes_the_one_heard_last_and_another_the_one_silent_longest(
        self,
    ) -> None:
        self.warm_up(3)
        order = []
        for name in ("Account/first", "Account/second", "Account/third"):
            self.reactor.advance(1)
            self.post(name, urgent=True)
            order.append(self.on(name))
        for connection in order:
            self.reactor.advance(1)
            connection.succeed()
        self.post("Position/closeContract", urgent=True)
        self.assertIs(self.on("Position/closeContract"), order[-1])
        self.post("Account/search")
        self.assertIs(self.on("Account/search"), order[0])

    def test_reads_leave_the_last_one_to_a_command(self) -> None:
        self.warm_up()
        reads = [self.post(f"Account/{number}") for number in range(2)]
        self.assertEqual(self.broker.tries, 3)
        self.post("Position/closeContract", urgent=True)
        self.assertEqual(len(self.on("Position/closeContract").requests), 1)
        self.assertEqual(self.broker.tries, 3)
        self.broker.accept_all()
        for number, read in enumerate(reads):
            self.on(f"Account/{number}").succeed()
            self.successResultOf(read)

    def test_reads_take_the_last_one_if_no_other_can_be_opened(self) -> None:
        self.keep_warm()
        login = self.post("Auth/loginKey")
        connection = self.broker.accept()
        connection.succeed()
        self.successResultOf(login)
        for number in range(60):
            asked = self.post(f"Account/{number}/")
            self.broker.refuse_all()
            self.assertIs(self.on(f"Account/{number}/"), connection)
            connection.succeed()
            self.successResultOf(asked)

    def test_an_urgent_request_takes_whichever_comes_first(self) -> None:
        for comes_back in (False, True):
            self.setUp()
            before = self.warm_up()
            reads = [self.post(f"Account/{number}", urgent=True) for number in range(2)]
            closing = self.post("Position/closeContract", urgent=True)
            if comes_back:
                self.on("Account/0").succeed()
                self.successResultOf(reads[0])
                self.broker.flush()
            else:
                self.broker.accept_all()
            connection = self.on("Position/closeContract")
            self.assertEqual(connection in before, comes_back)
            connection.succeed()
            self.successResultOf(closing)

    def test_an_urgent_request_comes_before_others_that_wait(self) -> None:
        self.warm_up()
        for number in range(2):
            self.post(f"Account/{number}", urgent=True)
        self.post("Account/waits")
        self.post("Position/closeContract", urgent=True)
        self.on("Account/0").succeed()
        self.broker.flush()
        self.assertIs(self.on("Position/closeContract"), self.on("Account/0"))

    def test_a_request_that_gives_up_takes_its_new_connection_along(self) -> None:
        self.warm_up()
        for number in range(2):
            self.post(f"Account/{number}", urgent=True)
        waiting = self.post("Account/waits")
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.assertTrue(self.reactor.connectors[-1].stoppedConnecting)

    def test_no_connection_fails_the_request(self) -> None:
        asked = self.post("Order/cancel", urgent=True)
        self.broker.refuse()
        self.failureResultOf(asked, GatewayUnansweredError)


class DoubtTests(ConnectionsTestCase):
    """Connections that may be dead without showing it."""

    def test_a_request_without_an_answer_replaces_all_that_were_silent_as_long(self) -> None:
        for ends in ("lost", "given up"):
            self.setUp()
            before = self.warm_up(4)
            self.pass_time(1)
            asked = self.post("Account/search")
            silent = self.on("Account/search")
            self.pass_time(1)
            self.post("Account/heard")
            heard = self.on("Account/heard")
            heard.succeed()
            asked.addErrback(lambda _: None)
            if ends == "lost":
                silent.transport.loseConnection()
            else:
                asked.cancel()
            self.broker.accept_all()
            self.assertEqual(set(before) & set(self.open), {heard})
            self.assertEqual(len(self.open), 4)

    def test_an_answer_that_closes_its_connection_casts_no_doubt(self) -> None:
        before = self.warm_up(4)
        asked = self.post("Account/search")
        connection = self.on("Account/search")
        connection.answer(b'{"success":true}', "200 OK", "Connection: close")
        connection.transport.loseConnection()
        self.successResultOf(asked)
        self.broker.accept_all()
        self.assertEqual(set(before) - set(self.open), {connection})

    def test_a_new_connection_that_fails_casts_no_doubt(self) -> None:
        before = self.warm_up(1)
        reads = [self.post(f"Account/{number}") for number in range(2)]
        self.broker.accept_all()
        new = self.on("Account/1")
        self.assertNotIn(new, before)
        new.transport.loseConnection()
        self.failureResultOf(reads[1], GatewayUnansweredError)
        self.assertTrue(set(before) <= set(self.open))


class HandshakeTests(ConnectionsTestCase):
    """Connections whose TLS handshake is under way."""

    def setUp(self) -> None:
        super().setUp()
        self.ready = self.warm_up(2)
        self.pass_time(6)
        self.broker.has_tls = True

    def lose_one(self) -> HttpConnection:
        """Lose a connection, and return the one that replaces it."""
        self.ready.pop(0).transport.loseConnection()
        self.broker.accept_all()
        return self.broker.connections[-1]

    def test_a_request_takes_one_that_is_ready_first(self) -> None:
        self.lose_one()
        self.post("Position/closeContract", urgent=True)
        self.assertIs(self.on("Position/closeContract"), self.ready[0])

    def test_an_urgent_request_takes_one_that_is_not_ready_rather_than_a_new_one(self) -> None:
        new = self.lose_one()
        for number in range(2):
            self.post(f"Order/cancel{number}", urgent=True)
        self.assertIs(self.on("Order/cancel1"), new)

    def test_another_request_waits_for_one_that_is_ready(self) -> None:
        new = self.lose_one()
        self.post("Account/waits")
        self.broker.flush()
        self.assertEqual((new.requests, self.ready[0].requests), ([], []))
        new.shake_hands()
        self.broker.flush()
        self.assertIs(self.on("Account/waits"), self.ready[0])

    def test_after_its_handshake_it_is_the_one_heard_last(self) -> None:
        new = self.lose_one()
        self.pass_time(1)
        new.shake_hands()
        self.post("Position/closeContract", urgent=True)
        self.assertIs(self.on("Position/closeContract"), new)

    def test_one_whose_handshake_does_not_end_is_replaced(self) -> None:
        new = self.lose_one()
        self.pass_time(6)
        self.assertFalse(new.transport.connected)
        self.assertEqual(len(self.open), 2)


EVENTS = (
    "ask_urgently",
    "read",
    "accept",
    "answer",
    "lose",
    "cancel",
    "wait",
    "sleep",
    "expect",
)


class CourseTests(ConnectionsTestCase):
    """Any course of events."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Deferred[Any]] = []
        self.results: list[list[Any]] = []

    @given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 9)), max_size=40))
    @settings(deadline=None)
    def test_each_request_is_sent_once_at_most_and_ends(
        self, course: list[tuple[str, int]]
    ) -> None:
        self.setUp()
        self.warm_up()
        for event, number in course:
            getattr(self, event)(number)
            self.broker.flush()
            for connection in self.open:
                # With two, the answer to one would be taken for that to the other.
                self.assertTrue(self.owed(connection) <= 1)
        for _ in range(20):
            self.pass_time(1)
            for place in range(len(self.open)):
                self.answer(place)
        sent = [
            first for connection in self.broker.connections for first, _, _ in connection.requests
        ]
        for number, results in enumerate(self.results):
            self.assertEqual(len(results), 1, f"request {number} did not end")
            self.assertTrue(sum(f"/Order/{number}/" in first for first in sent) <= 1)
        self.pass_time(2 * IDLE_SECONDS)
        self.assertTrue(2 <= len(self.open) <= MOST_CONNECTIONS)

    def owed(self, connection: HttpConnection) -> int:
        """Return how many requests of a connection are not answered."""
        return len(connection.requests) - self.seen.get(id(connection), 0)

    def ask(self, *, urgent: bool) -> None:
        results: list[Any] = []
        self.asked.append(self.post(f"Order/{len(self.asked)}/", urgent=urgent))
        self.asked[-1].addBoth(results.append)
        self.results.append(results)

    def ask_urgently(self, _number: int) -> None:
        self.ask(urgent=True)

    def read(self, _number: int) -> None:
        self.ask(urgent=False)

    def accept(self, _number: int) -> None:
        self.broker.accept_all()

    def answer(self, number: int) -> None:
        if self.open:
            connection = self.open[number % len(self.open)]
            if self.owed(connection):
                self.seen[id(connection)] = self.seen.get(id(connection), 0) + 1
                connection.succeed()

    def lose(self, number: int) -> None:
        if self.open:
            self.open[number % len(self.open)].transport.loseConnection()

    def cancel(self, number: int) -> None:
        if self.asked:
            self.asked[number % len(self.asked)].cancel()

    def wait(self, number: int) -> None:
        self.pass_time(number)

    def sleep(self, number: int) -> None:
        self.reactor.advance(10 * number)

    def expect(self, number: int) -> None:
        self.agent.expect_commands(number)
