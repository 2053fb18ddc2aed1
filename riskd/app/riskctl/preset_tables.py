"""Presets as tables."""

from __future__ import annotations

from collections.abc import Iterable

from riskd.app.riskctl.tables import table
from riskd.config.presets import Preset, report_preset
from riskd.config.values import as_toml


def presets_table(presets: Iterable[Preset]) -> list[str]:
    """Return presets as lines for a terminal."""
    rows = [(each.name, str(each.read), each.title) for each in presets]
    return table(("PRESET", "READ", "ACCOUNT"), rows)


def preset_table(preset: Preset) -> list[str]:
    """Return all of a preset as lines for a terminal."""
    rows = [
        (
            ".".join(filter(None, (each.rule, each.key))),
            "set by you" if each.value is None else as_toml(each.value),
            str(each.read),
            each.source,
        )
        for each in report_preset(preset).limits
    ]
    return [
        f"{preset.name}: {preset.title}",
        *table(("KEY", "VALUE", "READ", "SOURCE"), rows),
        "The firm's page decides. Beside a preset a key may only tighten it.",
    ]
