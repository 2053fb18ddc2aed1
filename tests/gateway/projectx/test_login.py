"""The login: one at a time, renewed in time, given up when refused, and never shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import jwt
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import GatewayRefusedError, GatewayUnansweredError
from riskd.gateway.projectx.credentials import Credentials, CredentialsError
from riskd.gateway.projectx.login import REFUSED_SECONDS, Login
from riskd.gateway.projectx.one_login import LOGIN_SECONDS
from riskd.gateway.projectx.responses import TokenRefusedError
from riskd.host.secrets import Secret
from tests.support.broker import (
    API_KEY,
    CREDENTIALS,
    THURSDAY,
    MemoryPost,
    TimeOfDay,
    Upper,
    logged,
    make_token,
    observed,
)

NO_ANSWER = GatewayUnansweredError("Auth/loginKey", "HTTP 502")
REFUSED = GatewayRefusedError("Auth/loginKey", 3, "InvalidCredentials")


class LoginTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.events = observed(self)
        self.clock = Clock()
        self.post = MemoryPost()
        self.credentials: list[Credentials | Exception] = [CREDENTIALS]
        self.credentials_asked = 0
        self.problems: list[str] = []
        self.renewals = 0
        self.login = Login(
            self.post,
            self.find_credentials,
            self.clock,
            TimeOfDay(self.clock),
            Upper(),
            self.report_problem,
            self.renewed,
        )
        self.login.start()

    def find_credentials(self) -> Credentials:
        self.credentials_asked += 1
        found = self.credentials[min(self.credentials_asked, len(self.credentials)) - 1]
        if isinstance(found, Exception):
            raise found
        return found

    def report_problem(self, sentence: str) -> None:
        self.problems.append(sentence)

    def renewed(self) -> None:
        self.renewals += 1

    @property
    def problem(self) -> str:
        return self.problems[-1] if self.problems else ""

    def log_in(self, name: str = "first", **claims: Any) -> Secret:
        """Ask for a token, and let the broker give it."""
        waiter = self.login.token()
        self.post.answer(token=make_token(name, **claims))
        return self.successResultOf(waiter)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps, so that what is put off again has its turn."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
        self.clock.advance(seconds - int(seconds))

    def seconds_until_login(self) -> float:
        """Return the seconds until a login is sent."""
        begun = self.clock.seconds()
        while not self.post.asked:
            self.clock.advance(0.25)
            self.assertTrue(self.clock.seconds() - begun < 200)
        return self.clock.seconds() - begun


class LoginTests(LoginTestCase):
    """The first token."""

    def test_there_is_no_login_before_a_token_is_requested(self) -> None:
        self.pass_time(100)
        self.assertEqual(self.post.count, 0)

    def test_user_name_and_key_are_sent_without_a_token(self) -> None:
        waiter = self.login.token()
        asked = self.post.answer(token=make_token("first"))
        self.assertEqual(
            asked[:4],
            ("Auth/loginKey", {"userName": "trader", "apiKey": API_KEY}, None, LOGIN_SECONDS),
        )
        self.assertEqual(self.successResultOf(waiter), Secret(make_token("first")))

    def test_one_login_serves_all_waiters(self) -> None:
        waiters = [self.login.token() for _ in range(5)]
        self.pass_time(5)
        self.assertEqual(self.post.count, 1)
        self.post.answer(token=make_token("first"))
        for waiter in waiters:
            self.assertEqual(self.successResultOf(waiter), Secret(make_token("first")))

    def test_a_token_is_given_at_once_if_there_is_one(self) -> None:
        token = self.log_in()
        self.assertIs(self.successResultOf(self.login.token()), token)
        self.assertEqual(self.post.count, 1)

    def test_credentials_are_read_at_each_login(self) -> None:
        self.credentials = [
            Credentials("trader", Secret("old")),
            Credentials("trader", Secret("new")),
        ]
        waiter = self.login.token()
        self.post.fail(NO_ANSWER)
        self.clock.advance(0.25)
        asked = self.post.answer(token=make_token("first"))
        self.assertEqual(asked.body, {"userName": "trader", "apiKey": "new"})
        self.successResultOf(waiter)

    def test_wrong_credentials_can_be_corrected_while_the_daemon_runs(self) -> None:
        self.credentials = [CredentialsError("the file riskd.key is missing"), CREDENTIALS]
        waiter = self.login.token()
        self.assertEqual(
            self.problem, "riskd cannot log in, nothing is guarded: the file riskd.key is missing"
        )
        self.assertEqual(self.post.count, 0)
        self.assertEqual(self.seconds_until_login(), 30)
        self.post.answer(token=make_token("first"))
        self.successResultOf(waiter)
        self.assertEqual(self.problem, "")

    def test_an_internal_error_is_a_problem_and_the_login_is_tried_again(self) -> None:
        self.credentials = [RuntimeError("a mistake"), CREDENTIALS]
        waiters = [self.login.token(), self.login.token()]
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertIn("internal error", self.problem)
        self.assertEqual(self.seconds_until_login(), REFUSED_SECONDS)
        self.post.answer(token=make_token("first"))
        for waiter in waiters:
            self.successResultOf(waiter)
        self.assertEqual(self.problem, "")

    def test_an_error_of_one_waiter_does_not_keep_the_others_waiting(self) -> None:
        first = self.log_in()
        self.login.discard(first)
        waiter = self.login.token()
        self.login._renewed = lambda: 1 / 0
        self.post.answer(token=make_token("second"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.successResultOf(waiter), Secret(make_token("second")))

    def test_an_unanswered_login_is_tried_again_with_growing_waits(self) -> None:
        waiter = self.login.token()
        waits = []
        for _ in range(6):
            self.post.fail(NO_ANSWER)
            waits.append(self.seconds_until_login())
        self.assertEqual(waits, [0.25, 0.5, 1, 2, 3, 3])
        self.assertEqual(
            self.problem, "The broker cannot be reached to log in, nothing is guarded: HTTP 502"
        )
        self.post.answer(token=make_token("first"))
        self.successResultOf(waiter)
        self.assertEqual(self.problem, "")

    def test_an_outage_is_one_line_of_the_log(self) -> None:
        self.login.token()
        for _ in range(6):
            self.post.fail(NO_ANSWER)
            self.seconds_until_login()
        self.assertEqual(
            len([one for one in self.events if one["log_level"] is LogLevel.error]), 1
        )

    def test_after_a_success_the_waits_are_short_again(self) -> None:
        waiter = self.login.token()
        for _ in range(4):
            self.post.fail(NO_ANSWER)
            self.seconds_until_login()
        self.post.answer(token=make_token("first"))
        self.login.discard(self.successResultOf(waiter))
        self.login.token()
        self.post.fail(NO_ANSWER)
        self.assertEqual(self.seconds_until_login(), 0.25)

    def test_a_refused_login_is_tried_again_after_a_minute(self) -> None:
        waiter = self.login.token()
        for _ in range(3):
            self.post.fail(REFUSED)
            self.assertEqual(self.seconds_until_login(), 60)
        self.post.answer(token=make_token("first"))
        self.successResultOf(waiter)
        self.assertEqual(self.problem, "")

    def test_a_refusal_is_reported_as_a_sentence_for_a_trader(self) -> None:
        for code, words in (
            (3, "the user name or the API key is wrong"),
            (7, "agreements are not signed"),
            (9, "no API subscription"),
            (10, "switched off"),
            (99, "Strange (code 99)"),
        ):
            self.login.token()
            self.post.fail(GatewayRefusedError("Auth/loginKey", code, "Strange"))
            self.assertIn("The broker refuses the login, nothing is guarded: ", self.problem)
            self.assertIn(words, self.problem)
            self.seconds_until_login()

    def test_an_answer_without_a_token_is_no_answer(self) -> None:
        waiter = self.login.token()
        for fields in ({}, {"token": None}, {"token": ""}, {"token": 5}):
            self.post.answer(**fields)
            self.assertNoResult(waiter)
            self.seconds_until_login()
        self.assertIn("the answer has no token", self.problem)

    def test_a_waiter_during_a_postponed_login_waits_like_the_others(self) -> None:
        first = self.login.token()
        self.post.fail(REFUSED)
        self.clock.advance(20)
        second = self.login.token()
        self.assertEqual(self.seconds_until_login(), 40)
        self.post.answer(token=make_token("first"))
        self.assertIs(self.successResultOf(first), self.successResultOf(second))

    def test_a_canceled_waiter_leaves_the_others_waiting(self) -> None:
        first, second = self.login.token(), self.login.token()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.post.answer(token=make_token("first"))
        self.successResultOf(second)

    def test_a_login_goes_on_after_all_waiters_were_canceled(self) -> None:
        waiter = self.login.token()
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.assertEqual(self.post.waiting, ["Auth/loginKey"])
        self.post.answer(token=make_token("first"))
        self.successResultOf(self.login.token())
        self.assertEqual(self.post.count, 1)

    def test_a_postponed_login_stays_postponed_after_all_waiters_were_canceled(self) -> None:
        waiter = self.login.token()
        self.post.fail(REFUSED)
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.clock.advance(10)
        self.login.token()
        self.assertEqual(self.seconds_until_login(), 50)

    def test_one_waiter_may_cancel_another(self) -> None:
        waiters: list[Deferred[Secret]] = [self.login.token()]
        waiters[0].addCallback(lambda _: waiters[1].cancel())
        waiters += [self.login.token() for _ in range(2)]
        self.post.answer(token=make_token("first"))
        self.failureResultOf(waiters[1], CancelledError)
        self.successResultOf(waiters[2])

    def test_no_waiter_gets_a_token_that_another_has_just_discarded(self) -> None:
        first = self.login.token()
        first.addCallback(self.login.discard)
        second = self.login.token()
        self.post.answer(token=make_token("first"))
        self.assertNoResult(second)
        self.post.answer(token=make_token("second"))
        self.assertEqual(self.successResultOf(second), Secret(make_token("second")))


class RenewalTests(LoginTestCase):
    """Renewals of a token that is still good."""

    def test_a_token_is_renewed_after_20_of_24_hours(self) -> None:
        old = self.log_in()
        self.clock.pump([600] * 119)
        self.assertEqual(self.post.asked, [])
        self.clock.pump([30] * 20)
        asked = self.post.answer(newToken=make_token("second", THURSDAY + timedelta(hours=44)))
        self.assertEqual((asked.request, asked.body, asked.token), ("Auth/validate", None, old))
        self.assertEqual(self.renewals, 1)
        new = self.successResultOf(self.login.token())
        self.assertEqual(new, Secret(make_token("second", THURSDAY + timedelta(hours=44))))

    def test_a_token_is_renewed_again_after_another_20_hours(self) -> None:
        self.log_in()
        self.clock.pump([30] * 2400)
        self.post.answer(newToken=make_token("second", THURSDAY + timedelta(hours=44)))
        self.clock.pump([30] * 2398)
        self.assertEqual(self.post.asked, [])
        self.clock.pump([30] * 4)
        self.assertEqual(self.post.waiting, ["Auth/validate"])

    def test_a_token_without_an_end_is_good_for_a_day(self) -> None:
        for token in ("opaque", "a.b.c", make_token("no end", None)):
            waiter = self.login.token()
            self.post.answer(token=token)
            self.clock.pump([30] * 2398)
            self.assertEqual(self.post.asked, [])
            self.clock.pump([30] * 4)
            self.assertEqual(self.post.waiting, ["Auth/validate"])
            self.post.answer(newToken="opaque")
            self.login.discard(self.successResultOf(self.login.token()))
            self.successResultOf(waiter)

    def test_a_token_that_has_ended_by_our_clock_counts_as_good_for_a_day(self) -> None:
        self.log_in(ends=THURSDAY - timedelta(hours=1))
        self.pass_time(300)
        self.assertEqual((self.post.count, self.renewals), (1, 0))

    def test_the_old_token_is_given_during_the_renewal(self) -> None:
        old = self.log_in()
        self.clock.pump([30] * 2400)
        self.assertIs(self.successResultOf(self.login.token()), old)
        self.clock.pump([1] * 300)
        self.assertEqual(self.post.waiting, ["Auth/validate"])

    def test_a_failed_validation_is_followed_by_a_login(self) -> None:
        for error in (
            NO_ANSWER,
            TokenRefusedError("Auth/validate", "HTTP 401"),
            GatewayRefusedError("Auth/validate", 3, "ExpiredToken"),
        ):
            self.setUp()
            self.log_in()
            self.clock.pump([30] * 2400)
            self.post.fail(error)
            self.assertEqual(self.post.waiting, ["Auth/loginKey"])
            self.post.answer(token=make_token("second", THURSDAY + timedelta(hours=44)))
            self.assertEqual(self.renewals, 1)

    def test_a_validation_without_a_new_token_has_failed(self) -> None:
        self.log_in()
        self.clock.pump([30] * 2400)
        self.post.answer(newToken=None)
        self.assertEqual(self.post.waiting, ["Auth/loginKey"])

    def test_a_failed_renewal_keeps_the_old_token_and_is_tried_again(self) -> None:
        old = self.log_in()
        self.clock.pump([30] * 2400)
        for _ in range(3):
            self.post.fail(NO_ANSWER)
            self.post.fail(NO_ANSWER)
            self.assertEqual(self.renewals, 0)
            self.assertIs(self.successResultOf(self.login.token()), old)
            self.clock.pump([30] * 2)
            self.assertEqual(self.post.waiting, ["Auth/validate"])

    def test_a_refused_renewal_is_tried_again_after_a_minute(self) -> None:
        self.log_in()
        self.clock.pump([30] * 2400)
        for _ in range(3):
            self.post.fail(NO_ANSWER)
            self.post.fail(REFUSED)
            self.pass_time(59)
            self.assertEqual(self.post.asked, [])
            self.pass_time(31)
            self.assertEqual(self.post.waiting, ["Auth/validate"])

    def test_missing_credentials_keep_the_old_token(self) -> None:
        old = self.log_in()
        self.credentials = [CredentialsError("the file is gone")]
        self.clock.pump([30] * 2400)
        self.post.fail(NO_ANSWER)
        self.assertIs(self.successResultOf(self.login.token()), old)
        self.assertEqual(self.renewals, 0)

    def test_a_late_renewal_does_not_replace_a_newer_token(self) -> None:
        old = self.log_in()
        self.clock.pump([30] * 2400)
        self.login.discard(old)
        waiter = self.login.token()
        answers = {asked.request: asked.answer for asked in self.post.asked}
        self.post.asked.clear()
        answers["Auth/loginKey"].callback({"token": make_token("second", None)})
        if "Auth/validate" in answers:
            answers["Auth/validate"].callback({"newToken": make_token("late", None)})
        second = self.successResultOf(waiter)
        self.assertEqual(second, Secret(make_token("second", None)))
        self.assertIs(self.successResultOf(self.login.token()), second)
        self.assertEqual(self.renewals, 1)

    def test_a_token_refused_during_its_renewal_causes_one_login(self) -> None:
        old = self.log_in()
        self.clock.pump([30] * 2400)
        self.post.fail(NO_ANSWER)
        self.assertEqual(self.post.waiting, ["Auth/loginKey"])
        self.login.discard(old)
        self.login.token()
        self.clock.advance(1)
        self.assertEqual(self.post.waiting, ["Auth/loginKey"])


class GivingUpTests(LoginTestCase):
    """Tokens that the broker refuses or ends."""

    def waits_after(self, give_up: Any, count: int) -> list[float]:
        """Return the seconds from giving each of so many tokens up to the next login."""
        waits = []
        for number in range(count):
            give_up(self.successResultOf(self.login.token()))
            waiter = self.login.token()
            waits.append(self.seconds_until_login())
            self.post.answer(token=make_token(f"token {number}"))
            self.successResultOf(waiter)
        return waits

    def test_the_first_refused_token_is_replaced_at_once(self) -> None:
        self.log_in()
        self.assertEqual(self.waits_after(self.login.discard, 1), [0])

    def test_a_broker_that_refuses_every_token_is_not_hurried(self) -> None:
        self.log_in()
        self.assertEqual(self.waits_after(self.login.discard, 6), [0, 4, 6, 8, 10, 60])

    def test_a_refused_token_is_replaced_without_a_waiter(self) -> None:
        for give_up, wait in ((self.login.discard, 0), (self.login.logged_out, 4)):
            give_up(self.successResultOf(self.login.token()) if wait else self.log_in())
            self.assertEqual(self.seconds_until_login(), wait)
            self.post.answer(token=make_token(f"token {wait}"))
        self.assertEqual(self.renewals, 2)

    def test_after_a_logout_the_waits_grow(self) -> None:
        self.log_in()
        self.assertEqual(self.waits_after(self.login.logged_out, 5), [2, 4, 6, 8, 10])

    def test_waits_are_at_most_15_seconds_before_there_are_too_many_logouts(self) -> None:
        for already in range(6):
            self.setUp()
            self.log_in()
            for wait in self.waits_after(self.login.logged_out, already):
                self.assertTrue(wait <= 15)

    def test_a_logout_reported_twice_counts_once(self) -> None:
        token = self.log_in()
        for _ in range(7):
            self.login.logged_out(token)
        self.login.token()
        self.assertEqual(self.seconds_until_login(), 2)
        self.assertEqual(self.problem, "")

    def test_the_next_token_is_announced_to_users_of_a_discarded_one(self) -> None:
        self.log_in()
        self.assertEqual(self.renewals, 0)
        self.waits_after(self.login.discard, 1)
        self.assertEqual(self.renewals, 1)
        self.waits_after(self.login.logged_out, 1)
        self.assertEqual(self.renewals, 2)

    def test_discarding_a_replaced_token_does_nothing(self) -> None:
        old = self.log_in()
        self.login.discard(old)
        new = self.log_in("second")
        self.login.discard(old)
        self.login.logged_out(old)
        self.assertIs(self.successResultOf(self.login.token()), new)

    def test_over_5_logouts_in_2_minutes_are_a_problem_and_logins_are_a_minute_apart(self) -> None:
        self.log_in()
        self.waits_after(self.login.logged_out, 5)
        self.assertEqual(self.problem, "")
        self.login.logged_out(self.successResultOf(self.login.token()))
        self.assertIn("another program seems to use its API key", self.problem)
        self.login.token()
        self.assertEqual(self.seconds_until_login(), 60)

    def test_the_problem_stays_while_the_other_program_goes_on(self) -> None:
        self.log_in()
        self.waits_after(self.login.logged_out, 5)
        self.problems.clear()
        self.assertEqual(self.waits_after(self.login.logged_out, 6), [60] * 6)
        self.assertNotIn("", self.problems)

    def test_the_problem_ends_after_2_minutes_without_a_logout(self) -> None:
        self.log_in()
        self.waits_after(self.login.logged_out, 6)
        self.pass_time(30)
        self.assertIn("another program", self.problem)
        self.pass_time(61)
        self.assertEqual(self.problem, "")
        self.assertEqual(self.waits_after(self.login.logged_out, 2), [2, 4])

    def test_rare_logouts_do_not_add_up(self) -> None:
        self.log_in()
        for _ in range(10):
            self.assertEqual(self.waits_after(self.login.logged_out, 1), [2])
            self.pass_time(150)
        self.assertEqual(set(self.problems), {""})

    def test_an_unanswered_login_does_not_hide_the_other_program(self) -> None:
        self.log_in()
        self.waits_after(self.login.logged_out, 5)
        self.login.logged_out(self.successResultOf(self.login.token()))
        self.login.token()
        self.seconds_until_login()
        self.post.fail(NO_ANSWER)
        self.assertIn("cannot be reached", self.problem)
        self.seconds_until_login()
        self.post.answer(token=make_token("again"))
        self.assertIn("another program", self.problem)


class StopTests(LoginTestCase):
    """The stop."""

    def test_stop_cancels_waiters(self) -> None:
        waiters = [self.login.token() for _ in range(3)]
        self.login.stop()
        for waiter in waiters:
            self.failureResultOf(waiter, CancelledError)
        self.assertEqual((self.post.asked, self.post.given_up), ([], 1))

    def test_stop_leaves_nothing_scheduled(self) -> None:
        def wait_for_retry() -> None:
            self.login.token().addErrback(lambda _: None)
            self.post.fail(REFUSED)

        def renew() -> None:
            self.log_in()
            self.clock.pump([30] * 2400)

        def log_in_to_renew() -> None:
            renew()
            self.post.fail(NO_ANSWER)

        for begin in (lambda: None, self.log_in, wait_for_retry, renew, log_in_to_renew):
            self.setUp()
            begin()
            self.login.stop()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertEqual(self.post.asked, [])

    def test_there_is_no_login_after_the_stop(self) -> None:
        self.login.stop()
        waiter = self.login.token()
        self.failureResultOf(waiter, CancelledError)
        self.pass_time(100)
        self.assertEqual(self.post.count, 0)

    def test_the_receiver_of_a_problem_may_stop_the_login(self) -> None:
        self.login.token().addErrback(lambda _: None)
        self.report_problem = lambda _: self.login.stop()  # type: ignore[method-assign]
        self.login._report_problem = self.report_problem
        self.post.fail(NO_ANSWER)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SecrecyTests(LoginTestCase):
    """Secrets."""

    def test_neither_key_nor_token_is_in_the_log_or_in_any_sentence(self) -> None:
        tokens = [make_token(f"token {number}") for number in range(4)]
        waiter = self.login.token()
        self.post.fail(NO_ANSWER)
        self.clock.advance(0.25)
        self.post.answer(token=tokens[0])
        self.login.logged_out(self.successResultOf(waiter))
        waiter = self.login.token()
        self.clock.advance(2)
        self.post.answer(token=tokens[1])
        self.clock.pump([30] * 2400)
        self.post.answer(newToken=tokens[2])
        self.successResultOf(waiter)
        seen = logged(self.events) + repr(self.problems) + repr(vars(self.login))
        self.assertIn("logged in", seen)
        for secret in (API_KEY, *tokens):
            self.assertNotIn(secret, seen)

    def test_an_internal_error_is_logged_without_secrets(self) -> None:
        self.credentials = [RuntimeError("a mistake"), CREDENTIALS]
        self.login.token()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertNotIn(API_KEY, logged(self.events))


class AnyOrderTests(LoginTestCase):
    """Any course of events."""

    ACTS = (
        "ask",
        "answer",
        "answer_badly",
        "refuse",
        "discard",
        "log_out",
        "give_up",
        "wait",
        "wait_long",
    )

    def setUp(self) -> None:
        super().setUp()
        self.waiters: list[Deferred[Any]] = []
        self.tokens: list[Secret] = []
        self.number = 0

    def ask(self) -> None:
        waiter = self.login.token()
        self.waiters.append(waiter.addCallback(self.tokens.append))
        waiter.addErrback(lambda failure: failure.trap(CancelledError))

    def answer(self) -> None:
        if self.post.asked:
            self.number += 1
            ends = THURSDAY + timedelta(seconds=self.clock.seconds() + 3600)
            token = make_token(f"token {self.number}", ends)
            self.post.answer(token=token, newToken=token)

    def answer_badly(self, error: Exception = NO_ANSWER) -> None:
        if self.post.asked:
            self.post.fail(error)

    def refuse(self) -> None:
        self.answer_badly(REFUSED)

    def discard(self) -> None:
        if self.tokens:
            self.login.discard(self.tokens[-1])

    def log_out(self) -> None:
        if self.tokens:
            self.login.logged_out(self.tokens[-1])

    def give_up(self) -> None:
        if self.waiters:
            self.waiters.pop().cancel()

    def wait(self) -> None:
        self.clock.advance(1)

    def wait_long(self) -> None:
        """Let a token's time to be renewed come."""
        self.clock.pump([30] * 100)

    @given(st.lists(st.sampled_from(ACTS), max_size=40))
    def test_after_any_course_of_events_there_was_one_login_at_a_time_and_all_are_served(
        self, acts: list[str]
    ) -> None:
        self.setUp()
        for act in acts:
            getattr(self, act)()
            self.assertTrue(len(self.post.asked) <= 1, self.post.waiting)
        self.ask()
        for _ in range(70):
            self.answer()
            self.wait()
        for waiter in self.waiters:
            self.assertTrue(waiter.called)
        self.login.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class MalformedTokenTests(LoginTestCase):
    """Tokens with strange content."""

    @given(
        st.text(min_size=1, max_size=20)
        | st.builds(
            lambda end: jwt.encode({"exp": end}, "a key that is long enough to sign"),
            st.none() | st.integers() | st.booleans() | st.text() | st.floats(),
        )
    )
    def test_any_text_can_be_a_token(self, token: str) -> None:
        self.setUp()
        waiter = self.login.token()
        self.post.answer(token=token)
        self.assertEqual(self.successResultOf(waiter).reveal(), token)
        self.clock.pump([30] * 4)
        self.assertEqual((self.post.count, self.renewals), (1, 0))
        self.login.stop()
