"""Requests: how they are sent and repeated, and how they fail."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import GatewayError, GatewayRefusedError, GatewayUnansweredError
from riskd.gateway.projectx.gateway import make_agent
from riskd.gateway.projectx.http_body import MAX_BYTES
from riskd.gateway.projectx.responses import (
    AnswerTooLargeError,
    TokenRefusedError,
    TooManyRequestsError,
    UnsoundAnswerError,
)
from riskd.gateway.projectx.rest import (
    ANSWER_SECONDS,
    CHANGE_SECONDS,
    BrokerRequests,
    ConnectionLostError,
    Rest,
)
from riskd.host.secrets import Secret
from tests.support.broker import (
    TOKEN,
    HttpConnection,
    MemoryBroker,
    MemoryLogin,
    MemoryPost,
    Upper,
    logged,
    make_token,
    observed,
)

OK = {"success": True, "errorCode": 0}

FAULT = GatewayUnansweredError("Order/place", "HTTP 502")
UNAUTHORIZED = TokenRefusedError("Order/place", "HTTP 401")
TOO_MANY = TooManyRequestsError("Order/place", 10.0)
LOST = ConnectionLostError("Order/place", "the connection was lost")
REFUSED = GatewayRefusedError("Order/place", 2, "no")


class RestTestCase(SynchronousTestCase):
    """The REST side over the real HTTP client, with connections in memory."""

    def setUp(self) -> None:
        self.events = observed(self)
        self.broker = MemoryBroker(self)
        self.reactor = self.broker.reactor
        client = make_agent(self.reactor)
        self.clock_reports: list[tuple[datetime, float, float]] = []
        self.rest = Rest(
            client,
            "http://127.0.0.1:8080",
            self.reactor,
            lambda *reported: self.clock_reports.append(reported),
        )

    def post(
        self,
        request: str = "Order/place",
        body: dict[str, Any] | None = None,
        token: Secret | None = TOKEN,
        seconds: float = 4.0,
    ) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.rest.post(request, body, token, seconds))

    def assert_nothing_runs(self) -> None:
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        for connection in self.broker.connections:
            self.assertFalse(connection.transport.connected)


class PostTests(RestTestCase):
    """Requests and their responses."""

    def test_a_request_is_json_with_the_token(self) -> None:
        answer = self.post(body={"accountId": 123, "stopPrice": Decimal("21000.25")})
        connection = self.broker.accept()
        ((first, headers, body),) = connection.requests
        self.assertEqual(first, "POST /api/Order/place HTTP/1.1")
        self.assertEqual(body, b'{"accountId":123,"stopPrice":21000.25}')
        self.assertEqual(headers["Authorization"], "Bearer the-token")
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(headers["Host"], "127.0.0.1:8080")
        connection.succeed(orderId=7)
        self.assertEqual(self.successResultOf(answer), {**OK, "orderId": 7})

    def test_a_login_is_sent_without_a_token_and_a_validation_without_a_body(self) -> None:
        self.post("Auth/loginKey", {"userName": "u"}, None)
        ((_, headers, _),) = self.broker.accept().requests
        self.assertNotIn("Authorization", headers)
        self.post("Auth/validate", None)
        ((_, headers, body),) = self.broker.accept().requests
        self.assertEqual((headers["Content-Length"], body), ("0", b""))

    def test_numbers_are_exact(self) -> None:
        answer = self.post()
        self.broker.accept().answer(b'{"success":true,"errorCode":0,"balance":0.10}')
        self.assertEqual(self.successResultOf(answer)["balance"], Decimal("0.1"))

    def test_an_answer_may_arrive_in_pieces(self) -> None:
        answer = self.post()
        connection = self.broker.accept()
        data = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1f\r\n{"success":true,"errorCode":0}\n\r\n0\r\n\r\n'
        for place in range(len(data)):
            connection.send(data[place : place + 1])
        self.assertEqual(self.successResultOf(answer), OK)

    def test_an_answer_may_be_compressed(self) -> None:
        answer = self.post()
        body = gzip.compress(b'{"success":true,"errorCode":0}')
        self.broker.accept().answer(body, "200 OK", "Content-Encoding: gzip")
        self.assertEqual(self.successResultOf(answer), OK)

    def test_an_answer_may_end_with_the_connection(self) -> None:
        for body, is_whole in ((b'{"success":true,"errorCode":0}', True), (b'{"success":', False)):
            answer = self.post()
            connection = self.broker.accept()
            connection.send(b"HTTP/1.0 200 OK\r\n\r\n" + body)
            self.assertNoResult(answer)
            connection.transport.loseConnection()
            if is_whole:
                self.assertEqual(self.successResultOf(answer), OK)
            else:
                self.failureResultOf(answer, GatewayUnansweredError)

    def test_statuses_and_envelopes_are_read(self) -> None:
        for status, body, kind in (
            (
                "200 OK",
                b'{"success":false,"errorCode":2,"errorMessage":"no"}',
                GatewayRefusedError,
            ),
            ("401 Unauthorized", b"", TokenRefusedError),
            ("429 Too Many Requests", b"", TooManyRequestsError),
            ("503 Service Unavailable", b"<html>", GatewayUnansweredError),
        ):
            answer = self.post()
            connection = self.broker.accept()
            connection.answer(body, status, "Retry-After: 3", "Connection: close")
            failure = self.failureResultOf(answer, kind)
            self.assertEqual(getattr(failure.value, "seconds", 3.0), 3.0)
            connection.transport.loseConnection()

    def test_a_date_to_try_again_is_by_the_clock_of_the_answer(self) -> None:
        answer = self.post()
        self.broker.accept().answer(
            b"",
            "429 Too Many Requests",
            "Retry-After: Fri, 13 Sep 2024 12:00:40 GMT",
            "Date: Fri, 13 Sep 2024 12:00:00 GMT",
        )
        self.assertEqual(self.failureResultOf(answer, TooManyRequestsError).value.seconds, 40)

    def test_the_clock_of_the_broker_is_reported_with_each_answer_of_the_broker(self) -> None:
        """A proxy in between may send other statuses, by its own clock."""
        date = "Date: Fri, 13 Sep 2024 12:00:07 GMT"
        report = (datetime(2024, 9, 13, 12, 0, 7, tzinfo=UTC), 1.0, 0.25)
        for status, body, reports in (
            ("200 OK", b'{"success":true}', [report]),
            ("200 OK", b'{"success":false,"errorCode":2}', [report]),
            ("500 Oops", b"", []),
            ("401 No", b"", []),
        ):
            self.setUp()
            answer = self.post()
            connection = self.broker.accept()
            self.reactor.advance(0.25)
            # The head states the time, however long the body takes.
            connection.send(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{date}\r\n\r\n".encode()
            )
            self.reactor.advance(2)
            connection.send(body)
            answer.addErrback(lambda failure: failure.trap(GatewayError))
            self.successResultOf(answer)
            self.assertEqual(self.clock_reports, reports)

    def test_an_answer_without_a_readable_date_reports_no_clock(self) -> None:
        for headers in ((), ("Date: 12 o'clock",), ("Date: ",)):
            answer = self.post()
            connection = self.broker.accept()
            connection.answer(b'{"success":true}', "200 OK", "Connection: close", *headers)
            self.successResultOf(answer)
            connection.transport.loseConnection()
        self.assertEqual(self.clock_reports, [])

    def test_a_redirect_is_not_followed(self) -> None:
        for status in (
            "301 Moved",
            "302 Found",
            "303 See Other",
            "307 Temporary",
            "308 Permanent",
        ):
            self.setUp()
            answer = self.post()
            self.broker.accept().answer(b"", status, "Location: http://127.0.0.1:9/elsewhere")
            self.failureResultOf(answer, GatewayUnansweredError)
            self.assertEqual(self.broker.tries, 1)

    def test_a_connection_is_reused(self) -> None:
        answers = [self.post()]
        connection = self.broker.accept()
        connection.succeed()
        answers.append(self.post())
        self.broker.flush()
        connection.succeed()
        for answer in answers:
            self.assertEqual(self.successResultOf(answer), OK)
        self.assertEqual((self.broker.tries, len(connection.requests)), (1, 2))

    def test_an_idle_connection_is_closed(self) -> None:
        self.post()
        connection = self.broker.accept()
        connection.succeed()
        self.reactor.advance(30)
        self.assertFalse(connection.transport.connected)


class BoundedTests(RestTestCase):
    """Answers of a broker that misbehaves."""

    def refused(self, answer: Deferred[Any], connection: HttpConnection) -> str:
        """Return why a request failed; its connection has ended, and another one works."""
        error = self.failureResultOf(answer, UnsoundAnswerError).value
        self.assertFalse(connection.transport.connected)
        again = self.post()
        self.broker.accept().succeed()
        self.assertEqual(self.successResultOf(again), OK)
        return str(error)

    def test_an_answer_that_states_too_large_a_size_is_refused_before_it_comes(self) -> None:
        answer = self.post("Trade/search")
        connection = self.broker.accept()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000000\r\n\r\n")
        self.assertEqual(
            self.refused(answer, connection),
            "Trade/search was not answered: the answer is larger than 8 MB",
        )

    def test_an_answer_without_an_end_is_refused_at_the_limit(self) -> None:
        for head, piece in (
            ("Transfer-Encoding: chunked", b"10000\r\n" + b" " * 0x10000 + b"\r\n"),
            ("Connection: close", b" " * 0x10000),
        ):
            answer = self.post("Trade/search")
            connection = self.broker.accept()
            connection.send(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
            for _ in range(MAX_BYTES // 0x10000):
                connection.send(piece)
            self.assertNoResult(answer)
            connection.send(piece)
            self.assertIn("Trade/search", self.refused(answer, connection))

    def test_an_answer_of_the_largest_size_is_read(self) -> None:
        for encode, more in ((bytes, ()), (gzip.compress, ("Content-Encoding: gzip",))):
            self.setUp()
            answer = self.post()
            whole = b'{"success":true,"errorCode":0' + b" " * (MAX_BYTES - 30) + b"}"
            self.assertEqual(len(whole), MAX_BYTES)
            self.broker.accept().answer(encode(whole), "200 OK", *more)
            self.assertEqual(self.successResultOf(answer)["errorCode"], 0)

    def test_a_bomb_of_gzip_is_refused_within_the_limit_of_memory(self) -> None:
        bomb = gzip.compress(b" " * (8 * MAX_BYTES), compresslevel=1)
        answer = self.post("Order/searchOpen")
        connection = self.broker.accept()
        tracemalloc.start()
        connection.answer(bomb, "200 OK", "Content-Encoding: gzip")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertIn("Order/searchOpen", self.refused(answer, connection))
        self.assertLess(peak, 3 * MAX_BYTES)

    def test_gzip_that_is_not_sound_or_breaks_off_is_refused(self) -> None:
        for body in (b"{}", gzip.compress(b"x" * 99)[:-9]):
            answer = self.post()
            connection = self.broker.accept()
            connection.answer(body, "200 OK", "Content-Encoding: gzip")
            self.assertIn("gzip", self.refused(answer, connection))

    def test_what_comes_behind_the_end_of_gzip_is_not_given_to_zlib(self) -> None:
        given: list[int] = []
        real = zlib.decompressobj

        class Noted:
            def __init__(self, wbits: int) -> None:
                self._real = real(wbits)

            def __getattr__(self, name: str) -> Any:
                return getattr(self._real, name)

            def decompress(self, data: bytes, most: int) -> bytes:
                given.append(len(data))
                return self._real.decompress(data, most)

        self.patch(zlib, "decompressobj", Noted)
        answer = self.post()
        body = gzip.compress(b'{"success":true,"errorCode":0}')
        lines = ("Content-Encoding: gzip", f"Content-Length: {len(body) + 300}")
        head = "\r\n".join(("HTTP/1.1 200 OK", *lines, "", "")).encode()
        connection = self.broker.accept()
        connection.send(head + body)
        for _piece in range(300):
            # zlib would copy all that has come behind the end with each of them.
            connection.send(b" ")
        self.assertEqual(given, [len(body)])
        self.assertEqual(self.successResultOf(answer)["errorCode"], 0)

    def test_another_encoding_is_refused(self) -> None:
        for encoding in ("br", "gzip, gzip"):
            answer = self.post()
            connection = self.broker.accept()
            connection.answer(b"x", "200 OK", f"Content-Encoding: {encoding}")
            self.assertIn("encoding", self.refused(answer, connection))

    def test_an_answer_that_is_nested_too_deeply_is_refused(self) -> None:
        for body in (b"[" * 5_000_000, b'{"a":' * 1_000_000):
            answer = self.post("Account/search")
            connection = self.broker.accept()
            connection.answer(body)
            self.assertIn("Account/search", self.refused(answer, connection))

    def test_endless_headers_end_the_connection(self) -> None:
        for line in (b"X: y\r\n" * 100, b"x" * 600, b"HTTP/1.1 100 Continue\r\n\r\n" * 20):
            answer = self.post()
            connection = self.broker.accept()
            if line[:1] == b"X":
                connection.send(b"HTTP/1.1 200 OK\r\n")
            for _ in range(200):
                connection.send(line)
            self.failureResultOf(answer, GatewayUnansweredError)
            self.assertFalse(connection.transport.connected)

    def test_a_long_reason_is_cut_and_one_of_megabytes_refused(self) -> None:
        head = b'{"success":false,"errorCode":2,"errorMessage":"'
        answer = self.post()
        connection = self.broker.accept()
        connection.answer(head + b"\xc2\x9b" * 50_000 + b'"}')
        refusal = self.failureResultOf(answer, GatewayRefusedError).value
        self.assertEqual(refusal.why, "\\x9b" * 50)
        answer = self.post()
        self.broker.flush()
        connection.answer(head + b"\xc2\x9b" * 2_000_000 + b'"}')
        self.assertIn("Order/place", self.refused(answer, connection))

    def test_an_answer_that_echoes_a_secret_is_shown_without_it(self) -> None:
        secret = Secret(make_token("echoed"))
        echo = secret.reveal()
        for status, body in (
            ("200 OK", {"success": False, "errorCode": 2, "errorMessage": f"bad {echo}"}),
            ("200 OK", {"success": True, "errorCode": echo}),
            ("400 Bad Request", {"title": f"bad {echo}"}),
            (f"200 OK {echo}\r\nnot: a\nheader", {}),
        ):
            self.setUp()
            answer = self.post(token=secret)
            connection = self.broker.accept()
            connection.answer(json.dumps(body).encode(), status)
            connection.transport.loseConnection()
            error = self.failureResultOf(answer, GatewayError).value
            self.assertNotIn(echo, f"{error} {logged(self.events)}")


class UnansweredTests(RestTestCase):
    """Requests whose outcome is unknown."""

    def unanswered(self, answer: Deferred[Any]) -> str:
        error = self.failureResultOf(answer, GatewayUnansweredError).value
        self.assertIsInstance(error, GatewayUnansweredError)
        self.assertTrue(str(error).isprintable())
        return str(error)

    def test_no_connection(self) -> None:
        answer = self.post()
        self.broker.refuse()
        self.assertEqual(self.unanswered(answer), "Order/place was not answered: no connection")

    def test_a_name_that_cannot_be_looked_up(self) -> None:
        answer = self.post()
        self.broker.refuse(DNSLookupError("no such name"))
        self.assertEqual(
            self.unanswered(answer),
            "Order/place was not answered: the broker's name cannot be looked up",
        )

    def test_a_connection_lost_before_the_answer(self) -> None:
        answer = self.post()
        self.broker.accept().transport.loseConnection()
        self.assertEqual(
            self.unanswered(answer), "Order/place was not answered: the connection was lost"
        )

    def test_a_connection_lost_within_the_answer(self) -> None:
        answer = self.post()
        connection = self.broker.accept()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
        connection.transport.loseConnection()
        self.assertEqual(
            self.unanswered(answer), "Order/place was not answered: the connection was lost"
        )

    def test_a_lost_connection_is_told_from_other_failures(self) -> None:
        for lose, is_lost in (
            (self.lose, True),
            (self.lose_within_the_answer, True),
            (self.lose_an_old_connection, True),
            (self.broker_refuses, False),
            (lambda: self.reactor.advance(4), False),
            (lambda: self.broker.accept().answer(b"", "502 Bad Gateway"), False),
        ):
            self.setUp()
            if lose == self.lose_an_old_connection:
                self.post("Account/search")
                self.broker.accept().succeed()
            answer = self.post("Order/place", {"size": 1})
            lose()
            error = self.failureResultOf(answer, GatewayUnansweredError).value
            self.assertEqual(isinstance(error, ConnectionLostError), is_lost, lose)

    def test_an_answer_that_is_not_http(self) -> None:
        answer = self.post()
        self.broker.accept().send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        self.unanswered(answer)

    def test_an_answer_that_cannot_be_decompressed(self) -> None:
        answer = self.post()
        self.broker.accept().answer(b"not gzip", "200 OK", "Content-Encoding: gzip")
        self.unanswered(answer)

    def test_a_timeout_at_any_stage(self) -> None:
        for stage in (self.connecting, self.waiting, self.within_head, self.within_body):
            self.setUp()
            answer = self.post(seconds=4)
            stage()
            self.reactor.advance(3.9)
            self.assertNoResult(answer)
            self.reactor.advance(0.1)
            self.assertEqual(
                self.unanswered(answer), "Order/place was not answered: nothing in 4 s"
            )
            self.assert_nothing_runs()

    def connecting(self) -> None:
        """Leave the request without a connection."""

    def waiting(self) -> None:
        self.broker.accept()

    def within_head(self) -> None:
        self.broker.accept().send(b"HTTP/1.1 200 OK\r\nContent-")

    def within_body(self) -> None:
        self.broker.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")

    def sending(self) -> None:
        """Take the connection, but none of the body."""
        protocol = self.reactor.tcpClients[-1][2].buildProtocol(None)
        self.broker.connections.append(HttpConnection(protocol))

    def test_canceling_at_any_stage_leaves_nothing_running(self) -> None:
        for stage in (
            self.connecting,
            self.sending,
            self.waiting,
            self.within_head,
            self.within_body,
        ):
            self.setUp()
            answer = self.post(body={"accountId": 123})
            stage()
            answer.cancel()
            self.failureResultOf(answer, CancelledError)
            self.broker.flush()
            self.assert_nothing_runs()

    def test_no_request_is_sent_twice_whatever_happens_to_its_connection(self) -> None:
        for lose in (
            self.lose,
            self.lose_within_the_answer,
            self.lose_an_old_connection,
            self.broker_refuses,
        ):
            self.setUp()
            if lose == self.lose_an_old_connection:
                self.post("Account/search")
                self.broker.accept().succeed()
            answer = self.post("Order/place", {"size": 1})
            lose()
            self.unanswered(answer)
            self.reactor.pump([0.5] * 20)
            sent = [
                first
                for connection in self.broker.connections
                for first, _, _ in connection.requests
                if "Order/place" in first
            ]
            self.assertTrue(len(sent) <= 1, sent)
            self.assertEqual(self.broker.tries, 1)

    def lose(self) -> None:
        self.broker.accept().transport.loseConnection()

    def lose_within_the_answer(self) -> None:
        self.within_body()
        self.broker.connections[-1].transport.loseConnection()

    def lose_an_old_connection(self) -> None:
        """Lose the one that was used before, with the request in it."""
        self.broker.flush()
        self.assertEqual(len(self.broker.connections[-1].requests), 2)
        self.broker.connections[-1].transport.loseConnection()

    def broker_refuses(self) -> None:
        self.broker.refuse()

    def test_the_token_is_in_no_error_and_no_log(self) -> None:
        texts = []
        for stage in (
            self.connecting,
            self.waiting,
            self.within_body,
            self.lose,
            self.broker_refuses,
        ):
            answer = self.post("Auth/loginKey", {"apiKey": "the-key"}, TOKEN)
            stage()
            self.reactor.advance(4)
            texts.append(self.unanswered(answer))
        texts.append(logged(self.events))
        for secret in ("the-token", "the-key"):
            self.assertNotIn(secret, "\n".join(texts))


class RequestsTestCase(SynchronousTestCase):
    """Requests with a token and within the rate limit, in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.post = MemoryPost()
        self.login: Any = MemoryLogin()
        self.answers = 0
        self.requests = BrokerRequests(
            SimpleNamespace(post=self.post), self.login, self.clock, Upper(), self.answered
        )

    def answered(self) -> None:
        self.answers += 1

    def read(self, *, urgent: bool = False) -> Deferred[Any]:
        return Deferred.fromCoroutine(
            self.requests.read("Order/search", {"accountId": 123}, urgent=urgent)
        )

    def change(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.requests.change("Order/place", {"size": 1}))

    def spend(self, count: int, *, urgent: bool = True) -> None:
        for _ in range(count):
            answer = self.change() if urgent else self.read()
            self.post.answer()
            self.successResultOf(answer)


class ChangeTests(RequestsTestCase):
    """Changes."""

    def test_a_change_is_sent_with_the_token_and_four_seconds(self) -> None:
        answer = self.change()
        asked = self.post.answer(orderId=7)
        self.assertEqual(asked[:4], ("Order/place", {"size": 1}, TOKEN, CHANGE_SECONDS))
        self.assertEqual(self.successResultOf(answer)["orderId"], 7)

    def test_a_read_whose_answer_is_too_large_is_not_repeated(self) -> None:
        answer = self.read()
        error = AnswerTooLargeError("Position/searchOpen", "the answer is larger than 8 MB")
        self.post.fail(error)
        self.assertIs(self.failureResultOf(answer).value, error)

    def test_a_change_is_sent_once_whatever_the_answer(self) -> None:
        for error in (FAULT, UNAUTHORIZED, TOO_MANY, TooManyRequestsError("A", 0.0), REFUSED):
            self.setUp()
            answer = self.change()
            self.post.fail(error)
            self.assertIs(self.failureResultOf(answer).value, error)
            self.login.log_in()
            self.clock.pump([0.5] * 200)
            self.assertEqual(self.post.count, 1)

    def test_a_refused_token_is_discarded(self) -> None:
        answer = self.change()
        self.post.fail(UNAUTHORIZED)
        self.failureResultOf(answer, TokenRefusedError)
        self.assertEqual(self.login.discarded, [TOKEN])

    def test_a_change_waits_for_a_token(self) -> None:
        self.login.current = None
        answer = self.change()
        self.clock.advance(100)
        self.assertEqual(self.post.count, 0)
        self.login.log_in()
        self.assertEqual(self.post.asked[0].token, Secret("token 1"))
        self.post.answer()
        self.successResultOf(answer)

    def test_a_change_canceled_before_there_is_a_token_is_not_sent(self) -> None:
        self.login.current = None
        answer = self.change()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.login.log_in()
        self.clock.advance(100)
        self.assertEqual(self.post.count, 0)

    def test_a_change_is_sent_with_the_token_of_the_moment_it_is_sent(self) -> None:
        self.spend(200)
        answer = self.change()
        self.login.discard(TOKEN)
        self.login.log_in()
        self.clock.advance(60)
        self.assertEqual(self.post.asked[0].token, Secret("token 1"))
        self.post.answer()
        self.successResultOf(answer)


class ReadTests(RequestsTestCase):
    """Reads."""

    def test_the_first_try_is_short(self) -> None:
        answer = self.read()
        self.assertEqual(self.post.asked[0].seconds, 2.5)
        self.post.fail(FAULT)
        self.clock.advance(0.2)
        self.assertEqual(self.post.asked[0].seconds, 5)
        self.post.answer(orders=[])
        self.assertEqual(self.successResultOf(answer)["orders"], [])

    def test_a_read_is_tried_three_more_times_after_a_fault(self) -> None:
        answer = self.read()
        moments = []
        for number in range(4):
            moments.append(self.clock.seconds())
            self.post.fail(GatewayUnansweredError("Order/search", f"fault {number}"))
            self.clock.pump([0.01] * 101)
        error = self.failureResultOf(answer, GatewayUnansweredError).value
        self.assertIn("fault 3", str(error))
        self.clock.advance(100)
        self.assertEqual(self.post.count, 4)

    def test_the_waits_between_tries_are_spread(self) -> None:
        answer = self.read()
        for wait in (0.2, 0.5, 1.0):
            self.post.fail(FAULT)
            self.clock.advance(wait - 0.01)
            self.assertEqual(self.post.asked, [])
            self.clock.advance(0.011)
            self.assertEqual(self.post.waiting, ["Order/search"])
        self.post.answer()
        self.successResultOf(answer)

    def test_a_refusal_ends_the_read(self) -> None:
        answer = self.read()
        self.post.fail(REFUSED)
        self.assertIs(self.failureResultOf(answer).value, REFUSED)
        self.clock.advance(100)
        self.assertEqual(self.post.count, 1)

    def test_after_401_there_is_one_login_and_one_more_try(self) -> None:
        answer = self.read()
        self.post.fail(UNAUTHORIZED)
        self.assertEqual((self.login.discarded, self.post.asked), ([TOKEN], []))
        self.login.log_in()
        self.assertEqual(self.post.asked[0].token, Secret("token 1"))
        self.post.fail(UNAUTHORIZED)
        self.failureResultOf(answer, TokenRefusedError)
        self.login.log_in()
        self.clock.advance(100)
        self.assertEqual(self.post.count, 2)

    def test_401_may_be_the_answer_to_any_try(self) -> None:
        for faults in range(4):
            self.setUp()
            answer = self.read()
            for _ in range(faults):
                self.post.fail(FAULT)
                self.clock.advance(1)
            self.post.fail(UNAUTHORIZED)
            self.login.log_in()
            self.post.answer(orders=[])
            self.assertEqual(self.successResultOf(answer)["orders"], [])

    def test_a_fault_after_401_is_tried_again(self) -> None:
        answer = self.read()
        self.post.fail(UNAUTHORIZED)
        self.login.log_in()
        self.post.fail(FAULT)
        self.clock.advance(0.2)
        self.post.answer(orders=[])
        self.successResultOf(answer)

    def test_after_429_with_a_long_wait_there_is_no_other_try(self) -> None:
        answer = self.read()
        self.post.fail(TOO_MANY)
        self.assertIs(self.failureResultOf(answer).value, TOO_MANY)
        self.clock.advance(100)
        self.assertEqual(self.post.count, 1)

    def test_after_429_without_a_wait_there_is_another_try(self) -> None:
        answer = self.read()
        self.post.fail(TooManyRequestsError("Order/search", 0.0))
        self.clock.advance(0.2)
        self.post.answer(orders=[])
        self.successResultOf(answer)

    def test_a_read_ends_in_time(self) -> None:
        """After ``ANSWER_SECONDS`` there is an answer, or the last error."""
        self.assert_it_stops([])
        self.assertEqual(self.post.count, 2)

    def test_a_try_needs_half_a_second(self) -> None:
        for seconds, is_made in ((4.2, True), (4.4, False)):
            self.setUp()
            answer = self.read()
            self.clock.advance(2.5)
            self.post.fail(FAULT)
            self.clock.advance(0.2)
            self.clock.advance(seconds)
            self.post.fail(FAULT)
            # A reactor may be busy for long.
            self.clock.advance(20)
            self.assertEqual([asked.seconds for asked in self.post.asked], [0.5] * is_made)
            if is_made:
                self.post.fail(FAULT)
            self.assertIs(self.failureResultOf(answer).value, FAULT)

    @given(st.lists(st.tuples(st.floats(0, 6), st.sampled_from([FAULT, TOO_MANY, UNAUTHORIZED]))))
    def test_a_read_ends_in_time_however_it_fails(
        self, failures: list[tuple[float, GatewayError]]
    ) -> None:
        self.setUp()
        self.assert_it_stops(failures)

    def assert_it_stops(self, failures: list[tuple[float, GatewayError]]) -> None:
        answer = self.read()
        left = [*failures, *[(99.0, FAULT)] * 5]
        while not answer.called:
            self.assertTrue(self.clock.seconds() < ANSWER_SECONDS, self.clock.seconds())
            if self.post.asked:
                seconds, error = left.pop(0)
                self.clock.advance(min(seconds, self.post.asked[0].seconds))
                self.post.fail(error)
                self.login.log_in()
            else:
                self.clock.advance(0.05)
        self.assertIs(self.failureResultOf(answer, GatewayError).value, error)
        self.assertTrue(self.clock.seconds() <= ANSWER_SECONDS + 0.05)

    def test_canceling_a_read_at_any_moment_leaves_nothing_running(self) -> None:
        def wait_for_token() -> None:
            self.login.current = None

        def wait_for_room() -> None:
            self.spend(140, urgent=False)

        for before, after in (
            (wait_for_token, lambda: None),
            (wait_for_room, lambda: None),
            (lambda: None, lambda: None),
            (lambda: None, lambda: self.post.fail(FAULT)),
            (lambda: None, lambda: self.post.fail(UNAUTHORIZED)),
        ):
            self.setUp()
            before()
            sent = self.post.count
            answer = self.read()
            after()
            answer.cancel()
            self.failureResultOf(answer, CancelledError)
            self.login.log_in()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertEqual(self.post.asked, [])
            self.assertTrue(self.post.count <= sent + 1)


class RepeatedChangeTests(RequestsTestCase):
    """Changes whose connection was lost."""

    def ask(self, request: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.requests.change(request, {"accountId": 123}))

    def test_a_close_and_a_cancel_are_sent_again_at_once(self) -> None:
        for request in ("Position/closeContract", "Order/cancel"):
            answer = self.ask(request)
            first = self.post.fail(LOST)
            self.assertEqual(self.post.waiting, [request])
            second = self.post.answer(orderId=7)
            self.assertEqual(second.body, first.body)
            self.assertEqual(self.successResultOf(answer), {**OK, "orderId": 7})

    def test_they_are_sent_twice_at_most(self) -> None:
        answer = self.ask("Position/closeContract")
        self.post.fail(LOST)
        self.post.fail(LOST)
        self.assertIs(self.failureResultOf(answer).value, LOST)
        self.assertEqual(self.post.count, 2)

    def test_a_refusal_of_the_second_does_not_say_what_became_of_the_first(self) -> None:
        for request in ("Position/closeContract", "Order/cancel"):
            self.setUp()
            answer = self.ask(request)
            self.post.fail(LOST)
            self.post.fail(REFUSED)
            self.assertIs(self.failureResultOf(answer).value, LOST)

    def test_no_other_change_is_sent_again(self) -> None:
        for request in ("Order/place", "Order/modify", "Position/partialCloseContract"):
            self.setUp()
            answer = self.ask(request)
            self.post.fail(LOST)
            self.assertIs(self.failureResultOf(answer).value, LOST)
            self.clock.advance(60)
            self.assertEqual(self.post.count, 1)

    def test_no_other_failure_is_followed_by_another_try(self) -> None:
        for failure in (FAULT, UNAUTHORIZED, TOO_MANY, REFUSED):
            self.setUp()
            answer = self.ask("Position/closeContract")
            self.post.fail(failure)
            self.assertIs(self.failureResultOf(answer).value, failure)
            self.assertEqual(self.post.count, 1)

    def test_both_tries_together_end_in_time(self) -> None:
        answer = self.ask("Position/closeContract")
        self.clock.advance(1.5)
        self.post.fail(LOST)
        self.assertEqual(self.post.asked[0].seconds, CHANGE_SECONDS - 1.5)
        self.post.answer()
        self.successResultOf(answer)

        answer = self.ask("Position/closeContract")
        self.clock.advance(3.6)
        self.post.fail(LOST)
        self.assertIs(self.failureResultOf(answer).value, LOST)

    def test_the_second_try_counts_as_a_request(self) -> None:
        self.spend(138, urgent=False)
        answer = self.ask("Position/closeContract")
        self.post.fail(LOST)
        self.post.answer()
        self.successResultOf(answer)
        self.assertFalse(self.requests.has_room(1))


class UrgentTests(RequestsTestCase):
    """Requests that take connections first."""

    def test_changes_and_urgent_reads_are_sent_apart_from_others(self) -> None:
        urgent, ordinary = MemoryPost(), MemoryPost()
        self.requests = BrokerRequests(
            SimpleNamespace(post=ordinary),
            self.login,
            self.clock,
            Upper(),
            self.answered,
            SimpleNamespace(post=urgent),
        )
        for answer in (self.read(), self.read(urgent=True), self.change()):
            self.addCleanup(answer.addErrback, lambda _: None)
        self.assertEqual(ordinary.waiting, ["Order/search"])
        self.assertEqual(urgent.waiting, ["Order/search", "Order/place"])


class RoomTests(RequestsTestCase):
    """The rate limit."""

    def test_reads_leave_room_for_enforcement(self) -> None:
        self.spend(140, urgent=False)
        self.assertFalse(self.requests.has_room(1))
        waiting = self.read()
        self.assertEqual(self.post.asked, [])
        self.spend(20)
        urgent = self.read(urgent=True)
        self.post.answer()
        self.successResultOf(urgent)
        self.clock.advance(60)
        self.assertEqual(self.post.waiting, ["Order/search"])
        self.post.answer()
        self.successResultOf(waiting)

    def test_enforcement_waits_too_when_there_is_no_room(self) -> None:
        self.spend(200)
        waiting = self.change()
        self.assertEqual(self.post.asked, [])
        self.clock.advance(60)
        self.post.answer()
        self.successResultOf(waiting)

    def test_only_as_many_waiting_reads_are_sent_as_there_is_room(self) -> None:
        self.spend(140, urgent=False)
        waiting = [self.read() for _ in range(150)]
        self.clock.advance(60)
        self.assertEqual(len(self.post.asked), 140)
        for _ in range(140):
            self.post.answer()
        self.clock.advance(60)
        self.assertEqual(len(self.post.asked), 10)
        for answer in waiting[:140]:
            self.successResultOf(answer)

    def test_each_try_counts_as_a_request(self) -> None:
        self.spend(138, urgent=False)
        answer = self.read()
        self.post.fail(FAULT)
        self.clock.advance(0.2)
        self.assertFalse(self.requests.has_room(1))
        self.post.answer()
        self.successResultOf(answer)

    def test_a_ping_counts_as_a_request_and_gives_way(self) -> None:
        self.assertTrue(self.requests.may_ping())
        self.assertTrue(self.requests.has_room(139))
        self.assertFalse(self.requests.has_room(140))
        self.spend(59, urgent=False)
        self.assertFalse(self.requests.may_ping())
        self.assertTrue(self.requests.has_room(80))

    def test_after_429_reads_wait_and_enforcement_goes_on(self) -> None:
        answer = self.change()
        self.post.fail(TOO_MANY)
        self.failureResultOf(answer, TooManyRequestsError)
        self.assertFalse(self.requests.has_room(1))
        waiting = self.read()
        self.assertEqual(self.post.asked, [])
        self.spend(1)
        self.clock.advance(9.9)
        self.assertEqual(self.post.asked, [])
        self.clock.advance(0.1)
        self.post.answer()
        self.successResultOf(waiting)


class AnsweredTests(RequestsTestCase):
    """Announcements that the broker can be reached."""

    def test_an_answer_or_a_refusal_is_announced(self) -> None:
        self.spend(1)
        self.assertEqual(self.answers, 1)
        answer = self.change()
        self.post.fail(REFUSED)
        self.failureResultOf(answer, GatewayRefusedError)
        self.assertEqual(self.answers, 2)

    def test_a_failure_on_the_way_is_not_announced(self) -> None:
        for error in (FAULT, UNAUTHORIZED, TOO_MANY):
            self.setUp()
            answer: Deferred[Any] = self.change()
            self.post.fail(error)
            self.failureResultOf(answer, GatewayUnansweredError)
            self.assertEqual(self.answers, 0)
