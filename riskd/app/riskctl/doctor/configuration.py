"""Check the configuration, its presets, and the file of the API key."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, MutableMapping
from datetime import date
from pathlib import Path
from typing import Final

from riskd.app.riskctl.check_config import summary, unguarded
from riskd.app.riskctl.doctor.findings import Finding, ok, quoted, warning, wrong
from riskd.config.loader import load_settings
from riskd.config.presets import MOST_DAYS, preset_warnings
from riskd.config.settings import Settings
from riskd.config.toml import ConfigError, NoFileError
from riskd.gateway.projectx.credentials import (
    CREDENTIAL,
    KEY_VARIABLE,
    Credentials,
    CredentialsError,
    find_credentials,
)
from riskd.host.directories import configuration_directory
from riskd.host.users import user_argument
from riskd.rules.plugins import find_rules

USUAL_NAME: Final = "riskd.toml"
_WHAT: Final = "configuration"
_KEY: Final = "API key"


def find_configuration(named: Path | None) -> Path | None:
    """Return the configuration to check: the named one, else that in a usual place."""
    if named is not None:
        return named
    usual = (Path(USUAL_NAME), configuration_directory() / USUAL_NAME)
    return next((path for path in usual if os.path.lexists(path)), None)


def read_configuration(path: Path | None) -> tuple[Settings | None, list[Finding]]:
    """Return the settings, and what is to be said of the file."""
    if path is None:
        says = (
            f"no --config, and no {USUAL_NAME} here or in {configuration_directory()}: without one riskd trades "
            "paper, and guards no account"
        )
        return None, [warning(_WHAT, says, "riskctl init")]
    try:
        settings = load_settings(path, find_rules())
    except NoFileError as error:
        return None, [wrong(_WHAT, str(error), f"riskctl init -o {quoted(path)}")]
    except ConfigError as error:
        mend = _mend(path)
        return None, [wrong(_WHAT, problem, mend) for problem in error.problems]
    return settings, list(_about(path, settings))


def _mend(path: Path) -> str:
    """Return the command that mends a configuration that is no good."""
    file = quoted(path)
    if not path.is_file():
        return f"mv {file} {file}.old && riskctl init -o {file}"
    if not os.access(path, os.R_OK):
        me = os.geteuid()
        is_mine = path.stat().st_uid == me
        return f"chmod u+r {file}" if is_mine else f"sudo chown {user_argument(me)} {file}"
    return f"{_edit(path)} && riskctl check-config {file}"


def _about(path: Path, settings: Settings) -> Iterator[Finding]:
    others = path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others:
        yield warning(
            _WHAT,
            f"{path} can be changed by other users of this machine",
            f"chmod go-w {quoted(path)}",
        )
    for problem in unguarded(settings):
        yield warning(_WHAT, problem, _edit(path))
    yield ok(_WHAT, f"{path}: {summary(settings)}")


def check_presets(settings: Settings, today: date) -> Iterator[Finding]:
    """Yield a finding about the age of the presets that accounts name."""
    old = list(preset_warnings(settings, today))
    names = sorted({account.preset for account in settings.accounts if account.preset})
    for sentence in old:
        named = next(name for name in names if f"preset {name} " in sentence)
        yield warning("presets", sentence, f"riskctl presets {named}")
    if names and not old:
        days = f"in the last {MOST_DAYS} days"
        yield ok("presets", f"{', '.join(names)}: read on the firm's page {days}")


def find_key(
    settings: Settings, configuration: Path, environ: MutableMapping[str, str]
) -> tuple[Credentials | None, list[Finding]]:
    """Return the login, and what is to be said of its key."""
    gateway = settings.gateway
    if gateway.kind != "projectx":
        return None, [ok(_KEY, "the practice gateway needs none")]
    try:
        found = find_credentials(gateway.user_name, gateway.key_file, environ)
    except CredentialsError as error:
        if gateway.key_file is None:
            says = (
                f"none here: neither key_file nor {KEY_VARIABLE}; if systemd passes it as {CREDENTIAL}, only the "
                "service has it"
            )
            return None, [warning(_KEY, says, f"{_edit(configuration)}   # add key_file")]
        return None, [wrong(_KEY, str(error), error.mend)]
    place = gateway.key_file or f"the environment's {KEY_VARIABLE}, or systemd's"
    return found, [ok(_KEY, f"{place}, which no other user can read")]


def _edit(path: Path) -> str:
    return f"${{EDITOR:-vi}} {quoted(path)}"
