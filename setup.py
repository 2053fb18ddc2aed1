"""What setup.cfg cannot say: man pages and shell completions are made while the package is built.

They come from the programs' own command lines.  ``pip install`` puts them below the environment's ``share``, where man
finds those of every program on the path, and shells theirs.
"""

from __future__ import annotations

import sys
from argparse import PARSER, ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, ClassVar

from setuptools import Command, setup
from setuptools.command.build import build

PARSERS = (
    "riskd.app.riskctl.arguments:make_parser",
    "trader.alerts.arguments:make_parser",
    "trader.cli.arguments:make_parser",
)
"""Functions that return a program's parser; their modules import only the standard library.

The build has none of the libraries that the programs run with.
"""

SUMMARIES = {
    "riskctl": "operate a riskd on this machine",
    "trader-alerts": "send a message when riskd acts, has an error or is gone",
    "trader-console": "watch a futures account live, in the terminal",
}
"""The line by which ``apropos`` finds each program."""

COMPLETIONS = {
    "bash": ("share/bash-completion/completions", "{}"),
    "zsh": ("share/zsh/site-functions", "_{}"),
    "fish": ("share/fish/vendor_completions.d", "{}.fish"),
}
"""Where each shell looks for completions, and how their files are named."""


NEEDED = (3, 11)
if sys.version_info < NEEDED:
    # pips of that time name the first library that has no version for this Python, before they see python_requires.
    sys.exit(
        "riskd needs Python {}.{} or newer; this is Python {}.{}".format(
            *NEEDED, *sys.version_info
        )
    )


class BuildPages(Command):
    """Writes the man pages and the completions, and has them installed."""

    description = "make man pages and shell completions"
    user_options: ClassVar[list[Any]] = [
        ("build-base=", "b", "base directory for what is built"),
    ]
    build_base: str
    editable_mode = False

    def initialize_options(self) -> None:
        """Take the directory of the whole build, unless another one is named."""
        self.build_base = ""

    def finalize_options(self) -> None:
        """Take over the options of the build."""
        self.build_base = self.build_base or self.get_finalized_command("build").build_base

    def run(self) -> None:
        """Write the files; an editable install, which has no place for them, goes without."""
        if self.editable_mode:
            return
        for directory, name, text in pages():
            path = Path(self.build_base, directory, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            self.distribution.data_files = self.distribution.data_files or []
            self.distribution.data_files.append((directory, [str(path)]))

    def get_source_files(self) -> list[str]:
        """Return nothing: the sources are modules of the package."""
        return []

    def get_outputs(self) -> list[str]:
        """Return nothing: the files are installed as data."""
        return []

    def get_output_mapping(self) -> dict[str, str]:
        """Return nothing, see :meth:`get_outputs`."""
        return {}


class Build(build):
    """The build, with the pages."""

    sub_commands: ClassVar[list[Any]] = [*build.sub_commands, ("build_pages", None)]


def pages() -> Iterator[tuple[str, str, str]]:
    """Yield directory, name and text of each file."""
    # They come with pip's build environment; setup.py is read without them, too.
    import shtab  # noqa: PLC0415
    from argparse_manpage.manpage import Manpage  # noqa: PLC0415

    sys.path.insert(0, str(Path(__file__).parent))
    from riskd import __version__  # noqa: PLC0415

    for name in PARSERS:
        parser = resolve_name(name)()
        complete_paths(parser, shtab)
        page = Manpage(parser)
        page.source, page.manual = f"riskd {__version__}", "riskd"
        page.description = SUMMARIES[parser.prog]
        yield "share/man/man1", f"{parser.prog}.1", str(page)
        for shell, (directory, pattern) in COMPLETIONS.items():
            yield directory, pattern.format(parser.prog), shtab.complete(parser, shell)


def complete_paths(parser: ArgumentParser, shtab: Any) -> None:
    """Have shells offer files where a parser takes a path, and directories where it takes a directory."""
    for action in parser._actions:  # noqa: SLF001  # argparse has no public way to its arguments
        for command in (action.choices or {}).values() if action.nargs == PARSER else ():
            complete_paths(command, shtab)
        if action.type is Path:
            action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE


setup(cmdclass={"build": Build, "build_pages": BuildPages})
