"""A short visit to the broker: its answers and refusals, and the checks that use them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.broker_visit import LoginError, Visit
from riskd.app.riskctl.doctor.broker import SLOW_SECONDS, BrokerChecks, check_offset
from riskd.app.riskctl.doctor.findings import Finding, Verdict
from riskd.config.settings import AccountSettings, GatewaySettings, Settings
from riskd.gateway.interface import GatewayUnansweredError
from riskd.gateway.projectx.credentials import Credentials
from riskd.host.errors import UserError
from riskd.host.secrets import Secret
from tests.support.broker import MemoryBroker

URL = "http://127.0.0.1:8080"
KEY = "a-key-that-nobody-may-see"
JANE = Credentials("jane", Secret(KEY))
DATE = "Date: Sun, 29 Nov 2026 16:00:00 GMT"
SETTINGS = Settings(
    gateway=GatewaySettings(
        kind="projectx", user_name="jane", key_file="/home/jane/riskd.key", rest_url=URL
    ),
    accounts=(AccountSettings(id=7), AccountSettings(id=8)),
)


class VisitTests(SynchronousTestCase):
    """Requests, each made once."""

    def setUp(self) -> None:
        self.broker = MemoryBroker(self)
        self.reports: list[tuple[datetime, float, float]] = []
        self.visit = Visit(self.broker.reactor, URL, lambda *report: self.reports.append(report))

    def ping(self) -> Deferred[float]:
        return Deferred.fromCoroutine(self.visit.rest.ping(5.0))

    def ping_problem(self, asked: Deferred[float]) -> str:
        return self.failureResultOf(asked, GatewayUnansweredError).value.why

    def test_a_ping_takes_a_round_trip_and_has_the_brokers_time(self) -> None:
        for body in (b'"pong"', b"pong"):
            asked = self.ping()
            connection = self.broker.accept()
            self.broker.reactor.advance(0.25)
            connection.answer(body, "200 OK", DATE)
            self.assertEqual(self.successResultOf(asked), 0.25)
        self.assertEqual(self.reports[0], (datetime(2026, 11, 29, 16, tzinfo=UTC), 1.0, 0.25))
        ((first, headers, _body), _) = connection.received
        self.assertEqual(first, "GET /api/Status/ping HTTP/1.1")
        self.assertNotIn("Authorization", headers)

    def test_whatever_else_answers_is_not_the_broker(self) -> None:
        for status, body, why in (
            (
                "200 OK",
                b"<html>Log in to the hotel's network</html>",
                "the answer is not the broker's",
            ),
            ("302 Found", b"pong", "HTTP 302"),
            ("503 Service Unavailable", b"", "HTTP 503"),
        ):
            asked = self.ping()
            self.broker.accept().answer(body, status)
            self.assertEqual(self.ping_problem(asked), why)

    def test_a_ping_without_an_answer_ends_in_time(self) -> None:
        asked = self.ping()
        self.broker.accept()
        self.broker.reactor.advance(5.0)
        self.assertEqual(self.ping_problem(asked), "nothing in 5 s")

    def test_a_refused_login_has_the_brokers_code_and_no_key(self) -> None:
        asked = Deferred.fromCoroutine(self.visit.log_in(JANE))
        self.broker.accept().answer(
            b'{"success":false,"errorCode":9,"errorMessage":"%s"}' % KEY.encode()
        )
        error = self.failureResultOf(asked, LoginError).value
        self.assertEqual(error.code, 9)
        self.assertEqual(
            str(error), f"{URL} gives jane no login: there is no API subscription for this user"
        )

    def test_accounts_are_listed_by_number_with_names_that_are_safe_to_show(self) -> None:
        asked = Deferred.fromCoroutine(self.visit.accounts(Secret("token")))
        self.broker.accept().succeed(
            accounts=[
                {"id": 8, "name": "\x1b[31mred", "balance": 50000.5, "canTrade": False},
                {"id": 7, "name": KEY},
                {"id": "no number", "name": "x"},
            ]
        )
        first, second = self.successResultOf(asked)
        self.assertEqual((first.id, first.account.name), (7, "[redacted]"))
        self.assertEqual((second.id, second.account.name), (8, "\\x1b[31mred"))
        self.assertEqual(
            (second.account.balance, second.account.can_trade), (Decimal("50000.5"), False)
        )

    def test_an_answer_without_a_list_of_accounts_is_a_sentence(self) -> None:
        asked = Deferred.fromCoroutine(self.visit.accounts(Secret("token")))
        self.broker.accept().succeed(accounts="none")
        error = self.failureResultOf(asked, UserError).value
        self.assertIn("does not list the login's accounts", str(error))

    def test_the_end_closes_all_connections(self) -> None:
        asked = self.ping()
        self.broker.accept().answer(b'"pong"')
        self.successResultOf(asked)
        self.visit.end()
        self.assertFalse(any(each.transport.connected for each in self.broker.connections))
        self.broker.reactor.advance(1)
        self.assertEqual(self.broker.reactor.getDelayedCalls(), [])


class LoginCheckTests(SynchronousTestCase):
    """The doctor's checks of REST and login."""

    def setUp(self) -> None:
        self.broker = MemoryBroker(self)
        self.visit = BrokerChecks(
            self.broker.reactor, SETTINGS, "riskd.toml", lambda: datetime.now(UTC)
        )

    def reach(self, seconds: float = 0.0) -> list[Finding]:
        asked = Deferred.fromCoroutine(self.visit.check_rest())
        connection = self.broker.accept()
        connection.answer(b'"pong"')
        self.broker.reactor.advance(seconds)
        connection.answer(b'"pong"')
        return self.successResultOf(asked)

    def test_a_slow_round_trip_is_a_warning(self) -> None:
        for seconds, verdict in (
            (SLOW_SECONDS / 2, Verdict.OK),
            (SLOW_SECONDS * 2, Verdict.WARNING),
        ):
            self.setUp()
            (finding,) = self.reach(seconds)
            self.assertEqual(finding.verdict, verdict)
            self.assertIn(f"within {seconds:.3f} s", finding.says)

    def test_each_refusal_names_what_mends_it(self) -> None:
        for code, words in (
            (3, "cat > /home/jane/riskd.key   # paste a key of jane"),
            (7, "sign the agreements"),
            (9, "subscribe to API access"),
            (10, "allow logins with an API key"),
            (99, "cat > /home/jane/riskd.key"),
        ):
            self.setUp()
            self.reach()
            asked = Deferred.fromCoroutine(self.visit.check_login(JANE))
            self.broker.connections[-1].answer(b'{"success":false,"errorCode":%d}' % code)
            (fault,) = self.successResultOf(asked)
            self.assertEqual(fault.verdict, Verdict.WRONG)
            self.assertIn(words, fault.mend)

    def test_accounts_that_are_missing_or_restricted_are_named(self) -> None:
        self.reach()
        asked = Deferred.fromCoroutine(self.visit.check_login(JANE))
        self.broker.connections[-1].succeed(token="a-token-of-jane")  # noqa: S106  # no secret
        self.broker.connections[-1].succeed(
            accounts=[{"id": 8, "name": "EXPRESS", "canTrade": False}]
        )
        login, missing, restricted = self.successResultOf(asked)
        self.assertEqual(login.verdict, Verdict.OK)
        self.assertEqual(missing.says, "the login has no account 7, but 8 (EXPRESS)")
        self.assertEqual(
            (restricted.verdict, restricted.says),
            (Verdict.WARNING, "8 may not trade, says the broker"),
        )

    def test_no_login_is_tried_at_a_broker_that_is_not_reached(self) -> None:
        (finding,) = self.successResultOf(Deferred.fromCoroutine(self.visit.check_login(JANE)))
        self.assertEqual(finding.verdict, Verdict.NOTE)
        self.assertEqual(self.broker.reactor.tcpClients, [])


class OffsetTests(SynchronousTestCase):
    def test_an_offset_is_judged_as_by_the_daemon(self) -> None:
        for seconds, verdict in ((0.4, Verdict.OK), (0.6, Verdict.WARNING), (2.1, Verdict.WRONG)):
            for sign in (1, -1):
                found = check_offset("clock", timedelta(seconds=sign * seconds))
                self.assertEqual(found.verdict, verdict, seconds)
                self.assertEqual(bool(found.mend), verdict != Verdict.OK)
        self.assertEqual(check_offset("clock", None).verdict, Verdict.NOTE)
