"""The login at the broker: a token that is had, renewed before it ends, and given up when it is refused.

There is one session a daemon.  Whoever needs the token waits for it; nobody logs in by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Final, Protocol

import jwt
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.gateway.interface import (
    GatewayError,
    GatewayRefusedError,
    GatewayUnansweredError,
    Payload,
)
from riskd.gateway.projectx.backoff import Backoff
from riskd.gateway.projectx.credentials import Credentials, CredentialsError, Secret
from riskd.host.timing import lasting_loop

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

_log = Logger()

LOGIN_SECONDS: Final = 10.0
"""How long a login may take."""

LIFETIME: Final = timedelta(hours=24)
"""How long a token is good that does not say so itself."""

RENEWED_AFTER: Final = 5 / 6
"""The part of its lifetime after which a token is renewed: after 20 of 24 hours."""

REFUSED_SECONDS: Final = 60.0
"""How long to wait after a refused login: to insist would only get the key blocked."""

LOGOUT_STEP_SECONDS: Final = 2.0
LOGOUT_MAX_SECONDS: Final = 15.0
LOGOUT_WINDOW_SECONDS: Final = 120.0
LOGOUTS_IN_A_ROW: Final = 5
"""More logouts than these in the window mean that another program uses the same key.

It is taken to go on until there was no logout for as long as the window.
"""

_CHECK_SECONDS: Final = 30.0

_CONTENDED: Final = (
    "The broker keeps logging riskd out: another program seems to use its API key. "
    "Stop that one, or give riskd a key of its own"
)

_REFUSALS: Final = {
    3: "the user name or the API key is wrong",
    7: "the broker's agreements are not signed",
    9: "there is no API subscription for this user",
    10: "logging in with an API key is switched off for this user",
}
"""What refused logins mean.

Source: the ProjectX Gateway API documentation, error codes of Auth/loginKey.
"""


class Post(Protocol):
    """Sends a request, see :meth:`riskd.gateway.projectx.rest.Rest.post`."""

    def __call__(
        self, request: str, body: Payload | None, token: Secret | None, seconds: float
    ) -> Coroutine[Any, Any, Payload]:
        """Return the fields of the answer."""


class Session:
    """The token, and whoever waits for one.

    :param post: sends a request.
    :param credentials: finds the user name and the API key; asked at each login, so that what was
        wrong with them can be mended while the daemon runs.
    :param clock: times tries and renewals.
    :param now: gives the time of day, aware.
    :param random: spreads the tries.
    :param tell_trouble: told of trouble in a sentence; an empty one says that it is over.
    :param renewed: called when there is a new token in place of another, which some may still use.
    """

    def __init__(
        self,
        post: Post,
        credentials: Callable[[], Credentials],
        clock: IReactorTime,
        now: Callable[[], datetime],
        random: Random,
        tell_trouble: Callable[[str], None],
        renewed: Callable[[], None],
    ) -> None:
        self._post = post
        self._credentials = credentials
        self._clock = clock
        self._now = now
        self._backoff = Backoff(random)
        self._tell_trouble = tell_trouble
        self._renewed = renewed
        self._token: Secret | None = None
        self._renew_at = datetime.max.replace(tzinfo=UTC)
        self._not_before = 0.0
        self._given_up: deque[float] = deque(maxlen=LOGOUTS_IN_A_ROW + 1)
        self._waiting: list[Deferred[Secret]] = []
        self._is_stopped = False
        self._has_had_token = False
        self._put_off_for = ""
        self._getting: Deferred[None] | None = None
        self._renewing: Deferred[None] | None = None
        self._check = lasting_loop(clock, self._look_at_clock, _log)

    def start(self) -> None:
        """Keep the token fresh from now on."""
        self._check.start(_CHECK_SECONDS, now=False)

    def stop(self) -> None:
        """Get no token any more; whoever waits for one, now or later, waits in vain."""
        self._is_stopped = True
        if self._check.running:
            self._check.stop()
        for under_way in (self._getting, self._renewing, *self._waiting):
            if under_way is not None:
                under_way.cancel()

    def token(self) -> Deferred[Secret]:
        """Fire with the token, as soon as there is one."""
        waiter: Deferred[Secret] = Deferred(self._forget)
        if self._is_stopped:
            waiter.cancel()
            return waiter
        if self._token is not None:
            waiter.callback(self._token)
            return waiter
        self._waiting.append(waiter)
        self._begin_to_get()
        return waiter

    def is_current(self, token: Secret) -> bool:
        """Tell whether a token is the one that is given now."""
        return token == self._token

    def discard(self, token: Secret) -> None:
        """Give a token up that the broker has refused; one that was got meanwhile stays."""
        # The first is most likely just too old; a broker that refuses every token is not hurried.
        self._give_up(token, LOGOUT_STEP_SECONDS if self._given_up else 0.0)

    def logged_out(self, token: Secret) -> None:
        """Give a token up that the broker has ended; both hubs may say so, and it counts once."""
        self._give_up(token, LOGOUT_STEP_SECONDS)

    def _give_up(self, token: Secret, step: float) -> None:
        if not self.is_current(token):
            return
        self._token = None
        if self._renewing is not None:
            # There is nothing to renew any more; whoever needs a token logs in.
            self._renewing.cancel()
        now = self._clock.seconds()
        self._forget_logouts(now)
        self._given_up.append(now)
        wait = min(step * len(self._given_up), LOGOUT_MAX_SECONDS)
        if self._is_contended:
            wait = REFUSED_SECONDS
            self._tell_trouble(_CONTENDED)
        _log.warn("the broker has ended the login; the next is due in {wait} s", wait=wait)
        self._not_before = max(self._not_before, now + wait)
        # Whoever still uses it may be told nothing any more, and does not ask.
        self._begin_to_get()

    @property
    def _is_contended(self) -> bool:
        return len(self._given_up) > LOGOUTS_IN_A_ROW

    def _forget_logouts(self, now: float) -> None:
        """Forget those that are too old to count; of another program's, all or none."""
        begin = now - LOGOUT_WINDOW_SECONDS
        while self._given_up and self._given_up[-1 if self._is_contended else 0] <= begin:
            self._given_up.popleft()

    def _forget(self, waiter: Deferred[Secret]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def _begin_to_get(self) -> None:
        if self._getting is None and not self._is_stopped:
            # It may be done before there is a Deferred to hold on to.
            self._getting = Deferred()
            getting = Deferred.fromCoroutine(self._get())
            if self._getting is not None:
                self._getting = getting
            getting.addErrback(self._could_not_get)

    def _could_not_get(self, failure: Failure) -> None:
        """Begin anew after a mistake of ours: nobody else would, and all wait for the token."""
        _log_mistake(failure)
        if self._is_stopped:
            return
        if self._token is None:
            self._put_off(REFUSED_SECONDS, "riskd cannot log in: a mistake in riskd, see its log")
        self._begin_to_get()

    async def _get(self) -> None:
        """Log in, however often it takes, and tell whoever waits."""
        try:
            while not self._is_stopped and (self._token is None or self._waiting):
                if self._token is not None:
                    # Whoever is told may give it up, or keep another from waiting.
                    self._waiting.pop(0).callback(self._token)
                else:
                    await self._wait_until(self._not_before)
                    await self._try_to_log_in()
        finally:
            self._getting = None

    async def _wait_until(self, moment: float) -> None:
        wait = moment - self._clock.seconds()
        if wait > 0:
            await deferLater(self._clock, wait)

    async def _try_to_log_in(self) -> None:
        try:
            token = await self._log_in()
        except CredentialsError as error:
            self._put_off(REFUSED_SECONDS / 2, f"riskd cannot log in, nothing is guarded: {error}")
        except GatewayRefusedError as refusal:
            why = _REFUSALS.get(refusal.code, f"{refusal.message} (code {refusal.code})")
            self._put_off(
                REFUSED_SECONDS, f"The broker refuses the login, nothing is guarded: {why}"
            )
        except GatewayError as error:
            wait = self._backoff.next_wait(self._clock.seconds())
            self._put_off(
                wait, f"The broker cannot be reached to log in, nothing is guarded: {error.why}"
            )
        else:
            self._backoff.succeeded()
            self._put_off_for = ""
            self._take(token)
            self._tell_trouble(_CONTENDED if self._is_contended else "")

    def _put_off(self, seconds: float, sentence: str) -> None:
        if sentence != self._put_off_for:
            # A long outage is not a line of the log every few seconds.
            _log.error("{sentence}; riskd keeps trying", sentence=sentence)
        self._put_off_for = sentence
        self._not_before = self._clock.seconds() + seconds
        self._tell_trouble(sentence)

    async def _log_in(self) -> Secret:
        found = self._credentials()
        body = {"userName": found.user_name, "apiKey": found.api_key.reveal()}
        return _token_in(
            "Auth/loginKey", "token", await self._post("Auth/loginKey", body, None, LOGIN_SECONDS)
        )

    def _take(self, token: Secret) -> None:
        now = self._now()
        self._token = token
        ends = _end_of(token)
        if ends is None or ends <= now:
            # Of two clocks that differ so much, neither says when it ends.
            ends = now + LIFETIME
        self._renew_at = now + (ends - now) * RENEWED_AFTER
        _log.info("logged in; the token is good until {ends}", ends=ends)
        had_token, self._has_had_token = self._has_had_token, True
        if had_token:
            self._renewed()

    # Renewing.

    def _look_at_clock(self) -> None:
        was_contended = self._is_contended
        self._forget_logouts(self._clock.seconds())
        if was_contended and not self._is_contended and self._token is not None:
            self._tell_trouble("")
        is_due = self._token is not None and self._now() >= self._renew_at
        if is_due and self._renewing is None:
            self._renewing = Deferred()
            renewing = Deferred.fromCoroutine(self._renew())
            if self._renewing is not None:
                self._renewing = renewing
            renewing.addErrback(_log_mistake)

    async def _renew(self) -> None:
        old = self._token
        try:
            token = await self._validated(old)
        except (GatewayError, CredentialsError) as error:
            # The old one is good for some hours yet; it is tried again soon.
            self._renew_at = self._now() + timedelta(seconds=REFUSED_SECONDS)
            _log.warn("the token was not renewed: {error}", error=error)
            return
        finally:
            self._renewing = None
        if self._token is old:
            self._take(token)

    async def _validated(self, old: Secret | None) -> Secret:
        try:
            fields = await self._post("Auth/validate", None, old, LOGIN_SECONDS)
            return _token_in("Auth/validate", "newToken", fields)
        except GatewayError as error:
            _log.info("logging in anew, for {error}", error=error)
            return await self._log_in()


def _token_in(request: str, name: str, fields: Payload) -> Secret:
    token = fields.get(name)
    if not isinstance(token, str) or not token:
        raise GatewayUnansweredError(request, f"the answer has no {name}")
    return Secret(token)


def _end_of(token: Secret) -> datetime | None:
    """Return when a token ends, as it says itself; ``None`` if it does not."""
    try:
        claims = jwt.decode(token.reveal(), options={"verify_signature": False})
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def _log_mistake(failure: Failure) -> None:
    if failure.check(CancelledError) is None:
        _log.failure("a mistake in riskd, while logging in", failure)
