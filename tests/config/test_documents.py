"""The configurations in ``docs`` can be used and say what the code says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import GatewaySettings, PracticeSettings, ServerSettings, Settings
from riskd.rules.registry import RULES
from tests.support.configuration import parse

DOCS = Path(__file__).parents[2] / "docs"


class GuideTests(SynchronousTestCase):
    """``docs/topstepx.md`` begins with a configuration that can be used."""

    def test_it_is_a_dry_run_on_topstepx(self) -> None:
        guide = (DOCS / "topstepx.md").read_text(encoding="utf-8")
        (text,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
        settings = parse(text)
        self.assertEqual((settings.gateway.kind, settings.enforce), ("projectx", False))
        (account,) = settings.accounts
        self.assertEqual(len(account.rules), 3)


EXAMPLE = (DOCS / "riskd.example.toml").read_text(encoding="utf-8")
DEFAULT_LINE = re.compile(r"^#(?=\w+ = )", re.MULTILINE)
EXAMPLE_LINE = re.compile(r"^#\? (?=\w+ = )", re.MULTILINE)


def uncommented(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Yield each line of the example that fits, and the example without the mark of that line."""
    for match in pattern.finditer(EXAMPLE):
        text = EXAMPLE[: match.start()] + EXAMPLE[match.end() :]
        yield text[match.start() :].partition("\n")[0], text


def in_effect(settings: Settings) -> Any:
    """Return ``settings`` so that two that mean the same are equal."""
    accounts = [
        msgspec.structs.replace(
            account,
            # Its settings say as little as the file does; the windows are what they mean.
            rules=[
                (one.rule.key, getattr(one.settings, "windows", one.settings))
                for one in account.rules
            ],
        )
        for account in settings.accounts
    ]
    return msgspec.structs.replace(settings, accounts=tuple(accounts), text="")


def fields_of(kind: type[msgspec.Struct]) -> Iterator[str]:
    """Yield the keys of a table and of the tables in it."""
    for field in msgspec.structs.fields(kind):
        yield field.encode_name
        for inner in structs_in(field.type):
            yield from fields_of(inner)


def structs_in(kind: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, msgspec.Struct):
        yield kind
    for part in get_args(kind):
        yield from structs_in(part)


class ExampleTests(SynchronousTestCase):
    """``docs/riskd.example.toml`` says what the code says."""

    def test_it_is_a_configuration(self) -> None:
        settings = parse(EXAMPLE)
        self.assertEqual([account.id for account in settings.accounts], [123, 456])

    def test_what_it_calls_defaults_are_the_defaults(self) -> None:
        as_it_is = in_effect(parse(EXAMPLE))
        for line, text in uncommented(DEFAULT_LINE):
            self.assertEqual(in_effect(parse(text)), as_it_is, line)

    def test_its_examples_can_be_used(self) -> None:
        lines = []
        for line, text in uncommented(EXAMPLE_LINE):
            lines.append(line)
            if line.startswith("cooldown_on_breach"):
                # It makes sense together with the line before it.
                parse(text.replace("#? limits = { per", "limits = { per"))
            elif line.startswith(("user_name", "key_file")):
                # So do these, and with another gateway.
                of_broker = text.replace('#kind = "practice"', 'kind = "projectx"')
                parse(of_broker.replace("#? user_name", "user_name"))
            else:
                parse(text)
        self.assertGreater(len(lines), 4)

    def test_every_key_of_every_rule_is_in_it(self) -> None:
        for rule in RULES:
            _, header, rest = EXAMPLE.partition(f"\n[rules.{rule.key}]\n")
            self.assertTrue(header, rule.key)
            self.check(rest.partition("\n[")[0], rule.settings_type, rule.key)

    def test_every_other_key_is_in_it(self) -> None:
        for kind in (GatewaySettings, ServerSettings, PracticeSettings, Settings):
            self.check(EXAMPLE, kind, kind.__name__, "schedule", "text")

    def check(self, text: str, kind: type[msgspec.Struct], name: str, *but: str) -> None:
        for key in fields_of(kind):
            if key not in but:
                self.assertRegex(text, rf"\b{key}( =|\]|\.)", f"{name}.{key}")
