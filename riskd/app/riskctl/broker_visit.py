"""A short visit to the broker: one login, and what its accounts are.

It uses the daemon's own client, but tries each request once.  A login may end that of a daemon which runs with the
same user name, so a caller makes sure that there is none.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from riskd.gateway import mapping
from riskd.gateway.fields import whole
from riskd.gateway.interface import GatewayError, GatewayRefusedError
from riskd.gateway.payload_listener import readable
from riskd.gateway.projectx.credentials import Credentials
from riskd.gateway.projectx.gateway import make_agent
from riskd.gateway.projectx.one_login import log_in, login_problem
from riskd.gateway.projectx.responses import items
from riskd.gateway.projectx.rest import ANSWER_SECONDS, ClockReported, Rest
from riskd.host.errors import UserError
from riskd.host.secrets import Secret
from riskd.model.broker import BrokerAccount

_SEARCH: Final = "Account/search"


class LoginAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account that a login may see.

    :ivar id: the broker's number of it.
    :ivar account: what else the broker says; its text is safe to show.
    """

    id: int
    account: BrokerAccount


class LoginError(UserError):
    """The broker gives no login; the text says why.

    :ivar code: its error code; 0 if it did not answer.
    """

    def __init__(self, problem: str, code: int) -> None:
        super().__init__(problem)
        self.code = code


class Visit:
    """Requests to one broker, each made once.

    :param reactor: the reactor.
    :param rest_url: the URL of the REST API.
    :param clock_reported: receives the broker's clock with each answer.
    """

    def __init__(
        self, reactor: Any, rest_url: str, clock_reported: ClockReported | None = None
    ) -> None:
        self.agent = make_agent(reactor)
        self.rest = Rest(self.agent, rest_url, reactor, clock_reported)
        self._rest_url = rest_url

    async def log_in(self, credentials: Credentials) -> Secret:
        """Return a token.

        :raises LoginError: there is none.
        """
        try:
            return await log_in(self.rest.post, credentials)
        except GatewayError as error:
            code = error.code if isinstance(error, GatewayRefusedError) else 0
            raise LoginError(
                f"{self._rest_url} gives {credentials.user_name} no login: {login_problem(error)}",
                code,
            ) from None

    async def accounts(self, token: Secret) -> list[LoginAccount]:
        """Return the login's accounts, by number; restricted ones, too.

        :raises UserError: the broker does not list them.
        """
        try:
            fields = await self.rest.post(
                _SEARCH, {"onlyActiveAccounts": False}, token, ANSWER_SECONDS
            )
            found = {
                number: readable(_SEARCH, each, mapping.account)
                for each in items(_SEARCH, fields, "accounts")
                if (number := whole(each.get("id"))) is not None
            }
        except GatewayError as error:
            raise UserError(
                f"{self._rest_url} does not list the login's accounts: {error.why}"
            ) from None
        return [LoginAccount(id=number, account=found[number]) for number in sorted(found)]

    def end(self) -> None:
        """Close the connections."""
        self.agent.stop()
