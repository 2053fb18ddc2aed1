"""Man pages and shell completions, as the build makes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.programs import run

ROOT = Path(__file__).parents[2]
LIBRARIES = ("twisted", "autobahn", "msgspec", "zope", "urwid", "jwt")

COMPLETE = """
source {file}
COMP_WORDS=({words}) COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_shtab_{function} >/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("build")
    result = run(
        sys.executable, "-Wignore", "setup.py", "-q", "build_pages", "-b", str(base), cwd=ROOT
    )
    assert (result.returncode, result.stderr) == (0, "")
    return base / "share"


def test_the_build_needs_none_of_the_libraries() -> None:
    """pip builds the package where none of them is installed."""
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import setuptools; setuptools.setup = lambda **_: None
import setup
from pkgutil import resolve_name
for name in setup.PARSERS:
    resolve_name(name)()
print(sorted({set(LIBRARIES)!r} & set(sys.modules)))
"""
    assert run(sys.executable, "-c", program).stdout == "[]\n"


@pytest.mark.parametrize("program", ["riskctl", "trader-alerts", "trader-console"])
def test_each_program_has_a_page_and_completions(built: Path, program: str) -> None:
    page = (built / "man/man1" / f"{program}.1").read_text()
    assert page.startswith(f".TH {program.upper()}".replace("-", r"\-"))
    assert r"\-\-version" in page
    for name in (
        f"bash-completion/completions/{program}",
        f"zsh/site-functions/_{program}",
        f"fish/vendor_completions.d/{program}.fish",
    ):
        assert program in (built / name).read_text(), name


@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man to read the page with")
def test_the_page_shows_each_command(built: Path) -> None:
    shown = subprocess.check_output(
        ["man", "--warnings", str(built / "man/man1/riskctl.1")],
        text=True,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "100", "LC_ALL": "C.UTF-8"},
    )
    assert "riskctl - operate a riskd on this machine" in shown
    assert "warning" not in shown


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("riskctl chec", ["check-config"]),
        ("riskctl lock --un", ["--until"]),
        ("riskctl desk re", ["revoke"]),
        ("riskctl desk init --tr", ["--trader"]),
        ("trader-console --theme color", ["colorblind"]),
    ],
)
def test_bash_completes_commands_options_and_choices(
    built: Path, words: str, expected: list[str]
) -> None:
    program, *_ = words.split()
    script = COMPLETE.format(
        file=built / "bash-completion/completions" / program,
        words=words,
        function=program.replace("-", "_"),
    )
    assert run("bash", "-c", script).stdout.split() == expected


def test_bash_completes_files(built: Path, tmp_path: Path) -> None:
    (tmp_path / "riskd.toml").touch()
    script = COMPLETE.format(
        file=built / "bash-completion/completions/riskctl",
        words="riskctl check-config risk",
        function="riskctl",
    )
    assert run("bash", "-c", script, cwd=tmp_path).stdout.split() == ["riskd.toml"]
