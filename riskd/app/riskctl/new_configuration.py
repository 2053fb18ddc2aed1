"""A first ``riskd.toml``: its text, and files that replace no other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from riskd.app.riskctl.broker_visit import LoginAccount
from riskd.config.settings import GatewaySettings
from riskd.config.values import toml_string
from riskd.host.errors import UserError

_DEFAULTS: Final = GatewaySettings()
_MAX_NAME: Final = 60
"""The longest name of an account in ``riskd.toml``."""

_LIMITS: Final = """
# The broker's permission to trade: without it, riskd closes everything.
[rules.auth_loss_guard]

# Limits of your own; docs/rules.md explains all rules.  Set the figures and remove the "#".
#[rules.daily_net_loss]
#loss_limit = 500
#[rules.max_contracts]
#limit = 5
"""

_WITHOUT_PRESET: Final = """\
# There is no preset for this account.  Its maximum loss, from the firm's page:
#[rules.maximum_loss]
#drawdown = 2000
#starting_balance = 50000
"""


def hub_urls(rest_url: str) -> tuple[str, str]:
    """Return the URLs of the user hub and the market hub that belong to a REST API.

    Firms on ProjectX name their hosts ``api.`` and ``rtc.``; a gateway on this machine has one host for all.
    """
    parts = urlsplit(rest_url)
    host = parts.netloc
    if host.startswith("api."):
        host = f"rtc.{host.removeprefix('api.')}"
    base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
    return f"{base}/hubs/user", f"{base}/hubs/market"


def configuration(
    gateway: GatewaySettings, accounts: Sequence[LoginAccount], preset: str, today: date
) -> str:
    """Return the text of a configuration that enforces nothing yet.

    :param preset: the name of a preset; empty for none.
    """
    urls = [
        f"{name} = {toml_string(getattr(gateway, name))}\n"
        for name in ("rest_url", "user_hub_url", "market_hub_url")
        if getattr(gateway, name) != getattr(_DEFAULTS, name)
    ]
    key_file = (
        f"key_file = {toml_string(gateway.key_file)}\n"
        if gateway.key_file
        else "# No key_file: riskd takes the key from systemd or from RISKD_API_KEY, see docs/topstepx.md.\n"
    )
    return (
        f"# Written by riskctl init on {today}.  docs/riskd.example.toml shows every key.\n\n"
        "# A dry run: riskd reports what it would do, and does nothing.  Set it to true when the reports are\n"
        "# what you want, and restart riskd.\n"
        "enforce = false\n\n"
        f'[gateway]\nkind = "projectx"\nuser_name = {toml_string(gateway.user_name)}\n'
        f"{key_file}{''.join(urls)}"
        f"{_LIMITS}{'' if preset else _WITHOUT_PRESET}"
        f"{''.join(_account(each, preset) for each in accounts)}"
    )


def _account(found: LoginAccount, preset: str) -> str:
    name = found.account.name[:_MAX_NAME]
    return (
        f"\n[[accounts]]\nid = {found.id}\n"
        + (f"name = {toml_string(name)}\n" if name else "")
        + (f"preset = {toml_string(preset)}\n" if preset else "")
    )


def write_new(path: Path, text: str, mode: int) -> None:
    """Write a file that must not exist yet, all of it or nothing.

    :param mode: who may read and write it, whatever the umask adds.
    :raises UserError: it exists, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    except FileExistsError:
        raise UserError(f"{path} exists, and is not overwritten") from None
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
