"""The daemon's settings: accounts, gateway, practice market, server and rules.

:mod:`riskd.config.loader` reads them from ``riskd.toml``; ``docs/riskd.example.toml`` shows every key.
"""

from __future__ import annotations

from datetime import date
from ipaddress import ip_address
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from riskd.config.values import shown
from riskd.model.commitment import duration
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
LoosenAfter = Annotated[
    str, msgspec.Meta(description='"daily_reset", or a time such as "8h", "90m" or "2d"')
]
Chance = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A probability, from 0 (never) to 1 (always)."""

_ShortTime = Annotated[float, msgspec.Meta(ge=0, le=5)]
_LongTime = Annotated[float, msgspec.Meta(ge=0, le=600)]
"""Seconds."""

MAX_URL: Final = 200
"""The longest URL, in characters."""

_WANTED: Final = "a URL such as https://api.topstepx.com"


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One account.

    :ivar id: the gateway's account id.
    :ivar name: the trader's name for the account; riskd does not use it.
    :ivar watch: tickers such as ``MNQ`` whose quotes go to the account's clients even while it holds no
        position in them.
    :ivar preset: the name of its preset; empty if it has none.
    :ivar preset_read: when the oldest part of the preset was read on the firm's page.
    :ivar schedule: when its trading day ends.
    :ivar rules: the enabled rules, in order of evaluation.
    """

    id: int
    name: str = ""
    watch: tuple[str, ...] = ()
    preset: str = ""
    preset_read: date | None = None
    schedule: ResetSchedule = ResetSchedule()
    rules: tuple[RuleInForce, ...] = ()


def checked_url(url: str) -> str:
    """Return ``url`` without a final slash, if a login and its token may go there.

    A token must never travel in the clear, so a URL is ``https``; ``http`` is only for a gateway on this
    machine, such as the practice gateway.

    :raises ValueError: a token must not be sent there; the message says what was expected.  It does not
        repeat those parts of the URL that may hold a secret.
    """
    if "@" in url:
        raise ValueError("expected a URL without a user name or password in it")
    if "?" in url or "#" in url:
        raise ValueError("expected a URL without a query or fragment (what follows a ? or #)")
    # ASCII: a look-alike letter from another alphabet would send the login to another host.
    if not (len(url) <= MAX_URL and url.isascii() and url.isprintable() and " " not in url):
        raise ValueError(
            f"expected {_WANTED}, of up to {MAX_URL} ASCII characters without blanks, got {url[:60]!r}"
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        raise ValueError(f"expected {_WANTED}, got {url!r}")
    if not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise ValueError(
            "expected https://, or http:// to 127.0.0.1, localhost or [::1] "
            f"(a token must not travel in the clear), got {url!r}"
        )
    # Callers append paths that begin with a slash.
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


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


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults and habits of the practice gateway; by default it has none.

    Each chance applies to every single request, event, order, position or trade.  All faults go together,
    and may be set while the gateway runs.

    :ivar refuse: the chance that placing, canceling, changing or closing is refused, with code 2, 3, 3 and
        5 in this order (6 for a partial close).  Nothing happens then, and no rejected order is reported.
    :ivar pending: the chance that canceling or changing is answered with 4 (Pending), or closing with 6
        (OrderPending; 7 for a partial close).  Nothing happens then.
    :ivar unanswered: the chance that a request is carried out but its answer is lost.
    :ivar lost_requests: the chance that a request is not carried out and gets no answer.
    :ivar failed_reads: the chance that a read gets no answer.
    :ivar slow_seconds: the longest time until an answer, in seconds.  A request is carried out at once
        or just before its answer; a read may be old when it arrives.
    :ivar partial_fills: the chance that only a part of an order is filled; the rest waits for the
        contract's next quote, which may fill a part again.
    :ivar fill_while_cancelled: the chance that an order is filled while it is being canceled; the
        request is then refused with code 2 (OrderNotFound).
    :ivar lost_events: the chance that an account event is never sent; quotes are never lost.
    :ivar doubled_events: the chance that an account event is sent twice.
    :ivar requests_per_minute: how many requests of any kind are answered within 60 seconds; the others
        are not carried out and get no answer.  0 is no limit.
    :ivar opening_half_again: whether an exit is reported as two trades, as some brokers do: its entry
        once more, without P&L, at the average price of the entry and with an id of its own, and then
        the exit itself.
    :ivar clock_offset_seconds: how far the exchange's clock is ahead of this machine's; below zero it is
        behind.  All times of the exchange are by its own clock.
    :ivar latency_seconds: how long a request, an answer and an event are under way, each.
    :ivar jitter_seconds: up to so much longer, at random.  Events of a hub still arrive in order.
    :ivar position_delay_seconds: how long after order and trade the events of position and account follow.
    :ivar searches_trail_seconds: how much later than events searches of accounts show a change.
    :ivar swapped_events: the chance that an account event arrives right behind the next one, or a second
        late if there is no next one until then.
    :ivar late_events: the chance that an account event is late; later ones overtake it.
    :ivar late_seconds: the longest time that such an event is late.
    :ivar events_without_stamp: the chance that the event of an order has no ``updateTimestamp``.
    :ivar searches_without_stamp: the chance that an order in a search has a null ``updateTimestamp``.
    :ivar ends_stamped_early: the chance that the end of an order is stamped before the order's last change.
    :ivar positions_dated_ahead: the chance that a position is created on the date of tomorrow.
    :ivar positions_without_date: the chance that a position is created on .NET's empty date, in the year 1.
    :ivar repeated_quotes: the chance that an older quote is sent once more after a quote, with the time it
        had.
    :ivar old_quote_stamps: the chance that a quote bears a time of up to ten minutes ago.
    :ivar zero_last_prices: the chance that a quote says 0 for the price of the last trade.
    :ivar wild_last_prices: the chance that a quote has a last price far outside of its bid and ask.
    :ivar quote_freezes: the chance that a quote is the last one of all contracts for a time.
    :ivar freeze_seconds: how long quotes then stop.  Requests are answered, and orders filled, as always.
    :ivar split_fills: the chance that an order is filled in several parts at once, each a trade of its own.
    :ivar amended_trades: the chance that the broker changes the P&L or the fees of a trade later.
    :ivar voided_trades: the chance that the broker voids a trade later.
    :ivar correction_seconds: the longest time until a trade is amended or voided.
    :ivar commissions: whether trades cost commissions beside their fees.
    :ivar binary_noise: the chance that the P&L of a trade has the digits of a binary fraction that is not
        quite the amount, such as -249.99999999999997.
    """

    refuse: Chance = 0.0
    pending: Chance = 0.0
    unanswered: Chance = 0.0
    lost_requests: Chance = 0.0
    failed_reads: Chance = 0.0
    slow_seconds: _LongTime = 0.0
    partial_fills: Chance = 0.0
    fill_while_cancelled: Chance = 0.0
    lost_events: Chance = 0.0
    doubled_events: Chance = 0.0
    requests_per_minute: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    opening_half_again: bool = False
    clock_offset_seconds: Annotated[float, msgspec.Meta(ge=-86_400, le=86_400)] = 0.0
    latency_seconds: _ShortTime = 0.0
    jitter_seconds: _ShortTime = 0.0
    position_delay_seconds: _ShortTime = 0.0
    searches_trail_seconds: _ShortTime = 0.0
    swapped_events: Chance = 0.0
    late_events: Chance = 0.0
    late_seconds: _LongTime = 2.0
    events_without_stamp: Chance = 0.0
    searches_without_stamp: Chance = 0.0
    ends_stamped_early: Chance = 0.0
    positions_dated_ahead: Chance = 0.0
    positions_without_date: Chance = 0.0
    repeated_quotes: Chance = 0.0
    old_quote_stamps: Chance = 0.0
    zero_last_prices: Chance = 0.0
    wild_last_prices: Chance = 0.0
    quote_freezes: Chance = 0.0
    freeze_seconds: _LongTime = 120.0
    split_fills: Chance = 0.0
    amended_trades: Chance = 0.0
    voided_trades: Chance = 0.0
    correction_seconds: _LongTime = 30.0
    commissions: bool = False
    binary_noise: Chance = 0.0


NO_FAULTS: Final = Faults()


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


class CommitmentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A commitment; see :mod:`riskd.model.commitment`.

    :ivar loosen_after: how long: ``daily_reset``, or a time such as ``8h``.
    """

    loosen_after: LoosenAfter

    def __post_init__(self) -> None:
        try:
            duration(self.loosen_after)
        except ValueError as error:
            raise ValueError(f"loosen_after: {error}") from None


class DeskTable(msgspec.Struct, frozen=True, kw_only=True):
    """What riskd keeps for a desk; see :mod:`riskd.desk`.

    :ivar outbox: whether events are kept until the desk has them.
    """

    outbox: bool = False


class CommonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that are not about single accounts.

    :ivar strict_mode: whether every breach closes all positions and locks the account until an operator
        lifts the lock.
    :ivar enforce: whether riskd acts on breaches; ``False`` is a dry run, which only reports them.
    :ivar commitment: how long what would loosen the settings waits; ``None``: not at all.
    """

    gateway: GatewaySettings = GatewaySettings()
    practice: PracticeSettings = PracticeSettings()
    server: ServerSettings = ServerSettings()
    strict_mode: bool = False
    enforce: bool = True
    commitment: CommitmentSettings | None = None
    desk: DeskTable = DeskTable()


class Settings(CommonSettings, frozen=True, kw_only=True):
    """A whole configuration.

    :ivar text: the TOML text of the configuration, for the recording; empty for settings made in code.
    :ivar operator: the user of the operating system who owns the file; empty if that is unknown.
    :ivar is_kept_enforcing: whether the file asks for a dry run, and a commitment lets that wait.
    """

    accounts: tuple[AccountSettings, ...]
    text: str = ""
    operator: str = ""
    is_kept_enforcing: bool = False
