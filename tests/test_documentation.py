"""The documentation agrees with the code, and docstrings can be read at a glance."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import in_one_runner

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

_PATH = re.compile(r"`((?:riskd|trader|tests|twisted|docs|contrib)/[\w./]*\w)(?::(\w+))?`")
INDEX = ROOT / "docs" / "index.md"

_TOCTREE = re.compile(r"^```{toctree}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def names_in(file: Path) -> set[str]:
    """Return the names of all functions, methods and classes of a module."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, DEFINITIONS)}


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

    def test_the_index_has_each_page_for_the_site_and_for_a_git_host(self) -> None:
        """The site's contents and the links are both explicit, and have the same pages in one order."""
        text = INDEX.read_text(encoding="utf-8")
        contents = [
            f"{line}.md"
            for toctree in _TOCTREE.findall(text)
            for line in toctree.splitlines()
            if line and not line.startswith(":")
        ]
        pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {INDEX.name}
        self.assertEqual(pages - set(contents), set(), "no line in a toctree of docs/index.md")
        links = [*map(_page_of_the_site, _LINK.findall(text))]
        self.assertEqual(links, contents, "docs/index.md: links, and pages in its toctrees")


def _page_of_the_site(link: str) -> str:
    """Return the page of docs that a link of one of them leads to."""
    return {"../README.md": "start.md"}.get(link, link.removeprefix("../"))


@in_one_runner
class DocstringTests(SynchronousTestCase):
    """First lines of docstrings, which lists of functions show alone."""

    def test_a_first_line_is_short_and_ends_with_a_full_stop(self) -> None:
        for package in ("riskd", "trader"):
            for file in sorted((ROOT / package).rglob("*.py")):
                for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                    if isinstance(node, (ast.Module, *DEFINITIONS)):
                        first = (ast.get_docstring(node) or ".").splitlines()[0]
                        self.assertLess(len(first), 80, f"{file}: {first}")
                        self.assertIn(first[-1], ".:?", f"{file}: {first}")
