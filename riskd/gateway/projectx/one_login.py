"""One login: its request, and a refusal in words.

:class:`~riskd.gateway.projectx.login.Login` repeats it for as long as a daemon runs; ``riskctl`` logs in once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayError, GatewayRefusedError, GatewayUnansweredError
from riskd.gateway.projectx.credentials import Credentials
from riskd.host.secrets import Secret

LOGIN_SECONDS: Final = 10.0
"""How long a login may take."""

REFUSALS: Final = {
    3: "the user name or the API key is wrong",
    7: "the broker's agreements are not signed",
    9: "there is no API subscription for this user",
    10: "logging in with an API key is switched off for this user",
}
"""The reasons of refused logins, by error code.

Source: the ProjectX Gateway API documentation, error codes of Auth/loginKey.
"""

Post = Callable[[str, Payload | None, Secret | None, float], Coroutine[Any, Any, Payload]]
"""Sends a request; see :meth:`riskd.gateway.projectx.rest.Rest.post`."""


async def log_in(post: Post, credentials: Credentials) -> Secret:
    """Return a new token.

    :raises GatewayError: the broker refused the login, or did not answer.
    """
    body = {"userName": credentials.user_name, "apiKey": credentials.api_key.reveal()}
    return await _request_token(post, "Auth/loginKey", "token", body, None)


async def renew(post: Post, old: Secret | None) -> Secret:
    """Return a new token in exchange for an old one.

    :raises GatewayError: the broker refused it, or did not answer.
    """
    return await _request_token(post, "Auth/validate", "newToken", None, old)


async def _request_token(
    post: Post, request: str, name: str, body: Payload | None, old: Secret | None
) -> Secret:
    """Return the token that the answer to a request has under ``name``.

    :raises GatewayError: the request was refused or not answered, or the answer has no token.
    """
    token = (await post(request, body, old, LOGIN_SECONDS)).get(name)
    if not isinstance(token, str) or not token:
        raise GatewayUnansweredError(request, f"the answer has no {name}")
    return Secret(token)


def login_problem(error: GatewayError) -> str:
    """Return why a login failed, as a clause without a full stop."""
    if isinstance(error, GatewayRefusedError):
        return REFUSALS.get(error.code, f"{error.why} (code {error.code})")
    return error.why
