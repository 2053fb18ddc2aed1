"""Load ``riskd.toml``: a checked configuration, or every mistake in it.

A configuration with a single mistake is rejected as a whole: an account must never run with only some of
the rules that the trader wrote down.  All mistakes are reported at once, each with its line.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Mapping, Sequence
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import msgspec

from riskd.config.presets import Preset, parse_preset, preset_names, preset_text
from riskd.config.settings import AccountSettings, CommonSettings, Settings
from riskd.config.toml import WRONG, ConfigError, KeyPath, TableReader, nearest, read_text
from riskd.config.values import as_toml, toml_string
from riskd.host.users import current_user, owner_of
from riskd.model.trading_day import ResetSchedule
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import IRule
from riskd.rules.settings import Ticker

_NO_SECRETS: Final = (
    "a secret does not belong in this file; expected the API key in a file of its own that "
    "gateway.key_file names, as the systemd credential riskd-api-key, or in RISKD_API_KEY"
)
_SECRETS: Final = dict.fromkeys(
    ("api_key", "apikey", "key", "password", "secret", "token", "access_token"), _NO_SECRETS
)
"""Unknown keys that people may use for a secret, and the sentence that says where secrets go."""

_PRESET: Final = "preset:"
"""Begins the names of presets among the files of a recording."""

_RuleTables = dict[str, dict[str, Any]]
"""The tables of rules, by key.  Each rule's own settings type says which keys a table may have."""


class _Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """``[defaults]``: used by accounts that do not set these keys themselves."""

    time_zone: ZoneInfo | None = None
    reset_time: time | None = None


class _Account(_Defaults, frozen=True, kw_only=True):
    """``[[accounts]]``."""

    # Below 2**53, up to which every client reads a JSON number exactly.
    id: Annotated[
        int,
        msgspec.Meta(ge=1, lt=2**53, description="the gateway's account id, a number above 0"),
    ]
    # A label for the reader of the file; riskd goes by the id alone.
    name: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,60}$",
            description="a text of up to 60 characters on one line",
        ),
    ] = ""
    watch: tuple[Ticker, ...] = ()
    preset: str = ""
    rules: _RuleTables = {}


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """``[files.NAME]``: a file that rules name, as a recording keeps it.

    :ivar problem: why it could not be read.
    """

    text: str = ""
    problem: str = ""


class _Document(CommonSettings, frozen=True, kw_only=True):
    """A whole file."""

    accounts: tuple[_Account, ...] = ()
    defaults: _Defaults = _Defaults()
    rules: _RuleTables = msgspec.field(default_factory=dict)
    files: dict[str, _File] = msgspec.field(default_factory=dict)


def practice_settings(rules: Mapping[str, IRule]) -> Settings:
    """Return the settings of a daemon without a configuration: paper trading.

    :param rules: as for :func:`parse_settings`.
    """
    file = importlib.resources.files("riskd.config") / "practice.toml"
    settings = parse_settings(file.read_text(encoding="utf-8"), file.name, rules)
    return msgspec.structs.replace(settings, operator=current_user())


def load_settings(path: Path, rules: Mapping[str, IRule]) -> Settings:
    """Return the settings in the file ``path``.

    :param rules: as for :func:`parse_settings`.
    :raises ConfigError: the file cannot be read, or has mistakes.
    """
    directory = path.absolute().parent
    settings = parse_settings(
        _read_file(path), str(path), rules, lambda name: _read_file(directory / name)
    )
    settings = msgspec.structs.replace(settings, operator=owner_of(path))
    key_file = settings.gateway.key_file
    if key_file is None:
        return settings
    # Absolute, because the key is read again at each login and twistd changes its directory.
    beside = directory / key_file
    gateway = msgspec.structs.replace(settings.gateway, key_file=str(beside))
    return msgspec.structs.replace(settings, gateway=gateway)


def _read_file(path: Path) -> str:
    # Opening a named pipe would block the daemon until another process writes to it.
    if not path.is_file() and path.exists():
        raise ConfigError(f"{path}: not a regular file")
    return read_text(path)


def parse_settings(
    text: str,
    name: str,
    rules: Mapping[str, IRule],
    read: Callable[[str], str] | None = None,
) -> Settings:
    """Return the settings that ``text`` describes.

    :param name: the file name that messages begin with.
    :param rules: the available rules by key, in order of evaluation.
    :param read: returns the text of a file that a rule names, and raises a :exc:`ConfigError` if it cannot be
        read.  Without it, those files can be read that ``text`` itself contains, as that of a recording does.
    :raises ConfigError: ``text`` has mistakes.
    """
    reader = TableReader(text, name, _SECRETS)
    # Both parts are checked, whatever is wrong in the other, so that all mistakes are reported at once.
    document = reader.struct(reader.tables, _Document, ())
    files = _Files({} if document is WRONG else document.files, read)
    presets = _presets_of_accounts(reader, rules, files)
    rules_in_force = _rules_of_accounts(reader, rules, files, presets)
    if document is not WRONG:
        if read is not None:
            _refuse_presets(reader, document)
        _check_accounts(reader, document.accounts)
        _check_days(reader, document, presets)
    reader.check()
    common = {name: getattr(document, name) for name in CommonSettings.__struct_fields__}
    return Settings(
        accounts=tuple(
            _account_settings(account, document.defaults, preset, in_force)
            for account, preset, in_force in zip(
                document.accounts, presets, rules_in_force, strict=True
            )
        ),
        text=text + files.tables,
        **common,
    )


class _Files:
    """The files that rules name, each read once.

    :param known: those that the configuration itself contains, by name.
    :param read: see :func:`parse_settings`.
    """

    def __init__(self, known: Mapping[str, _File], read: Callable[[str], str] | None) -> None:
        self._known = known
        self._read = read
        self._more: dict[str, _File] = {}

    def read(self, name: str) -> str:
        """Return a file's text.

        :raises ConfigError: it cannot be read.
        """
        file = self._known.get(name) or self._more.get(name)
        if file is None:
            file = self._more[name] = self._read_first(name)
        if file.problem:
            raise ConfigError(file.problem)
        return file.text

    def preset(self, name: str) -> str:
        """Return the text of a preset: riskd's own, or in a recording that of the day."""
        key = f"{_PRESET}{name}"
        if self._read is None and key in self._known:
            return self._known[key].text
        self._more[key] = _File(text=preset_text(name))
        return self._more[key].text

    def _read_first(self, name: str) -> _File:
        if self._read is None:
            return _File(problem=f"{name} is not in this configuration")
        try:
            return _File(text=self._read(name))
        except ConfigError as error:
            return _File(problem=error.problems[0])

    @property
    def tables(self) -> str:
        """Tables that contain the files that were read, as TOML."""
        return "".join(
            f"\n[files.{toml_string(name)}]\n{key} = {toml_string(value)}\n"
            for name, file in self._more.items()
            for key, value in (("problem" if file.problem else "text", file.problem or file.text),)
        )


def _account_settings(
    account: _Account,
    defaults: _Defaults,
    preset: Preset | None,
    rules: tuple[RuleInForce, ...],
) -> AccountSettings:
    builtin = ResetSchedule()
    day = _Defaults() if preset is None or preset.day is None else preset.day
    zone = account.time_zone or defaults.time_zone or day.time_zone
    return AccountSettings(
        id=account.id,
        name=account.name,
        # A dict drops repeated tickers and keeps their order.
        watch=tuple(dict.fromkeys(ticker.upper() for ticker in account.watch)),
        preset=account.preset,
        preset_read=None if preset is None else preset.read,
        schedule=ResetSchedule(
            reset_time=account.reset_time
            or defaults.reset_time
            or day.reset_time
            or builtin.reset_time,
            time_zone=zone.key if zone else builtin.time_zone,
        ),
        rules=rules,
    )


def _check_accounts(reader: TableReader, accounts: tuple[_Account, ...]) -> None:
    """Report a file without accounts, and account ids that are used twice."""
    if not accounts:
        reader.report(("accounts",), "expected at least one account: [[accounts]] with an id")
    seen: dict[int, int] = {}
    for number, account in enumerate(accounts):
        first = seen.setdefault(account.id, number)
        if first != number:
            sentence = f"expected an id of its own, but accounts[{first}] has {account.id} too"
            reader.report(("accounts", number, "id"), sentence)


def _refuse_presets(reader: TableReader, document: _Document) -> None:
    """Report presets in a file: only a recording may bring them."""
    for name in document.files:
        if name.startswith(_PRESET):
            reader.report(("files", name), "expected no preset here: riskd has its own")


def _check_days(
    reader: TableReader, document: _Document, presets: Sequence[Preset | None]
) -> None:
    """Report ends of the trading day that differ from those of presets."""
    for number, (account, preset) in enumerate(zip(document.accounts, presets, strict=True)):
        if preset is None or preset.day is None:
            continue
        for key in _Defaults.__struct_fields__:
            wanted, own = getattr(preset.day, key), getattr(account, key)
            value = own or getattr(document.defaults, key)
            if value not in (None, wanted):
                limit = (
                    f"expected {as_toml(wanted)} beside preset {preset.name}, got {as_toml(value)}"
                )
                if own is None:
                    reader.report(("defaults", key), f"{limit} (preset of accounts[{number}])")
                else:
                    reader.report(("accounts", number, key), limit)


def _presets_of_accounts(
    reader: TableReader, rules: Mapping[str, IRule], files: _Files
) -> list[Preset | None]:
    """Return each account's preset, if it has one."""
    known: dict[str, Preset] = {}
    accounts = reader.tables.get("accounts")
    found = []
    for number, account in enumerate(accounts if isinstance(accounts, list) else ()):
        name = account.get("preset", "") if isinstance(account, dict) else ""
        # The check of the whole document reports one that is not a text.
        if isinstance(name, str) and name and name not in known:
            names = preset_names()
            if name in names:
                known[name] = parse_preset(files.preset(name), name, rules)
            else:
                sentence = f"there is no such preset{nearest(name, names)}"
                reader.report(("accounts", number, "preset"), sentence)
        found.append(known.get(name) if isinstance(name, str) else None)
    return found


def _rules_of_accounts(
    reader: TableReader,
    rules: Mapping[str, IRule],
    files: _Files,
    presets: Sequence[Preset | None],
) -> list[tuple[RuleInForce, ...]]:
    """Return each account's enabled rules with their settings."""
    shared = _rule_fields(reader, reader.tables, rules, ())
    accounts = reader.tables.get("accounts")
    in_force = []
    for number, account in enumerate(accounts if isinstance(accounts, list) else ()):
        preset = presets[number]
        given = {} if preset is None else preset.fields
        own = _rule_fields(reader, account, rules, ("accounts", number))
        enabled = []
        # In the catalogue's order, which is that of evaluation, not in the file's.
        for key, rule in rules.items():
            if key not in shared and key not in own and key not in given:
                continue
            # The account's own keys override the shared ones, and these the preset's.
            values = {**given.get(key, {}), **shared.get(key, {}), **own.get(key, {})}
            # A mistake in the shared settings is reported once, at their place, not for every account.
            where = ("accounts", number, "rules", key) if key in own else ("rules", key)
            settings = reader.build(values, rule.settings_type, where)
            if settings is WRONG:
                continue
            if preset is not None and key in given:
                for path, sentence in preset.loosened_keys(key, settings):
                    is_shared = path[0] not in own.get(key, {})
                    of = f" (preset of accounts[{number}])" if is_shared else ""
                    top: KeyPath = () if is_shared else ("accounts", number)
                    reader.report((*top, "rules", key, *path), f"{sentence}{of}")
            if settings.enabled:
                enabled.append(RuleInForce(rule, settings.with_files(files.read)))
        in_force.append(tuple(enabled))
    return in_force


def _rule_fields(
    reader: TableReader, table: Any, rules: Mapping[str, IRule], path: KeyPath
) -> dict[str, dict[str, Any]]:
    """Return the settings that ``table`` gives for rules, by the rule's key."""
    # The check of the whole document reports a value that is not a table; here it is skipped.
    named = table.get("rules") if isinstance(table, dict) else None
    fields = {}
    for key, values in (named if isinstance(named, dict) else {}).items():
        where = (*path, "rules", key)
        if key not in rules:
            reader.report(where, f"there is no such rule{nearest(key, rules)}")
        elif isinstance(values, dict):
            fields[key] = reader.fields(values, rules[key].settings_type, where)
    return fields
