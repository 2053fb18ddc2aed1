"""Finding old names of riskd in the source of a user's rule, however the source uses them."""

from __future__ import annotations

import importlib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.rules.renamed import RENAMED, RENAMED_ATTRIBUTES, find_old_names

DOCS = Path(__file__).parents[2] / "docs"

RESULT = "riskd.rules.interface.RuleResult"
VERDICT = "riskd.rules.interface.Verdict"


class TableTests(SynchronousTestCase):
    def test_each_new_name_exists_and_each_old_one_does_not(self) -> None:
        for old, new in RENAMED.items():
            self.assertTrue(self.exists(new), new)
            self.assertFalse(self.exists(old), old)

    def exists(self, name: str) -> bool:
        package, _, last = name.rpartition(".")
        try:
            return hasattr(importlib.import_module(package), last) or bool(
                importlib.import_module(name)
            )
        except ModuleNotFoundError:
            return False

    def test_the_documentation_has_each_name(self) -> None:
        text = (DOCS / "rules.md").read_text(encoding="utf-8")
        names = [name for pair in RENAMED.items() for name in pair if ".builtin." not in name]
        for name in names:
            if RENAMED.get(name, "").startswith("riskd.rules.builtin."):
                continue
            last = name.rpartition(".")[2]
            self.assertTrue(f"`{name}`" in text or f"`{last}`" in text, name)


class FindingTests(SynchronousTestCase):
    def assert_found(self, source: str, *expected: tuple[int, str]) -> None:
        found = [(use.line, use.old) for use in find_old_names(source.encode())]
        self.assertEqual(found, list(expected), source)

    def test_an_import_of_an_old_module(self) -> None:
        for source in (
            "import riskd.account",
            "import riskd.account as a",
            "from riskd import account",
            "from riskd.account import AccountState",
            "from riskd.account import *",
        ):
            self.assert_found(f"\n{source}", (2, "riskd.account"))

    def test_an_import_of_an_old_name(self) -> None:
        for source in (
            "from riskd.rules.interface import Flatten, Verdict",
            "from riskd.rules.interface import Verdict as V\nV()",
            "from riskd.rules.interface import *\nVerdict()".replace("\n", ";"),
        ):
            self.assert_found(source, (1, VERDICT))

    def test_a_name_that_went_to_another_module_than_its_neighbors(self) -> None:
        self.assert_found(
            "from riskd.account import AccountState, position_pnl",
            (1, "riskd.account"),
            (1, "riskd.account.position_pnl"),
        )

    def test_an_import_within_a_function(self) -> None:
        self.assert_found("def check(a, b, c):\n  import riskd.money", (2, "riskd.money"))
        self.assert_found(
            "def check(a, b, c):\n  from riskd.rules.memory import recall",
            (2, "riskd.rules.memory"),
        )

    def test_an_attribute_within_a_function(self) -> None:
        for head in (
            "import riskd.rules.interface as i",
            "from riskd.rules import interface as i",
        ):
            self.assert_found(f"{head}\ndef check(a, b, c):\n  return i.Verdict()", (3, VERDICT))
        source = "import riskd.rules.interface\ndef check():\n  riskd.rules.interface.Verdict()"
        self.assert_found(source, (3, VERDICT))

    def test_an_annotation(self) -> None:
        source = "from riskd.rules import interface\ndef check() -> interface.Verdict: ..."
        self.assert_found(source, (2, VERDICT))

    def test_an_import_by_a_call(self) -> None:
        for call in ("importlib.import_module", "import_module", "__import__"):
            self.assert_found(f"import importlib\n{call}('riskd.account')", (2, "riskd.account"))

    def test_an_old_keyword_of_a_result(self) -> None:
        head = "from riskd.rules.interface import NOTHING, RuleResult as R\nimport riskd.rules.interface as i\n"
        for call in ("R(intents=())", "i.RuleResult(intents=())", "replace(NOTHING, intents=())"):
            self.assert_found(f"{head}def check():\n  {call}", (4, "RuleResult(intents=...)"))
        self.assert_found(f"{head}R(commands=())\nother(intents=())")

    def test_an_old_attribute_of_a_value(self) -> None:
        head = "from riskd.rules.interface import Rule\n"
        for expression, old in (
            ("result.intents[0]", ".intents"),
            ("state.risk.touches['MNQ']", ".risk.touches"),
            ("state.risk.flattening.is_told", ".flattening.is_told"),
        ):
            self.assert_found(f"{head}def check():\n  {expression}", (3, old))
            self.assertIn(old[1:], RENAMED_ATTRIBUTES)
        self.assert_found(f"{head}memory.touches")

    def test_each_old_name_is_reported_once_where_it_comes_first(self) -> None:
        source = "from riskd.rules.interface import Verdict\nVerdict()\nVerdict()"
        self.assert_found(source, (1, VERDICT))

    def test_a_name_that_only_begins_like_an_old_one(self) -> None:
        self.assert_found("import riskd.account_of_mine, riskd.rules.tables")

    def test_a_program_that_does_not_use_riskd(self) -> None:
        self.assert_found(
            "# riskd\nimport account\nfrom events import Verdict\nfrom . import riskd\n"
            "Verdict(intents=()).intents"
        )

    def test_a_source_that_is_not_python(self) -> None:
        self.assert_found("import riskd.account\ndef broken(:")
        self.assertEqual(find_old_names(b"\0riskd.account"), [])

    def test_the_new_name_comes_with_the_old_one(self) -> None:
        (use,) = find_old_names(b"from riskd.rules.interface import Verdict")
        self.assertEqual(use.new, RESULT)
