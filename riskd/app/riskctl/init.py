"""``riskctl init``: a first configuration, from a login at the broker."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from riskd.app.gateway_of import gateway_of
from riskd.app.riskctl.broker_visit import LoginAccount, Visit
from riskd.app.riskctl.check_config import check_config
from riskd.app.riskctl.dialog import Dialog, missing
from riskd.app.riskctl.in_reactor import in_reactor
from riskd.app.riskctl.new_configuration import configuration, hub_urls, write_new
from riskd.app.riskctl.programs import program
from riskd.config.loader import parse_settings
from riskd.config.presets import load_preset, preset_names
from riskd.config.settings import GatewaySettings, UserName, checked_url
from riskd.config.toml import nearest
from riskd.gateway.projectx.credentials import (
    KEY_VARIABLE,
    Credentials,
    CredentialsError,
    checked_key,
    find_credentials,
    read_key_file,
)
from riskd.host.errors import UserError
from riskd.host.secrets import Secret
from riskd.host.working_directory import check_writable
from riskd.journal.contents import daemon_of
from riskd.model.formatting import dollars
from riskd.rules.plugins import find_rules

NO_PRESET: Final = "none"
"""Stands for no preset on the command line."""

KEY_FILE: Final = "riskd.key"
"""The name of a key file that is written here."""

Accounts = Callable[[GatewaySettings, Credentials], list[LoginAccount]]
"""Logs in and returns the login's accounts, or raises a :exc:`UserError`."""


def run(options: argparse.Namespace) -> int:
    """Ask for what is missing, log in, and write a configuration."""
    is_asking = not options.yes and sys.stdin.isatty() and sys.stdout.isatty()
    return Init(options, Dialog(is_asking=is_asking), _accounts_of).run()


class Init:
    """One run of ``riskctl init``.

    :param options: those of the command line.
    :param dialog: asks for what they leave open.
    :param accounts_of: logs in.
    """

    def __init__(self, options: argparse.Namespace, dialog: Dialog, accounts_of: Accounts) -> None:
        self._options = options
        self._dialog = dialog
        self._accounts_of = accounts_of
        self._output: Path = options.output
        self._typed: Secret | None = None
        # Where a typed key may be kept; None for the usual place.
        self._new_key_file: Path | None = None
        self._rules = find_rules()

    def run(self) -> int:
        """Write the configuration; return the exit status.

        A typed key goes into a file of its own, if the person wants that.

        :raises UserError: something is wrong or missing; no configuration was written.
        """
        _check_writable(self._output)
        if not self._dialog.is_asking:
            missing(
                [
                    ("--preset NAME, or --preset none", self._options.preset),
                    ("--user-name NAME", self._options.user_name),
                ]
            )
        preset = self._preset()
        gateway = self._gateway(preset)
        credentials, gateway = self._credentials(gateway)
        _check_no_daemon(gateway)
        found = self._accounts_of(gateway, credentials)
        accounts = self._chosen(found, gateway)
        gateway = self._with_key_file(gateway)
        text = configuration(gateway, accounts, preset, datetime.now(UTC).astimezone().date())
        # What is written passes check-config; a mistake here would be one of this module.
        parse_settings(text, str(self._output), self._rules)
        write_new(self._output, text, 0o644)
        self._dialog.say(f"{self._output} is written.")
        status = check_config(argparse.Namespace(file=self._output))
        self._say_next(gateway, accounts)
        return status

    # What is asked.

    def _preset(self) -> str:
        """Return the name of the preset; empty for none."""
        names = preset_names()
        name = self._options.preset
        if name is None:
            self._dialog.say("Which account is it?")
            for number, each in enumerate(names, 1):
                self._dialog.say(f"  {number}  {load_preset(each, self._rules).title} ({each})")
            last = len(names) + 1
            self._dialog.say(f"  {last}  another one: no limits of the firm are preset")

            # The name that is shown beside the number is an answer, too.
            presets = {**dict(zip(names, names, strict=True)), NO_PRESET: ""}
            presets |= {str(number): each for number, each in enumerate((*names, ""), 1)}

            def problem(answer: str) -> str:
                return (
                    ""
                    if answer in presets
                    else f"expected a number from 1 to {last}, got {answer!r}"
                )

            return presets[self._dialog.ask_until(f"Number, from 1 to {last}", problem)]
        if name == NO_PRESET:
            return ""
        if name not in names:
            raise UserError(
                f"--preset: there is no preset {name}{nearest(name, names)}; riskctl presets lists them"
            )
        return str(name)

    def _gateway(self, preset: str) -> GatewaySettings:
        """Return the gateway, without the key file."""
        default = GatewaySettings().rest_url
        url = self._options.rest_url
        if url is None:
            # TopstepX is the firm of the default; others on ProjectX have addresses of their own.
            is_known = not self._dialog.is_asking or preset.startswith("topstep-")
            url = (
                default
                if is_known
                else self._dialog.ask_until("URL of the firm's API", _url_problem, default)
            )
        if problem := _url_problem(url):
            raise UserError(f"--rest-url: {problem}")
        url = checked_url(url)
        name = self._options.user_name
        if name is None:
            name = self._dialog.ask_until("User name of the login", _name_problem)
        if problem := _name_problem(name):
            raise UserError(f"--user-name: {problem}")
        if url == default:
            return GatewaySettings(kind="projectx", user_name=name)
        user_hub, market_hub = hub_urls(url)
        return GatewaySettings(
            kind="projectx",
            user_name=name,
            rest_url=url,
            user_hub_url=user_hub,
            market_hub_url=market_hub,
        )

    def _credentials(self, gateway: GatewaySettings) -> tuple[Credentials, GatewaySettings]:
        """Return the login, and the gateway with the key file if there is one already."""
        name, path = gateway.user_name, self._options.key_file
        if path is None:
            try:
                return find_credentials(name, None, os.environ), gateway
            except CredentialsError:
                if not self._dialog.is_asking:
                    missing([(f"--key-file FILE, or the key as {KEY_VARIABLE}", None)])
            answer = self._dialog.ask_until(
                "File of the API key (Enter: type the key)", _path_problem
            )
            path = Path(answer).expanduser() if answer else None
        if path is None or (self._dialog.is_asking and not os.path.lexists(path)):
            self._typed = self._typed_key()
            self._new_key_file = path
            return Credentials(name, self._typed), gateway
        credentials = Credentials(name, read_key_file(path))
        return credentials, self._named(gateway, path)

    def _typed_key(self) -> Secret:
        while True:
            typed = self._dialog.ask_secret("API key (it is not shown)")
            try:
                return checked_key(typed, "the key")
            except CredentialsError as error:
                self._dialog.say(str(error))

    def _named(self, gateway: GatewaySettings, path: Path) -> GatewaySettings:
        """Return the gateway with a key file, named as in the configuration."""
        # Beside the configuration by its name alone, so that both can be moved.
        beside = path.absolute().parent == self._output.absolute().parent
        name = path.name if beside else os.fspath(path.absolute())
        return msgspec.structs.replace(gateway, key_file=name)

    def _chosen(self, found: list[LoginAccount], gateway: GatewaySettings) -> list[LoginAccount]:
        """Return the accounts to guard."""
        if not found:
            raise UserError(f"the login {gateway.user_name} has no accounts")
        self._dialog.say(f"Accounts of {gateway.user_name} at {gateway.rest_url}:")
        for each in found:
            self._dialog.say(f"  {_described(each)}")
        by_id = {str(each.id): each for each in found}
        numbers = [str(number) for number in self._options.account or ()]
        if not numbers:
            if not self._dialog.is_asking and not self._options.yes and len(found) > 1:
                missing([("--account ID for each account to guard, or --yes for all", None)])

            def problem(answer: str) -> str:
                return _unknown(answer.replace(",", " ").split(), by_id)

            answer = self._dialog.ask_until(
                "Numbers of the accounts to guard", problem, " ".join(by_id)
            )
            numbers = answer.replace(",", " ").split()
        if sentence := _unknown(numbers, by_id):
            raise UserError(f"--account: {sentence}")
        return [by_id[number] for number in dict.fromkeys(numbers)]

    # What is written.

    def _with_key_file(self, gateway: GatewaySettings) -> GatewaySettings:
        """Write a typed key to a file of its own, if the person wants that."""
        if self._typed is None:
            return gateway
        path = self._new_key_file or self._output.parent / KEY_FILE
        if not self._dialog.confirm(f"Keep the key in {path}, for your user alone to read?"):
            return gateway
        write_new(path, f"{self._typed.reveal()}\n", 0o600)
        return self._named(gateway, path)

    def _say_next(self, gateway: GatewaySettings, accounts: list[LoginAccount]) -> None:
        file = shlex.quote(os.fspath(self._output))
        say = self._dialog.say
        if gateway.key_file is None:
            say(f"The key is kept nowhere: put it into {KEY_VARIABLE}, or pass it by systemd.")
        say()
        say("Next, check this machine:")
        say(f"    {program('riskctl')} doctor --config {file}")
        say("start riskd:")
        say(f"    {program('twistd')} -n riskd --config {file}")
        say("and watch, in another terminal:")
        say(f"    {program('trader-console')} {accounts[0].id}")


def _accounts_of(gateway: GatewaySettings, credentials: Credentials) -> list[LoginAccount]:
    """Log in, and return the login's accounts."""

    async def ask(reactor: Any) -> list[LoginAccount]:
        visit = Visit(reactor, gateway.rest_url)
        try:
            return await visit.accounts(await visit.log_in(credentials))
        finally:
            visit.end()

    return in_reactor(ask)


def _check_writable(path: Path) -> None:
    """Check before all questions that a file can be written.

    :raises UserError: it exists, or its directory takes none.
    """
    if os.path.lexists(path):
        raise UserError(f"{path} exists, and is not overwritten; -o FILE names another file")
    try:
        check_writable(path)
    except UserError as error:
        raise UserError(f"{error}; -o FILE names another file") from None


def _check_no_daemon(gateway: GatewaySettings) -> None:
    """Check that no riskd has this login, which a second one might end.

    :raises UserError: one has.
    """
    running = daemon_of(gateway_of(gateway))
    if running is not None:
        raise UserError(
            f"riskd, process {running.record.pid}, is logged in as {gateway.user_name}, and a second login "
            f"could end its own: stop it first, or add the account to its configuration"
        )


def _path_problem(path: str) -> str:
    try:
        file = Path(path).expanduser()
    except RuntimeError:
        return f"expected a path, got {path!r}: there is no such user"
    if path and not os.path.lexists(file):
        # Not shown again: it may be the key itself, at the wrong question.
        return "there is no such file; press Enter to type the key"
    return ""


def _url_problem(url: str) -> str:
    try:
        checked_url(url)
    except ValueError as error:
        return str(error)
    return ""


def _name_problem(name: str) -> str:
    try:
        msgspec.convert(name, UserName)
    except msgspec.ValidationError:
        return (
            f"expected the user name of the login, up to 100 characters on one line, got {name!r}"
        )
    return ""


def _unknown(numbers: list[str], known: dict[str, LoginAccount]) -> str:
    unknown = [number for number in numbers if number not in known]
    if unknown or not numbers:
        return f"the login has no account {', '.join(unknown)}; it has {', '.join(known)}"
    return ""


def _described(found: LoginAccount) -> str:
    account = found.account
    balance = "" if account.balance is None else f"  {dollars(account.balance)}"
    rights = "  may not trade" if account.can_trade is False else ""
    return f"{found.id}  {account.name or '(no name)'}{balance}{rights}"
