"""The site of these pages: ``sphinx-build -W docs docs/_build``, with the extra ``docs``.

The pages are read on a Git host as well, so their links are plain relative paths.  A link to another page
becomes one on the site, a link to any other file of the repository a download.
"""

from pathlib import Path
from typing import Final

from docutils.nodes import document
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

from riskd import __version__

ROOT: Final = Path(__file__).resolve().parents[1]

project = "riskd"
version = release = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build", "changes/+*"]
# As Git hosts do, so that a link to a section works on both.
myst_heading_anchors = 4

# Blocks without a language are commands, output and pictures.
highlight_language = "none"

# At a place that other programs can rely on.
html_extra_path = ["asyncapi.yaml"]

html_theme = "furo"
html_title = f"riskd {release}"
html_show_copyright = False
html_copy_source = False
html_show_sphinx = False
html_use_index = False

PAGES_OF_THE_ROOT: Final = {
    str(ROOT / "README"): "start",
    str(ROOT / "CONTRIBUTING"): "CONTRIBUTING",
    str(ROOT / "CHANGELOG"): "CHANGELOG",
}
"""The pages outside of ``docs`` that a page of the site includes, and that page."""


def lead_to_pages_of_the_site(_app: Sphinx, page: document) -> None:
    """Make a link to a page of the repository's root one to the page that includes it."""
    for link in page.findall(pending_xref):
        link["reftarget"] = PAGES_OF_THE_ROOT.get(link["reftarget"], link["reftarget"])


def setup(app: Sphinx) -> None:
    """Connect to Sphinx."""
    app.connect("doctree-read", lead_to_pages_of_the_site)
