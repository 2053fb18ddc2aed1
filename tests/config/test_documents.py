"""The configurations in ``docs`` can be used and say what the code says."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.main import main
from riskd.config.settings import (
    Faults,
    GatewaySettings,
    PracticeSettings,
    ServerSettings,
    Settings,
)
from riskd.model.balance import Balance
from riskd.rules.registry import RULES
from tests import in_one_runner
from tests.support.configuration import parse, rules_of
from tests.support.directories import temporary_directory
from tests.support.rules import MNQ, position, quote, review, state_after

DOCS = Path(__file__).parents[2] / "docs"


class GuideTests(SynchronousTestCase):
    """The configuration that ``docs/topstepx.md`` begins with."""

    def test_the_guide_configures_a_dry_run_on_topstepx(self) -> None:
        guide = (DOCS / "topstepx.md").read_text(encoding="utf-8")
        text, own_floor = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
        settings = parse(text)
        self.assertEqual((settings.gateway.kind, settings.enforce), ("projectx", False))
        (account,) = settings.accounts
        floor = rules_of(account)["maximum_loss"]
        self.assertEqual((floor.drawdown, floor.starting_balance), (2000, 50000))
        without_preset = re.sub(r"preset = .*\n", "", text)
        (other,) = parse(f"{without_preset}{own_floor}").accounts
        self.assertEqual(rules_of(other)["maximum_loss"].starting_balance, 0)
        for each in (account, other):
            self.assertEqual(len(each.rules), 4)

    def test_it_is_correct_and_guards_against_an_open_loss(self) -> None:
        """$1,084.50 on an open position are beyond a net loss of $500 long before."""
        guide = (DOCS / "topstepx.md").read_text(encoding="utf-8")
        text = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)[0]
        directory = temporary_directory(self)
        (directory / "riskd.toml").write_text(text)
        key = directory / "topstepx.key"
        key.write_text("secret\n")
        key.chmod(0o600)
        with redirect_stdout(io.StringIO()) as out:
            self.assertEqual(main(["check-config", str(directory / "riskd.toml")]), 0)
        last = out.getvalue().splitlines()[-1]
        self.assertIn("is correct: 1 account, 4 rules; a dry run", last)
        events = (position(MNQ, 1, price="21000"), quote(MNQ, "20749.75", 1))
        state = msgspec.structs.replace(
            state_after(*events), balance=Balance(agreed=Decimal(50000), first=Decimal(50000))
        )
        breached = [
            one.rule.key
            for one in parse(text).accounts[0].rules
            if one.rule.check(state, one.settings, review(2)).commands
        ]
        self.assertEqual(breached, ["daily_net_loss"])


class PracticeTests(SynchronousTestCase):
    """The faults in ``docs/practice-gateway.md``."""

    def setUp(self) -> None:
        self.text = (DOCS / "practice-gateway.md").read_text(encoding="utf-8")

    def test_its_configuration_of_faults_is_valid(self) -> None:
        (faults,) = re.findall(r"```toml\n(\[practice.faults\]\n.*?)```", self.text, re.DOTALL)
        self.assertEqual(
            parse(f"{faults}\n[[accounts]]\nid = 1\n").practice.faults.latency_seconds, 0.04
        )

    def test_it_names_every_fault(self) -> None:
        for name in Faults.__struct_fields__:
            self.assertIn(f"`{name}`", self.text)


EXAMPLE = (DOCS / "riskd.example.toml").read_text(encoding="utf-8")
DEFAULT_LINE = re.compile(r"^#(?=\w+ = )", re.MULTILINE)
EXAMPLE_LINE = re.compile(r"^#\? (?=\w+ = )", re.MULTILINE)


def uncommented(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Yield each line that matches, and the example with that line uncommented."""
    for match in pattern.finditer(EXAMPLE):
        text = EXAMPLE[: match.start()] + EXAMPLE[match.end() :]
        yield text[match.start() :].partition("\n")[0], text


def in_effect(settings: Settings) -> Any:
    """Return ``settings`` in a form in which equal meanings are equal."""
    accounts = [
        msgspec.structs.replace(
            account,
            # trade_frequency_limit keeps what the file says; its windows are what that means.
            rules=[
                (one.rule.key, getattr(one.settings, "windows", one.settings))
                for one in account.rules
            ],
        )
        for account in settings.accounts
    ]
    return msgspec.structs.replace(settings, accounts=tuple(accounts), text="")


def fields_of(kind: type[msgspec.Struct]) -> Iterator[str]:
    """Yield the keys of a table and of the tables within it."""
    for field in msgspec.structs.fields(kind):
        if field.name in getattr(kind, "FROM_FILES", ()):
            continue
        yield field.encode_name
        for inner in structs_in(field.type):
            yield from fields_of(inner)


def structs_in(kind: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, msgspec.Struct):
        yield kind
    for part in get_args(kind):
        yield from structs_in(part)


class ExampleTests(SynchronousTestCase):
    """``docs/riskd.example.toml`` agrees with the code."""

    def test_the_example_is_a_valid_configuration(self) -> None:
        settings = parse(EXAMPLE)
        self.assertEqual([account.id for account in settings.accounts], [123, 456])

    @in_one_runner
    def test_each_default_in_the_example_is_the_default(self) -> None:
        as_it_is = in_effect(parse(EXAMPLE))
        lines = []
        for line, text in uncommented(DEFAULT_LINE):
            lines.append(line)
            self.assertEqual(in_effect(parse(text)), as_it_is, line)
        self.assertGreater(len(lines), 4)

    def test_each_commented_example_is_valid(self) -> None:
        lines = []
        for line, text in uncommented(EXAMPLE_LINE):
            lines.append(line)
            if line.startswith("cooldown_on_breach"):
                # It is valid only together with the line before it.
                parse(text.replace("#? limits = { per", "limits = { per"))
            elif line.startswith(("user_name", "key_file")):
                # These are valid only with the other gateway.
                of_broker = text.replace('#kind = "practice"', 'kind = "projectx"')
                parse(of_broker.replace("#? user_name", "user_name"))
            else:
                parse(text)
        self.assertGreater(len(lines), 4)

    def test_the_example_has_every_key_of_every_rule(self) -> None:
        for rule in RULES:
            _, header, rest = EXAMPLE.partition(f"\n[rules.{rule.key}]\n")
            self.assertTrue(header, rule.key)
            self.assert_has_keys(rest.partition("\n[")[0], rule.settings_type, rule.key)

    def test_the_example_has_every_other_key(self) -> None:
        for kind in (GatewaySettings, ServerSettings, PracticeSettings, Settings):
            self.assert_has_keys(
                EXAMPLE,
                kind,
                kind.__name__,
                "schedule",
                "text",
                "operator",
                "is_kept_enforcing",
                "preset_read",
            )

    def assert_has_keys(self, text: str, kind: type[msgspec.Struct], name: str, *but: str) -> None:
        for key in fields_of(kind):
            if key not in but:
                self.assertRegex(text, rf"\b{key}( =|\]|\.)", f"{name}.{key}")
