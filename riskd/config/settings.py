"""Settings: what a daemon is told about the accounts it follows, its gateway, and the rules.

They come from a TOML file; ``docs/riskd.example.toml`` shows every key.  A file with a mistake in it is
refused as a whole, with all of its mistakes.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from riskd.config.faults import NO_FAULTS, Faults
from riskd.config.toml import WRONG, KeyPath, TableReader, nearest, parse, shown
from riskd.config.urls import checked_url
from riskd.host.errors import UserError
from riskd.model.trading_day import ResetSchedule
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import IRule
from riskd.rules.settings import Ticker

MAX_BYTES: Final = 256 * 1024
"""A larger file is not a configuration."""

AccountId = Annotated[
    int,
    msgspec.Meta(ge=1, lt=2**53, description="the gateway's number of the account, above 0"),
]
Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,60}$",
        description="a text of up to 60 letters, in one line",
    ),
]
Clients = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Origin = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+$",
        description='an origin such as "http://localhost:3000"',
    ),
]
Login = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x20\x7f-\x9f][^\x00-\x1f\x7f-\x9f]{0,99}$",
        description="the user name of the login, a text of up to 100 letters, in one line",
    ),
]
PathText = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,1000}$", description='a path such as "topstepx.key"'
    ),
]


class ConfigError(UserError):
    """A configuration that cannot be used; ``problems`` has a line for each mistake."""


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One account.

    :ivar id: the gateway's account id.
    :ivar name: what a person calls it.
    :ivar watch: tickers such as ``MNQ`` whose quotes are sent to the account's consoles even while it
        holds nothing in them.
    :ivar schedule: when its trading day ends.
    :ivar rules: the rules that guard it, in the order in which they are asked.
    """

    id: int
    name: str = ""
    watch: tuple[str, ...] = ()
    schedule: ResetSchedule = ResetSchedule()
    rules: tuple[RuleInForce, ...] = ()


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway.

    :ivar kind: which one; ``practice`` trades paper in this process, ``projectx`` is TopstepX.
    :ivar user_name: who logs in; empty for practice.
    :ivar key_file: the file that holds the API key; ``None``: it is elsewhere, see
        :mod:`riskd.gateway.projectx.credentials`.  :func:`load` makes it absolute.
    :ivar rest_url: where requests go; no URL ends in a slash.
    :ivar user_hub_url: where events of accounts come from.
    :ivar market_hub_url: where quotes come from.
    """

    kind: Literal["practice", "projectx"] = "practice"
    user_name: Login = ""
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
            msgspec.structs.force_setattr(self, name, url)
        if self.kind == "projectx" and not self.user_name:
            raise ValueError(
                'user_name: missing; expected the user name of the login, with kind "projectx"'
            )
        if self.kind == "practice":
            # Who gave a login does not want to trade paper, or only for now: in any case, say so.
            for name in ("user_name", "key_file"):
                if value := getattr(self, name):
                    raise ValueError(
                        f'{name}: expected only with kind "projectx" (kind is "practice", '
                        f"which has no login), got {shown(value)}"
                    )


class PracticeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The practice gateway.

    :ivar seed: the same one gives the same prices and trades; ``None`` gives new ones.
    :ivar faults: what it does wrong.
    """

    seed: int | None = None
    faults: Faults = NO_FAULTS


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The WebSocket server.

    :ivar max_clients: how many consoles may be connected at a time.
    :ivar allowed_origins: where web pages may come from that connect, besides the daemon's own address.
    """

    max_clients: Clients = 1000
    allowed_origins: tuple[Origin, ...] = ()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that a configuration says.

    :ivar strict_mode: whether every breach closes everything and locks the account for good.
    :ivar enforce: whether anything is done about a breach; if not, it is only told what would be.
    :ivar text: the text that says so; empty for settings that were not read.
    """

    accounts: tuple[AccountSettings, ...]
    gateway: GatewaySettings = GatewaySettings()
    practice: PracticeSettings = PracticeSettings()
    server: ServerSettings = ServerSettings()
    strict_mode: bool = False
    enforce: bool = True
    text: str = ""


PRACTICE_ACCOUNTS: Final = (
    AccountSettings(id=123, watch=("MNQ", "MES", "MCL")),
    AccountSettings(id=456, watch=("NQ", "ES", "M2K", "MGC")),
)
"""The accounts of the embedded practice gateway."""


def practice_settings(rules: Mapping[str, IRule]) -> Settings:
    """Return the settings of a daemon that is given none: paper trading.

    :param rules: as for :func:`read`.
    """
    file = importlib.resources.files("riskd.config") / "practice.toml"
    return read(file.read_text(encoding="utf-8"), file.name, rules)


def load(path: Path, rules: Mapping[str, IRule]) -> Settings:
    """Return the settings in the file ``path``.

    :param rules: as for :func:`read`.
    :raises ConfigError: it cannot be read, or something in it is wrong.
    """
    try:
        # To open a pipe would wait for somebody to write into it.
        if not path.is_file() and path.exists():
            raise ConfigError(f"{path}: is no file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES} bytes, so it is no configuration")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: is not text in UTF-8") from None
    settings = read(text, str(path), rules)
    key_file = settings.gateway.key_file
    if key_file is None:
        return settings
    beside = path.absolute().parent / key_file
    gateway = msgspec.structs.replace(settings.gateway, key_file=str(beside))
    return msgspec.structs.replace(settings, gateway=gateway)


def read(text: str, name: str, rules: Mapping[str, IRule]) -> Settings:
    """Return the settings that ``text`` describes.

    :param name: what the text is called, for the messages.
    :param rules: the rules that there are, by key, in the order in which they are asked.
    :raises ConfigError: something in it is wrong.
    """
    try:
        tables = parse(text)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    reader = TableReader(text, name, _SECRETS)
    # What is wrong in one part hides nothing of the other.
    document = reader.struct(tables, _Document, ())
    in_force = _rules_of_accounts(reader, tables, rules)
    if document is not WRONG:
        _check_accounts(reader, document.accounts)
    if reader.problems:
        raise ConfigError(*reader.problems)
    return Settings(
        accounts=tuple(map(document.settings_of, document.accounts, in_force)),
        gateway=document.gateway,
        practice=document.practice,
        server=document.server,
        strict_mode=document.strict_mode,
        enforce=document.enforce,
        text=text,
    )


def settings_json(settings: msgspec.Struct) -> str:
    """Return a rule's settings as JSON; the same settings give the same text."""
    return msgspec.json.encode(settings, order="deterministic").decode()


def settings_from_json(rule: IRule, text: str) -> Any:
    """Return the settings of ``rule`` that :func:`settings_json` has written.

    :raises ValueError: they are not of this rule, or of another version of it.
    """
    return msgspec.json.decode(text, type=rule.settings_type)


_NO_SECRETS: Final = (
    "a secret does not belong in this file; expected the API key in a file of its own that "
    "gateway.key_file names, as the systemd credential riskd-api-key, or in RISKD_API_KEY"
)
_SECRETS: Final = dict.fromkeys(
    ("api_key", "apikey", "key", "password", "secret", "token", "access_token"), _NO_SECRETS
)
"""What a key is called whose value is a secret, and what is said of it."""

_RuleTables = dict[str, dict[str, Any]]
"""The tables of rules, by key; what may stand in them, each rule knows."""


class _DayTable(msgspec.Struct, frozen=True, kw_only=True):
    """``[defaults]``: what holds for the accounts that say nothing else."""

    time_zone: ZoneInfo | None = None
    reset_time: time | None = None


class _AccountTable(_DayTable, frozen=True, kw_only=True):
    """``[[accounts]]``."""

    id: AccountId
    name: Name = ""
    watch: tuple[Ticker, ...] = ()
    rules: _RuleTables = {}


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file."""

    accounts: tuple[_AccountTable, ...] = ()
    defaults: _DayTable = _DayTable()
    gateway: GatewaySettings = GatewaySettings()
    practice: PracticeSettings = PracticeSettings()
    server: ServerSettings = ServerSettings()
    strict_mode: bool = False
    enforce: bool = True
    rules: _RuleTables = {}

    def settings_of(
        self, account: _AccountTable, rules: tuple[RuleInForce, ...]
    ) -> AccountSettings:
        """Return the settings of an account, and of the rules that guard it."""
        usual = ResetSchedule()
        zone = account.time_zone or self.defaults.time_zone
        return AccountSettings(
            id=account.id,
            name=account.name,
            watch=tuple(dict.fromkeys(ticker.upper() for ticker in account.watch)),
            schedule=ResetSchedule(
                reset_time=account.reset_time or self.defaults.reset_time or usual.reset_time,
                time_zone=zone.key if zone else usual.time_zone,
            ),
            rules=rules,
        )


def _check_accounts(reader: TableReader, accounts: tuple[_AccountTable, ...]) -> None:
    if not accounts:
        reader.note(("accounts",), "expected at least one account: [[accounts]] with an id")
    seen: dict[int, int] = {}
    for number, account in enumerate(accounts):
        first = seen.setdefault(account.id, number)
        if first != number:
            sentence = f"expected an id of its own, but accounts[{first}] is {account.id} too"
            reader.note(("accounts", number, "id"), sentence)


def _rules_of_accounts(
    reader: TableReader, tables: dict[str, Any], rules: Mapping[str, IRule]
) -> list[tuple[RuleInForce, ...]]:
    """Return the rules that guard each account."""
    usual = _rule_fields(reader, tables, rules, ())
    accounts = tables.get("accounts")
    in_force = []
    for number, account in enumerate(accounts if isinstance(accounts, list) else ()):
        path = ("accounts", number)
        own = _rule_fields(reader, account, rules, path)
        settings = {
            key: _rule_settings(reader, rule, usual.get(key), own.get(key), path)
            for key, rule in rules.items()
            if key in usual or key in own
        }
        in_force.append(
            tuple(
                RuleInForce(rules[key], of_rule)
                for key, of_rule in settings.items()
                if of_rule is not WRONG and of_rule.enabled
            )
        )
    return in_force


def _rule_fields(
    reader: TableReader, table: Any, rules: Mapping[str, IRule], path: KeyPath
) -> dict[str, dict[str, Any]]:
    """Return what the tables of rules in ``table`` say, by the rule's key."""
    # That something else stands where a table should is noted with the document's shape.
    named = table.get("rules") if isinstance(table, dict) else None
    fields = {}
    for key, values in (named if isinstance(named, dict) else {}).items():
        where = (*path, "rules", key)
        if key not in rules:
            reader.note(where, f"there is no such rule{nearest(key, rules)}")
        elif isinstance(values, dict):
            fields[key] = reader.fields(values, rules[key].settings_type, where)
    return fields


def _rule_settings(
    reader: TableReader,
    rule: IRule,
    usual: dict[str, Any] | None,
    own: dict[str, Any] | None,
    path: KeyPath,
) -> Any:
    """Return a rule's settings for an account: the usual ones, and over them its own, key by key."""
    values = {**(usual or {}), **(own or {})}
    # What is wrong in the usual settings is said of them, and not of every account.
    where = ("rules", rule.key) if own is None else (*path, "rules", rule.key)
    return reader.build(values, rule.settings_type, where)
