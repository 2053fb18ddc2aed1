"""The login at the broker: one token, renewed in time and replaced when refused.

A daemon has one login.  All requests and both hubs wait for its token; none of them logs in by itself,
because the broker may end a token when another one is issued.

- A token is good for 24 hours and is renewed after 20: the broker's ``validate`` exchanges it without a login.
- The broker ends a token early at a logout, see :func:`riskd.gateway.projectx.hub_events.is_logout`, or
  refuses it with HTTP 401.  Then riskd logs in again: after a short wait the first time, more slowly the more
  often it happens, since another program with the same key would log riskd out again and again.
- A refused login is tried again every minute, an unanswered one with growing waits, without an end: with new
  credentials in their file, or a broker that is back, the daemon goes on by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import jwt
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.gateway.interface import GatewayError, GatewayRefusedError
from riskd.gateway.projectx.backoff import Backoff
from riskd.gateway.projectx.credentials import Credentials, CredentialsError
from riskd.gateway.projectx.one_login import Post, log_in, login_problem, renew
from riskd.host.secrets import Secret
from riskd.host.timing import lasting_loop

_log = Logger()

LIFETIME: Final = timedelta(hours=24)
"""The lifetime of a token that does not state its own."""

RENEWED_AFTER: Final = 5 / 6
"""The part of its lifetime after which a token is renewed: 20 of 24 hours."""

REFUSED_SECONDS: Final = 60.0
"""How long to wait after a refused login; more tries could get the key blocked."""

LOGOUT_STEP_SECONDS: Final = 2.0
LOGOUT_MAX_SECONDS: Final = 15.0
"""How long to wait after a logout: one step for each recent logout, up to the maximum.

While logged out, riskd may miss fills, so the first wait is short; logins that end each other need time apart.
"""

LOGOUT_WINDOW_SECONDS: Final = 120.0
LOGOUTS_IN_A_ROW: Final = 5
"""More logouts than these in the window mean that another program uses the same key.

riskd then slows down, until a whole window has passed without a logout.
"""

_CHECK_SECONDS: Final = 30.0

_CONTENDED: Final = (
    "The broker keeps logging riskd out: another program seems to use its API key. "
    "Stop that one, or give riskd a key of its own"
)


class Login:
    """The token of the broker's API, and the Deferreds that wait for it.

    :param post: sends a request.
    :param credentials: finds the user name and the API key; called at each login, so that they can be
        corrected while the daemon runs.
    :param clock: times tries and renewals.
    :param now: gives the time of day, aware.
    :param random: spreads the tries.
    :param report_problem: receives a problem as a sentence; an empty one ends it.
    :param renewed: called when a new token replaces another one, which hubs may still use.
    """

    def __init__(
        self,
        post: Post,
        credentials: Callable[[], Credentials],
        clock: IReactorTime,
        now: Callable[[], datetime],
        random: Random,
        report_problem: Callable[[str], None],
        renewed: Callable[[], None],
    ) -> None:
        self._post = post
        self._credentials = credentials
        self._clock = clock
        self._now = now
        self._backoff = Backoff(random)
        self._report_problem = report_problem
        self._renewed = renewed
        self._token: Secret | None = None
        self._renew_at = datetime.max.replace(tzinfo=UTC)
        self._not_before = 0.0
        self._logouts: deque[float] = deque(maxlen=LOGOUTS_IN_A_ROW + 1)
        self._waiting: list[Deferred[Secret]] = []
        self._is_stopped = False
        self._has_had_token = False
        self._last_problem = ""
        self._logging_in: Deferred[None] | None = None
        self._renewing: Deferred[None] | None = None
        self._check = lasting_loop(clock, self._check_clock, _log)

    def start(self) -> None:
        """Keep the token fresh from now on."""
        self._check.start(_CHECK_SECONDS, now=False)

    def stop(self) -> None:
        """Stop; cancel everything that waits for a token, now or later."""
        self._token = None
        self._is_stopped = True
        if self._check.running:
            self._check.stop()
        for under_way in (self._logging_in, self._renewing, *self._waiting):
            if under_way is not None:
                under_way.cancel()

    def token(self) -> Deferred[Secret]:
        """Return a Deferred of the token, which fires as soon as there is one."""
        waiter: Deferred[Secret] = Deferred()
        if self._is_stopped:
            waiter.cancel()
        elif self._token is not None:
            waiter.callback(self._token)
        else:
            self._waiting.append(waiter)
            self._start_login()
        return waiter

    def is_current(self, token: Secret) -> bool:
        """Return whether a token is the current one."""
        return token == self._token

    def discard(self, token: Secret) -> None:
        """Replace a token that the broker has refused; a newer token stays."""
        # The first refused token is most likely just too old; do not hurry a broker that refuses them all.
        self._replace(token, LOGOUT_STEP_SECONDS if self._logouts else 0.0)

    def logged_out(self, token: Secret) -> None:
        """Replace a token that the broker has ended; two reports count as one."""
        self._replace(token, LOGOUT_STEP_SECONDS)

    def _replace(self, token: Secret, step: float) -> None:
        if not self.is_current(token):
            return
        self._token = None
        if self._renewing is not None:
            # A renewal that falls back to a login would compete with the login below.
            self._renewing.cancel()
        now = self._clock.seconds()
        self._forget_logouts(now)
        self._logouts.append(now)
        wait = min(step * len(self._logouts), LOGOUT_MAX_SECONDS)
        if self._is_contended:
            # Two programs that keep ending each other's login would both be blind.
            wait = REFUSED_SECONDS
            self._report_problem(_CONTENDED)
        _log.warn("the broker has ended the login; the next is due in {wait} s", wait=wait)
        # A login that was postponed for longer stays postponed.
        self._not_before = max(self._not_before, now + wait)
        # A hub that still uses the token may receive nothing any more, and asks for no other token.
        self._start_login()

    @property
    def _is_contended(self) -> bool:
        return len(self._logouts) > LOGOUTS_IN_A_ROW

    def _forget_logouts(self, now: float) -> None:
        """Forget logouts that are too old to count; during contention, all or none."""
        begin = now - LOGOUT_WINDOW_SECONDS
        while self._logouts and self._logouts[-1 if self._is_contended else 0] <= begin:
            self._logouts.popleft()

    def _start_login(self) -> None:
        if self._logging_in is None and not self._is_stopped:
            self._logging_in = logging_in = _prepared(self._log_in_and_serve, self._login_failed)
            logging_in.callback(None)

    def _login_failed(self, failure: Failure) -> None:
        """Start again after an internal error: everything waits for the token."""
        _log_error(failure)
        if self._is_stopped:
            return
        if self._token is None:
            self._postpone(REFUSED_SECONDS, "riskd cannot log in: internal error, see its log")
        self._start_login()

    async def _log_in_and_serve(self) -> None:
        """Log in, with as many tries as it takes, and give the token to all who wait."""
        try:
            while not self._is_stopped and (self._token is None or self._waiting):
                if self._token is not None:
                    # One at a time: a waiter may find the token refused, or cancel another waiter; a
                    # canceled Deferred ignores its result.
                    self._waiting.pop(0).callback(self._token)
                else:
                    wait = self._not_before - self._clock.seconds()
                    if wait > 0:
                        await deferLater(self._clock, wait)
                    await self._try_to_log_in()
        finally:
            self._logging_in = None

    async def _try_to_log_in(self) -> None:
        try:
            token = await self._log_in()
        except CredentialsError as error:
            self._postpone(
                REFUSED_SECONDS / 2, f"riskd cannot log in, nothing is guarded: {error}"
            )
        except GatewayRefusedError as refusal:
            why = login_problem(refusal)
            self._postpone(
                REFUSED_SECONDS, f"The broker refuses the login, nothing is guarded: {why}"
            )
        except GatewayError as error:
            wait = self._backoff.next_wait(self._clock.seconds())
            self._postpone(
                wait, f"The broker cannot be reached to log in, nothing is guarded: {error.why}"
            )
        else:
            self._backoff.succeeded()
            self._last_problem = ""
            self._use(token)
            self._report_problem(_CONTENDED if self._is_contended else "")

    def _postpone(self, seconds: float, sentence: str) -> None:
        if sentence != self._last_problem:
            # A long outage must not log a line every few seconds.
            _log.error("{sentence}; riskd keeps trying", sentence=sentence)
        self._last_problem = sentence
        self._not_before = self._clock.seconds() + seconds
        self._report_problem(sentence)

    async def _log_in(self) -> Secret:
        # Read at every login, so that a corrected file counts without a restart.
        return await log_in(self._post, self._credentials())

    def _use(self, token: Secret) -> None:
        now = self._now()
        self._token = token
        ends = _end_of(token)
        if ends is None or ends <= now:
            # The clocks differ so much that the end that the token states means nothing.
            ends = now + LIFETIME
        self._renew_at = now + (ends - now) * RENEWED_AFTER
        _log.info("logged in; the token is good until {ends}", ends=ends)
        had_token, self._has_had_token = self._has_had_token, True
        if had_token:
            self._renewed()

    # Renewing.

    def _check_clock(self) -> None:
        was_contended = self._is_contended
        self._forget_logouts(self._clock.seconds())
        if was_contended and not self._is_contended and self._token is not None:
            self._report_problem("")
        if self._token is not None and self._renewing is None and self._now() >= self._renew_at:
            self._renewing = renewing = _prepared(self._renew, _log_error)
            renewing.callback(None)

    async def _renew(self) -> None:
        old = self._token
        try:
            token = await self._request_renewal(old)
        except (GatewayError, CredentialsError) as error:
            # The old token is good for some hours yet; the next try is soon.
            self._renew_at = self._now() + timedelta(seconds=REFUSED_SECONDS)
            _log.warn("the token was not renewed: {error}", error=error)
            return
        finally:
            self._renewing = None
        # The broker may have ended the old token meanwhile, and another login replaced it.
        if self._token is old:
            self._use(token)

    async def _request_renewal(self, old: Secret | None) -> Secret:
        # Not a login at first: that could end the token that is still in use.
        try:
            return await renew(self._post, old)
        except GatewayError as error:
            _log.info("logging in again: {error}", error=error)
            return await self._log_in()


def _prepared(
    run: Callable[[], Coroutine[Any, Any, None]], failed: Callable[[Failure], None]
) -> Deferred[None]:
    """Return a Deferred that runs a coroutine once it is called back.

    So the caller can keep it first: the coroutine may be over, and another one be started, within
    ``callback()``.
    """
    prepared: Deferred[None] = Deferred()
    return prepared.addCallback(lambda _: Deferred.fromCoroutine(run())).addErrback(failed)


def _end_of(token: Secret) -> datetime | None:
    """Return the end that a token states; ``None`` if it states none."""
    # The signature is the broker's to check; riskd only needs the time.
    try:
        claims = jwt.decode(token.reveal(), options={"verify_signature": False})
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def _log_error(failure: Failure) -> None:
    if failure.check(CancelledError) is None:
        _log.failure("internal error during the login", failure)
