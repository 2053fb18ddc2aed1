"""``riskctl init`` on a fresh home, as the README says: from a login to a running dry run."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from riskd.app.riskctl.main import main
from riskd.config.loader import load_settings
from riskd.rules.plugins import find_rules
from tests.integration.practice_gateway import KEY, Gateway
from tests.integration.programs import riskctl
from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.twistd import Twistd

RISKCTL: Final = "import sys; from riskd.app.riskctl.main import main; sys.exit(main())"
MINUTE: Final = 60


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a new user's empty home."""
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    monkeypatch.delenv("RISKD_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_user_has_a_dry_run_within_a_minute(
    gateway: Gateway,
    home: Path,
    terminal: PseudoTerminal,
    twistd: Callable[..., Twistd],
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = time.monotonic()
    terminal.start("init", "--rest-url", gateway.url, script=RISKCTL)
    for question, answer in (
        ("Number, from 1 to", "5"),
        ("User name of the login", "practice"),
        ("File of the API key", ""),
        ("API key (it is not shown)", KEY),
        ("Numbers of the accounts to guard [123 456]", "123"),
        ("Keep the key in riskd.key", "y"),
    ):
        terminal.wait_for(question)
        terminal.send(f"{answer}\r".encode())
    assert terminal.exit_status() == 0
    terminal.wait_for("123  PRACTICE-123  $50,000.00", "riskd --config riskd.toml")
    assert terminal.is_as_before
    assert stat.S_IMODE((home / "riskd.key").stat().st_mode) == 0o600
    assert (home / "riskd.key").read_text() == f"{KEY}\n"

    daemon = twistd("--port", "0", "--config", os.fspath(home / "riskd.toml"))
    status = riskctl("status").stdout
    assert "on the projectx gateway (dry run): RUNNING" in status
    assert time.monotonic() - began < MINUTE

    # While it runs, another login is not risked.
    again = ("init", "-o", "other.toml", "--rest-url", gateway.url, "--user-name", "practice")
    assert main([*again, "--preset", "none", "--key-file", "riskd.key", "--yes"]) == 1
    pid = daemon.process.pid
    assert f"riskd, process {pid}, is logged in as practice" in capsys.readouterr().err


def test_without_a_terminal_options_are_enough(
    gateway: Gateway, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = home / "key"
    key.write_text(f"{KEY}\n")
    key.chmod(0o600)
    given = (
        *("--preset", "topstep-50k", "--rest-url", gateway.url, "--user-name", "practice"),
        *("--key-file", "key", "--account", "456"),
    )
    assert riskctl("init", *given).returncode == 0
    settings = load_settings(home / "riskd.toml", find_rules())
    assert [each.id for each in settings.accounts] == [456]
    assert settings.gateway.user_hub_url == f"{gateway.url}/hubs/user"
    written = (home / "riskd.toml").read_bytes()
    assert main(["init", *given]) == 1
    assert capsys.readouterr().err == (
        "riskctl: riskd.toml exists, and is not overwritten; -o FILE names another file\n"
    )
    assert (home / "riskd.toml").read_bytes() == written


def test_a_refused_login_writes_nothing(gateway: Gateway, home: Path) -> None:
    key = home / "key"
    key.write_text("a-key-that-was-revoked\n")
    key.chmod(0o600)
    result = riskctl(
        *("init", "--preset", "none", "--rest-url", gateway.url, "--user-name", "practice"),
        *("--key-file", "key", "--yes"),
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"riskctl: {gateway.url} gives practice no login: the user name or the API key is wrong\n"
    )
    assert [path.name for path in home.iterdir()] == ["key"]
