"""``riskctl check-config``: mistakes in a configuration, and what guards nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from riskd.config.loader import load_settings
from riskd.config.presets import preset_warnings
from riskd.config.settings import AccountSettings, Settings
from riskd.gateway.projectx.credentials import CredentialsError, read_key_file
from riskd.host.errors import UserError
from riskd.model.account import AccountState
from riskd.model.formatting import counted
from riskd.model.safe_text import printable
from riskd.rules.evaluation import evaluate
from riskd.rules.interface import Kind, Trigger
from riskd.rules.plugins import find_rules


def check_config(options: argparse.Namespace) -> int:
    """Write a configuration's problems, a line each, or its number of rules."""
    path = options.file
    try:
        settings = load_settings(path, find_rules())
        if settings.gateway.key_file is not None:
            read_key_file(Path(settings.gateway.key_file))
    except CredentialsError as error:
        _write(f"{path}: gateway.key_file: {error}")
        return 1
    except UserError as error:
        for problem in error.problems:
            _write(problem)
        return 1
    today = datetime.now(UTC).date()
    for warning in chain(unguarded(settings), preset_warnings(settings, today)):
        _write(f"{path}: warning: {warning}")
    _write(f"{path} is correct: {summary(settings)}")
    return 0


def summary(settings: Settings) -> str:
    """Return the numbers of accounts and rules, and whether it is a dry run."""
    # A rule counts once, however many accounts it guards.
    rules = {rule.rule.rule_id for account in settings.accounts for rule in account.rules}
    dry_run = "" if settings.enforce else "; a dry run, nothing is enforced"
    return f"{counted(len(settings.accounts), 'account')}, {counted(len(rules), 'rule')}{dry_run}"


def unguarded(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each account without a rule, and each idle rule."""
    for account in settings.accounts:
        if not account.rules:
            yield f"account {account.id} is guarded by no rule"
        for problem in _problems(account):
            yield f"account {account.id}, {problem}"


def _problems(account: AccountSettings) -> Iterator[str]:
    """Yield why rules would not guard an account if riskd started now."""
    state, now = AccountState(account_id=account.id), datetime.now(UTC)
    begins = Trigger(kind=Kind.REVIEW, now=now, next_reset=account.schedule.next_reset(now))
    for slot, result in evaluate(state, account.rules, begins).results.items():
        if result.problem:
            yield f"{slot}: {result.problem}"


def _write(line: str) -> None:
    sys.stdout.write(f"{printable(line)}\n")
