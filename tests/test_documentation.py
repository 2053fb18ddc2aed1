"""What the documentation says of the code is true of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

_PATH = re.compile(r"`((?:riskd|trader|tests|twisted|docs)/[\w./]*\w)(?::(\w+))?`")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def names_in(file: Path) -> set[str]:
    """Return the names of all functions, methods and classes of a module."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, definitions)}


class DocumentationTests(SynchronousTestCase):
    """Paths, functions and links that the pages name."""

    def test_each_path_and_function_exists(self) -> None:
        for page in PAGES:
            for path, name in _PATH.findall(page.read_text(encoding="utf-8")):
                if "your_" in path:
                    continue
                file = ROOT / path
                self.assertTrue(file.exists(), f"{page.name}: {path}")
                if name:
                    self.assertIn(name, names_in(file), f"{page.name}: {path}")

    def test_each_link_leads_to_a_file(self) -> None:
        for page in PAGES:
            for target in _LINK.findall(page.read_text(encoding="utf-8")):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")
