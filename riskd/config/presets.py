"""Presets: limits that firms publish, with their sources.

A preset is a TOML file of this package; each limit in it has its source and the date on which it was read.  Beside a preset a key may only tighten it; which way that is, the rule's
module declares (:mod:`riskd.rules.tightness`).
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from riskd.config.settings import Settings
from riskd.config.toml import WRONG, ConfigError, KeyPath, TableReader
from riskd.config.values import as_toml
from riskd.rules.interface import IRule
from riskd.rules.settings import RuleSettings
from riskd.rules.tightness import loosened

MOST_DAYS: Final = 180
"""After so many days since it was read a preset is old: firms change their limits often."""

_FOLDER: Final = importlib.resources.files("riskd.config") / "presets"


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was read on a firm's page.

    :ivar source: the page.
    :ivar read: the date on which it was read, or the earliest that it may have been.
    """

    source: str
    read: date


class PresetDay(_Read, frozen=True, kw_only=True):
    """When the firm's trading day ends."""

    reset_time: time
    time_zone: ZoneInfo


class PresetLimit(_Read, frozen=True, kw_only=True):
    """Keys of a rule.

    :ivar rule: the rule's key.
    :ivar keys: its keys with their values, as TOML has them; the others have their defaults.
    :ivar left_to_you: keys that limit nothing and that the trader may set, such as the name of a file.
    """

    rule: str
    keys: dict[str, Any]
    left_to_you: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file."""

    title: str
    day: PresetDay | None = None
    limits: tuple[PresetLimit, ...]


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A preset.

    :ivar name: its name in the configuration.
    :ivar title: the firm, and which of its accounts.
    :ivar day: when the trading day ends; ``None``: the preset does not say.
    :ivar fields: the values of the keys that it has, by the rule's key.
    :ivar settings: the settings of these rules, defaults included, by the rule's key.
    """

    name: str
    title: str
    day: PresetDay | None
    limits: tuple[PresetLimit, ...]
    fields: dict[str, dict[str, Any]]
    settings: dict[str, RuleSettings]

    @property
    def read(self) -> date:
        """The date on which the oldest part was read."""
        parts = [*self.limits, *([] if self.day is None else [self.day])]
        return min(part.read for part in parts)

    def loosened_keys(self, rule: str, settings: RuleSettings) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys by which settings of a rule are looser, each with a sentence."""
        left = {key for each in self.limits if each.rule == rule for key in each.left_to_you}
        for path, new, old, words in loosened(settings, self.settings[rule]):
            if path[0] not in left:
                limit = f"{as_toml(old)} {words}".rstrip()
                yield path, f"expected {limit} beside preset {self.name}, got {as_toml(new)}"


def preset_names() -> tuple[str, ...]:
    """Return the names of all presets, sorted."""
    names = (file.name.removesuffix(".toml") for file in _FOLDER.iterdir())
    return tuple(sorted(names))


def preset_text(name: str) -> str:
    """Return the text of one of the :func:`preset_names`."""
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def load_preset(name: str, rules: Mapping[str, IRule]) -> Preset:
    """Return one of the :func:`preset_names`; see :func:`parse_preset`."""
    return parse_preset(preset_text(name), name, rules)


def parse_preset(text: str, name: str, rules: Mapping[str, IRule]) -> Preset:
    """Return the preset that ``text`` describes.

    :param rules: the available rules by key.
    :raises ConfigError: ``text`` has mistakes, or one of its rules is not available.
    """
    reader = TableReader(text, f"preset {name}")
    file = reader.struct(reader.tables, _File, ())
    reader.check()
    fields: dict[str, dict[str, Any]] = {}
    settings: dict[str, RuleSettings] = {}
    for number, limit in enumerate(file.limits):
        where = ("limits", number, "keys")
        if limit.rule not in rules:
            raise ConfigError(f"preset {name} needs the rule {limit.rule}, which is not there")
        kind = rules[limit.rule].settings_type
        known = fields.setdefault(limit.rule, {})
        known |= reader.fields(limit.keys, kind, where)
        built = reader.build(known, kind, where)
        if built is not WRONG:
            settings[limit.rule] = built
    reader.check()
    return Preset(
        name=name,
        title=file.title,
        day=file.day,
        limits=file.limits,
        fields=fields,
        settings=settings,
    )


class LimitReport(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a preset.

    :ivar rule: the rule's key; empty for the trading day.
    :ivar key: its own.
    :ivar value: as TOML has it; ``None`` where the trader sets it.
    :ivar is_left_to_you: whether the trader sets it.
    """

    rule: str
    key: str
    value: Any
    is_left_to_you: bool
    source: str
    read: date


class PresetReport(msgspec.Struct, frozen=True, kw_only=True):
    """A preset, as ``riskctl presets --json`` writes it.

    :ivar read: the date on which its oldest part was read.
    """

    preset: str
    title: str
    read: date
    limits: tuple[LimitReport, ...]


def report_preset(preset: Preset) -> PresetReport:
    """Return the report of a preset."""
    rows: list[tuple[str, Mapping[str, Any], _Read]] = []
    if preset.day is not None:
        day = {
            "reset_time": f"{preset.day.reset_time:%H:%M}",
            "time_zone": preset.day.time_zone.key,
        }
        rows.append(("", day, preset.day))
    rows += [
        (each.rule, {**each.keys, **dict.fromkeys(each.left_to_you)}, each)
        for each in preset.limits
    ]
    limits = tuple(
        LimitReport(
            rule=rule,
            key=key,
            value=value,
            is_left_to_you=value is None,
            source=part.source,
            read=part.read,
        )
        for rule, keys, part in rows
        for key, value in keys.items()
    )
    return PresetReport(preset=preset.name, title=preset.title, read=preset.read, limits=limits)


def preset_warnings(settings: Settings, today: date) -> Iterator[str]:
    """Yield a sentence for each account whose preset is old."""
    for account in settings.accounts:
        read = account.preset_read
        if read is not None and today - read > timedelta(days=MOST_DAYS):
            yield (
                f"account {account.id}: the limits of preset {account.preset} were read on {read}, more than "
                f"{MOST_DAYS} days ago; compare them with the firm's page, and look for a newer riskd"
            )
