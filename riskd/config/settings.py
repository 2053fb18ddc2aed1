"""The daemon's settings: accounts, gateway, practice market, server and rules.

:mod:`riskd.config.loader` reads them from ``riskd.toml``; ``docs/riskd.example.toml`` shows every key.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from riskd.config.faults import NO_FAULTS, Faults
from riskd.config.urls import checked_url
from riskd.config.values import shown
from riskd.model.trading_day import ResetSchedule
from riskd.rules.evaluation import RuleInForce

UserName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x20\x7f-\x9f][^\x00-\x1f\x7f-\x9f]{0,99}$",
        description="the user name of the login: up to 100 characters on one line",
    ),
]
PathText = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,1000}$", description='a path such as "topstepx.key"'
    ),
]
Origin = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+$",
        description='an origin such as "http://localhost:3000"',
    ),
]


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One account.

    :ivar id: the gateway's account id.
    :ivar name: the trader's name for the account; riskd does not use it.
    :ivar watch: tickers such as ``MNQ`` whose quotes go to the account's clients even while it holds no
        position in them.
    :ivar schedule: when its trading day ends.
    :ivar rules: the enabled rules, in order of evaluation.
    """

    id: int
    name: str = ""
    watch: tuple[str, ...] = ()
    schedule: ResetSchedule = ResetSchedule()
    rules: tuple[RuleInForce, ...] = ()


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway.

    :ivar kind: ``practice`` trades paper in this process; ``projectx`` is TopstepX.
    :ivar user_name: the user name of the login; empty for practice.
    :ivar key_file: the file with the API key, an absolute path once loaded from a file; ``None`` if the
        key comes from another source, see :mod:`riskd.gateway.projectx.credentials`.
    :ivar rest_url: the REST API.  No URL ends in a slash.
    :ivar user_hub_url: the hub that sends account events.
    :ivar market_hub_url: the hub that sends quotes.
    """

    kind: Literal["practice", "projectx"] = "practice"
    user_name: UserName = ""
    key_file: PathText | None = None
    rest_url: str = "https://api.topstepx.com"
    user_hub_url: str = "https://rtc.topstepx.com/hubs/user"
    market_hub_url: str = "https://rtc.topstepx.com/hubs/market"

    def __post_init__(self) -> None:
        for name in ("rest_url", "user_hub_url", "market_hub_url"):
            try:
                url = checked_url(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            # The struct is frozen, but not before it is made.
            msgspec.structs.force_setattr(self, name, url)
        if self.kind == "projectx" and not self.user_name:
            raise ValueError(
                'user_name: missing; expected the user name of the login with kind "projectx"'
            )
        if self.kind == "practice":
            # A trader who sets up a login but forgets the kind would believe that the real account is
            # guarded while riskd trades paper.
            for name in ("user_name", "key_file"):
                if value := getattr(self, name):
                    raise ValueError(
                        f'{name}: expected only with kind "projectx" (kind is "practice", '
                        f"which has no login), got {shown(value)}"
                    )


class PracticeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The practice gateway.

    :ivar seed: a seed repeats the same prices and trades; ``None`` makes each run different.
    :ivar faults: the faults that the gateway simulates.
    """

    seed: int | None = None
    faults: Faults = NO_FAULTS


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The WebSocket server.

    :ivar max_clients: the most clients connected at a time.
    :ivar allowed_origins: origins of web pages that may connect, besides the daemon's own address.
    """

    max_clients: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    allowed_origins: tuple[Origin, ...] = ()


class CommonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that are not about single accounts.

    :ivar strict_mode: whether every breach closes all positions and locks the account until an operator
        lifts the lock.
    :ivar enforce: whether riskd acts on breaches; ``False`` is a dry run, which only reports them.
    """

    gateway: GatewaySettings = GatewaySettings()
    practice: PracticeSettings = PracticeSettings()
    server: ServerSettings = ServerSettings()
    strict_mode: bool = False
    enforce: bool = True


class Settings(CommonSettings, frozen=True, kw_only=True):
    """A whole configuration.

    :ivar text: the TOML text of the configuration, for the recording; empty for settings made in code.
    """

    accounts: tuple[AccountSettings, ...]
    text: str = ""
