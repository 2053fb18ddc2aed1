"""Check the broker: reach and round trip, login, accounts, clock.

While a riskd runs with the same login, there is no second one: the broker could end the daemon's.  Then only pings
are sent, and the hubs are asked for a connection without a token, which they refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from riskd.app.riskctl.broker_visit import LoginAccount, LoginError, Visit
from riskd.app.riskctl.doctor.findings import Finding, note, ok, quoted, warning, wrong
from riskd.config.settings import GatewaySettings, Settings
from riskd.gateway.broker_clock import BrokerClock
from riskd.gateway.interface import GatewayError
from riskd.gateway.projectx.credentials import Credentials
from riskd.gateway.projectx.hub_connection import HubError, TokenRejectedError
from riskd.gateway.projectx.websocket import HubConnector
from riskd.gateway.timeouts import answer_in_time
from riskd.host.errors import UserError
from riskd.host.secrets import Secret
from riskd.model.clock_offset import ERROR, WARNING, offset_words

REST_SECONDS: Final = 5.0
HUB_SECONDS: Final = 8.0
"""How long a ping, and a hub's handshakes, may take."""

SLOW_SECONDS: Final = 0.5
"""A longer round trip is a warning: riskd needs at least one to close a position."""

CLOCK_REPORTS: Final = 4
"""So many answers narrow the broker's time to about a quarter of a second; each takes up to one."""

_SET_CLOCK: Final = "sudo timedatectl set-ntp true"
_DASHBOARD: Final = "# in the firm's dashboard: "
_LOGIN_MENDS: Final = {
    7: f"{_DASHBOARD}sign the agreements",
    9: f"{_DASHBOARD}subscribe to API access",
    10: f"{_DASHBOARD}allow logins with an API key, or ask the firm's support",
}


class BrokerChecks:
    """The checks of one broker, in order; later ones use what earlier ones found.

    :param reactor: the reactor, on a steady clock.
    :param settings: of kind ``projectx``.
    :param configuration: names the configuration for a shell.
    :param now: returns this machine's time of day, aware.
    """

    def __init__(
        self, reactor: Any, settings: Settings, configuration: str, now: Callable[[], datetime]
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._gateway: GatewaySettings = settings.gateway
        self._edit = f"${{EDITOR:-vi}} {configuration}"
        self._clock = BrokerClock(reactor.seconds, now)
        self._visit = Visit(reactor, self._gateway.rest_url, self._clock.reported)
        self._is_reached = False
        self._token: Secret | None = None

    def end(self) -> None:
        """Close all connections."""
        self._visit.end()

    async def check_rest(self) -> list[Finding]:
        """Ping the REST API twice: the second one takes a round trip alone."""
        what, url = "broker's API", self._gateway.rest_url
        try:
            await self._visit.rest.ping(REST_SECONDS)
            seconds = await self._visit.rest.ping(REST_SECONDS)
        except GatewayError as error:
            return [
                wrong(
                    what, f"{url} is not reached: {error.why}", _look_at(f"{url}/api/Status/ping")
                )
            ]
        self._is_reached = True
        return [_round_trip(what, url, seconds)]

    async def check_login(self, credentials: Credentials | None) -> list[Finding]:
        """Log in, and compare the login's accounts with those of the configuration."""
        what = "login"
        if not self._is_reached:
            return [note(what, "not tried, since the broker's API is not reached")]
        if credentials is None:
            return [note(what, "not tried without an API key")]
        try:
            self._token = await self._visit.log_in(credentials)
            accounts = await self._visit.accounts(self._token)
        except LoginError as error:
            return [wrong(what, str(error), self._mend_login(error.code))]
        except UserError as error:
            return [wrong(what, str(error), _look_at(self._gateway.rest_url))]
        return [
            ok(what, f"{credentials.user_name} is logged in"),
            *self._check_accounts(accounts),
        ]

    def _mend_login(self, code: int) -> str:
        if code in _LOGIN_MENDS:
            return _LOGIN_MENDS[code]
        if not code:
            return _look_at(f"{self._gateway.rest_url}/api/Status/ping")
        if self._gateway.key_file is None:
            return self._edit
        file = quoted(self._gateway.key_file)
        return f"cat > {file}   # paste a key of {self._gateway.user_name}, Enter, Ctrl-D"

    def _check_accounts(self, accounts: list[LoginAccount]) -> Iterator[Finding]:
        what = "accounts"
        known = {each.id: each.account for each in accounts}
        listed = ", ".join(f"{each.id} ({each.account.name})" for each in accounts) or "none"
        guarded = [account.id for account in self._settings.accounts]
        missing = [number for number in guarded if number not in known]
        for number in missing:
            yield wrong(what, f"the login has no account {number}, but {listed}", self._edit)
        for number in guarded:
            if number in known and known[number].can_trade is False:
                yield warning(
                    what,
                    f"{number} may not trade, says the broker",
                    f"{_DASHBOARD}look up why account {number} is restricted",
                )
        if not missing:
            yield ok(what, f"{', '.join(map(str, guarded))}: all are of this login")

    async def check_hubs(self) -> list[Finding]:
        """Connect to both hubs and leave again."""
        gateway = self._gateway
        return [
            await self._check_hub("user hub", "user_hub_url", gateway.user_hub_url),
            await self._check_hub("market hub", "market_hub_url", gateway.market_hub_url),
        ]

    async def _check_hub(self, what: str, key: str, url: str) -> Finding:
        connector = HubConnector(self._reactor, url)
        began = self._reactor.seconds()
        try:
            seconds: float = await answer_in_time(
                what,
                Deferred.fromCoroutine(self._shake_hands(connector, what)),
                self._reactor,
                HUB_SECONDS,
            )
        except TokenRejectedError:
            if self._token is None:
                # Reaching it took TCP, TLS and HTTP; a refusal is what a request without a login gets.
                took = self._reactor.seconds() - began
                return ok(what, f"{url} answers within {took:.3f} s")
            return wrong(what, f"{url} refuses the token of this login", f"{self._edit}   # {key}")
        except (HubError, GatewayError) as error:
            why = error.why if isinstance(error, GatewayError) else str(error)
            mend = f"{self._edit}   # {key}" if "HTTP" in why else _look_at(url)
            return wrong(what, f"{url} is not reached: {why}", mend)
        return _round_trip(what, url, seconds)

    async def _shake_hands(self, connector: HubConnector, what: str) -> float:
        connection = await connector(self._token or Secret(""), lambda _invocation: None)
        sent_at: float = self._reactor.seconds()
        try:
            await answer_in_time(what, connection.handshaken, self._reactor, HUB_SECONDS)
        finally:
            connection.end("riskctl has seen enough")
        seconds: float = self._reactor.seconds() - sent_at
        return seconds

    async def check_clock(self) -> list[Finding]:
        """Compare this machine's clock with the broker's."""
        what = "clock"
        for _ in range(CLOCK_REPORTS):
            wait = self._clock.best_report_in()
            if wait is None or not self._is_reached:
                break
            await deferLater(self._reactor, wait)
            try:
                await self._visit.rest.ping(REST_SECONDS)
            except GatewayError:
                break
        return [check_offset(what, self._clock.offset)]


def check_offset(what: str, offset: timedelta | None) -> Finding:
    """Return what is to be said of this machine's clock.

    :param offset: how far the broker's is ahead; ``None``: unknown.
    """
    if offset is None:
        return note(what, "the broker's time is unknown")
    words = offset_words(offset)
    if abs(offset) > ERROR:
        return wrong(what, words, _SET_CLOCK)
    if abs(offset) > WARNING:
        return warning(what, words, _SET_CLOCK)
    return ok(what, words)


def _round_trip(what: str, url: str, seconds: float) -> Finding:
    words = f"{url} answers within {seconds:.3f} s"
    if seconds > SLOW_SECONDS:
        host = quoted(urlsplit(url).hostname or "")
        return warning(
            what,
            f"{words}; a close takes at least as long",
            f"ping -c 5 {host}   # and use a cable",
        )
    return ok(what, words)


def _look_at(url: str) -> str:
    """Return the command that shows what stands between this machine and a URL."""
    return f"curl -sSv -o /dev/null {quoted(url)}   # mend what it names"
