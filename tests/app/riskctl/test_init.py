"""``riskctl init``: the questions, what is written, and what is refused."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.arguments import make_parser
from riskd.app.riskctl.broker_visit import LoginAccount
from riskd.app.riskctl.dialog import Dialog
from riskd.app.riskctl.init import Init
from riskd.app.riskctl.new_configuration import configuration, hub_urls
from riskd.config.loader import load_settings, parse_settings
from riskd.config.settings import GatewaySettings, Settings
from riskd.gateway.broker_text import broker_text
from riskd.gateway.projectx import credentials
from riskd.gateway.projectx.credentials import Credentials
from riskd.host.errors import UserError
from riskd.journal.daemon_file import DaemonRecord, write_daemon
from riskd.journal.gateway_identity import gateway_identity
from riskd.model.broker import BrokerAccount
from riskd.rules.plugins import find_rules
from tests.support.directories import temporary_directory

RULES = find_rules()
KEY = "a-key-that-nobody-may-see"
LOCAL = "http://127.0.0.1:5000"


def account(number: int, name: str = "") -> LoginAccount:
    return LoginAccount(id=number, account=BrokerAccount(name=broker_text(name), can_trade=True))


ACCOUNTS = [account(7, "50KTC-1"), account(8, "EXPRESS-2")]


class InitTestCase(SynchronousTestCase):
    """A directory, a login with accounts, and a person who answers.

    :ivar logins: the credentials of each login.
    """

    def setUp(self) -> None:
        self.directory = Path(temporary_directory(self))
        self.output = self.directory / "riskd.toml"
        self.found = ACCOUNTS
        self.logins: list[tuple[GatewaySettings, Credentials]] = []
        self.shown = io.StringIO()
        # A process remembers the key of its environment.
        self.patch(credentials, "_from_environment", {})
        for variable, value in (
            ("XDG_STATE_HOME", str(self.directory / "state")),
            ("RISKD_API_KEY", None),
            ("CREDENTIALS_DIRECTORY", None),
        ):
            self.patch_variable(variable, value)

    def patch_variable(self, name: str, value: str | None) -> None:
        before = os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

        def restore() -> None:
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before

        self.addCleanup(restore)

    def accounts_of(self, gateway: GatewaySettings, login: Credentials) -> list[LoginAccount]:
        self.logins.append((gateway, login))
        return self.found

    def init(self, *arguments: str, answers: Iterable[str] | None = None) -> int:
        """Run it; without answers there is no terminal."""
        left = iter(answers or ())

        def read(prompt: str) -> str:
            self.shown.write(f"{prompt}\n")
            try:
                return next(left)
            except StopIteration:
                raise EOFError from None

        options = make_parser().parse_args(["init", "-o", str(self.output), *arguments])
        dialog = Dialog(is_asking=answers is not None, read=read, read_secret=read)
        with redirect_stdout(self.shown):
            return Init(options, dialog, self.accounts_of).run()

    def refusal(self, *arguments: str, answers: Iterable[str] | None = None) -> tuple[str, ...]:
        error = self.assertRaises(UserError, self.init, *arguments, answers=answers)
        self.assertFalse(os.path.lexists(self.output))
        return error.problems

    def key_file(self, mode: int = 0o600) -> str:
        path = self.directory / "key"
        path.write_text(f"{KEY}\n")
        path.chmod(mode)
        return str(path)

    @property
    def settings(self) -> Settings:
        return load_settings(self.output, RULES)

    @property
    def text(self) -> str:
        return self.shown.getvalue()


class CommandLineTests(InitTestCase):
    """Everything is given, and nothing is asked."""

    def test_a_dry_run_with_a_preset_is_written_and_passes_check_config(self) -> None:
        given = (
            *("--preset", "topstep-50k", "--user-name", "jane", "--key-file", self.key_file()),
            *("--account", "8"),
        )
        self.assertEqual(self.init(*given), 0)
        settings = self.settings
        self.assertFalse(settings.enforce)
        self.assertEqual(
            settings.gateway,
            GatewaySettings(
                kind="projectx", user_name="jane", key_file=str(self.directory / "key")
            ),
        )
        (guarded,) = settings.accounts
        self.assertEqual(
            (guarded.id, guarded.name, guarded.preset), (8, "EXPRESS-2", "topstep-50k")
        )
        self.assertIn(f"{self.output} is correct: 1 account, 2 rules; a dry run", self.text)
        self.assertIn("7  50KTC-1", self.text)
        for program in ("riskctl doctor --config", "twistd -n riskd --config", "trader-console 8"):
            self.assertIn(program, self.text)

    def test_hubs_follow_from_the_url_of_a_gateway_on_this_machine(self) -> None:
        given = ("--preset", "none", "--user-name", "jane", "--key-file", self.key_file())
        self.init(*given, "--rest-url", f"{LOCAL}/", "--yes")
        gateway = self.settings.gateway
        self.assertEqual(
            (gateway.rest_url, gateway.user_hub_url, gateway.market_hub_url),
            (LOCAL, f"{LOCAL}/hubs/user", f"{LOCAL}/hubs/market"),
        )

    def test_hubs_of_a_firm_are_on_its_host_for_events(self) -> None:
        self.assertEqual(
            hub_urls("https://api.firm.projectx.com"),
            (
                "https://rtc.firm.projectx.com/hubs/user",
                "https://rtc.firm.projectx.com/hubs/market",
            ),
        )
        defaults = GatewaySettings()
        self.assertEqual(
            hub_urls(defaults.rest_url), (defaults.user_hub_url, defaults.market_hub_url)
        )

    def test_yes_takes_all_accounts(self) -> None:
        self.init(
            *("--preset", "none", "--user-name", "jane", "--key-file", self.key_file(), "--yes")
        )
        self.assertEqual([each.id for each in self.settings.accounts], [7, 8])

    def test_an_account_without_a_preset_is_guarded_by_a_rule_all_the_same(self) -> None:
        self.found = ACCOUNTS[:1]
        self.init("--preset", "none", "--user-name", "jane", "--key-file", self.key_file())
        (guarded,) = self.settings.accounts
        self.assertEqual([rule.rule.key for rule in guarded.rules], ["auth_loss_guard"])

    def test_the_key_of_the_environment_is_used_and_kept_nowhere(self) -> None:
        self.patch_variable("RISKD_API_KEY", KEY)
        self.init("--preset", "none", "--user-name", "jane", "--yes")
        ((_gateway, login),) = self.logins
        self.assertEqual(login.api_key.reveal(), KEY)
        self.assertIsNone(self.settings.gateway.key_file)
        self.assertEqual([path.name for path in self.directory.iterdir()], ["riskd.toml"])
        self.assertNotIn(KEY, self.text)

    def test_what_is_missing_is_named_without_a_terminal(self) -> None:
        first, second = self.refusal()
        self.assertIn("--preset NAME", first)
        self.assertIn("--user-name NAME", second)
        given = ("--preset", "none", "--user-name", "jane")
        (sentence,) = self.refusal(*given)
        self.assertIn("--key-file FILE", sentence)
        (sentence,) = self.refusal(*given, "--key-file", self.key_file())
        self.assertIn("--account ID", sentence)

    def test_mistakes_are_refused_before_the_login(self) -> None:
        key = self.key_file()
        for arguments, words in (
            (("--preset", "topstep-50"), "did you mean topstep-50k?"),
            (("--user-name", " jane"), "--user-name: expected the user name"),
            (("--rest-url", "http://api.topstepx.com"), "--rest-url: expected https://"),
            (("--key-file", str(self.directory / "none")), "cannot be read"),
            (("--key-file", self.key_file(0o644)), "chmod 600"),
        ):
            self.key_file()
            if "chmod 600" in words:
                self.key_file(0o644)
            given = ("--preset", "none", "--user-name", "jane", "--key-file", key, "--yes")
            (sentence,) = self.refusal(*given, *arguments)
            self.assertIn(words, sentence)
        self.assertEqual(self.logins, [])

    def test_an_account_that_the_login_does_not_have_is_refused_with_those_that_it_has(
        self,
    ) -> None:
        (sentence,) = self.refusal(
            *("--preset", "none", "--user-name", "jane", "--key-file", self.key_file()),
            *("--account", "7", "--account", "9"),
        )
        self.assertEqual(sentence, "--account: the login has no account 9; it has 7, 8")

    def test_a_login_without_accounts_is_refused(self) -> None:
        self.found = []
        (sentence,) = self.refusal(
            *("--preset", "none", "--user-name", "jane", "--key-file", self.key_file(), "--yes")
        )
        self.assertEqual(sentence, "the login jane has no accounts")

    def test_no_file_is_overwritten_and_nothing_is_asked_before_that_is_known(self) -> None:
        given = ("--preset", "none", "--user-name", "jane", "--key-file", self.key_file(), "--yes")
        for make in (
            lambda: self.output.write_text("mine"),
            lambda: self.output.symlink_to(self.directory / "nowhere"),
        ):
            make()
            error = self.assertRaises(UserError, self.init, *given)
            self.assertIn("is not overwritten; -o FILE names another file", str(error))
            self.output.unlink()
        self.assertEqual(self.logins, [])
        self.assertFalse((self.directory / "nowhere").exists())

    def test_a_file_that_appears_meanwhile_is_not_overwritten(self) -> None:
        def appear(*_login: object) -> list[LoginAccount]:
            self.output.write_text("mine")
            return self.found

        self.patch(self, "accounts_of", appear)
        given = ("--preset", "none", "--user-name", "jane", "--key-file", self.key_file(), "--yes")
        self.assertRaises(UserError, self.init, *given)
        self.assertEqual(self.output.read_text(), "mine")

    def test_a_riskd_with_this_login_is_not_disturbed(self) -> None:
        """A second login could end the first, and riskd would miss fills."""
        gateway = gateway_identity("projectx", LOCAL, "jane")
        directory = self.directory / "state/riskd" / gateway.key
        directory.mkdir(parents=True)
        write_daemon(
            directory, DaemonRecord(port=8765, instance="x", kind="projectx", pid=os.getpid())
        )
        given = ("--preset", "none", "--key-file", self.key_file(), "--yes", "--rest-url", LOCAL)
        (sentence,) = self.refusal(*given, "--user-name", "Jane")
        self.assertIn(f"riskd, process {os.getpid()}, is logged in as Jane", sentence)
        self.assertEqual(self.logins, [])
        self.init(*given, "--user-name", "joe")

    def test_the_file_goes_into_the_directory_that_is_named_or_nothing_is_asked(self) -> None:
        self.output = self.directory / "no" / "riskd.toml"
        (sentence,) = self.refusal()
        self.assertIn("cannot be written: No such file or directory; -o FILE names", sentence)


class QuestionTests(InitTestCase):
    """A person at a terminal."""

    def test_everything_is_asked_and_a_typed_key_is_kept_for_this_user_alone(self) -> None:
        answers = ["3", "jane", "", KEY, "8", "y"]
        self.assertEqual(self.init(answers=answers), 0)
        key_file = self.directory / "riskd.key"
        self.assertEqual(key_file.read_text(), f"{KEY}\n")
        self.assertEqual(stat.S_IMODE(key_file.stat().st_mode), 0o600)
        gateway = self.settings.gateway
        self.assertEqual((gateway.user_name, gateway.key_file), ("jane", str(key_file)))
        (guarded,) = self.settings.accounts
        self.assertEqual((guarded.id, guarded.preset), (8, "topstep-100k"))
        self.assertNotIn(KEY, self.text)
        self.assertNotIn(KEY, self.output.read_text())

    def test_a_typed_key_is_written_only_if_the_person_wants_that(self) -> None:
        self.init(answers=["5", "jane", "", KEY, "", "n"])
        self.assertEqual([path.name for path in self.directory.iterdir()], ["riskd.toml"])
        self.assertIsNone(self.settings.gateway.key_file)
        self.assertIn("put it into RISKD_API_KEY", self.text)

    def test_a_key_file_that_is_not_there_yet_takes_the_typed_key(self) -> None:
        path = self.directory / "keys" / "mine"
        path.parent.mkdir()
        self.init("--key-file", str(path), answers=["5", "jane", KEY, "7", ""])
        self.assertEqual(path.read_text(), f"{KEY}\n")
        self.assertEqual(self.settings.gateway.key_file, str(path))

    def test_an_answer_that_makes_no_sense_is_asked_for_again(self) -> None:
        self.init(
            *("--key-file", self.key_file()),
            answers=["no", "99", "5", "", "jane", "9", "7,8"],
        )
        self.assertEqual([each.id for each in self.settings.accounts], [7, 8])
        self.assertIn("expected a number from 1 to 7, got 'no'", self.text)
        self.assertIn("the login has no account 9; it has 7, 8", self.text)

    def test_a_key_file_of_an_unknown_user_is_asked_for_again(self) -> None:
        self.init(answers=["5", "jane", "~nobody-here/key", self.key_file(), "7"])
        self.assertIn("got '~nobody-here/key': there is no such user", self.text)
        self.assertTrue(self.settings.gateway.key_file)

    def test_a_slip_in_the_path_of_a_key_file_asks_for_no_key_in_silence(self) -> None:
        # A person may also paste the key at this question.
        self.init(answers=["5", "jane", str(self.directory / "kye"), KEY, self.key_file(), "7"])
        self.assertEqual(self.text.count("there is no such file; press Enter to type the key"), 2)
        self.assertNotIn(KEY, self.text)
        self.assertEqual(self.settings.gateway.key_file, self.key_file())
        self.assertFalse((self.directory / "kye").exists())

    def test_a_preset_may_be_answered_by_its_name(self) -> None:
        for answer, preset in (("topstep-50k", "topstep-50k"), ("none", ""), ("7", "")):
            self.output.unlink(missing_ok=True)
            extra = [] if preset else [LOCAL]
            self.init("--key-file", self.key_file(), answers=[answer, *extra, "jane", "7"])
            self.assertEqual([each.preset or "" for each in self.settings.accounts], [preset])

    def test_another_firm_is_asked_for_its_api(self) -> None:
        self.init(
            *("--key-file", self.key_file()),
            answers=["1", "http://api.firm.com", "https://api.firm.com", "jane", ""],
        )
        self.assertEqual(self.settings.gateway.user_hub_url, "https://rtc.firm.com/hubs/user")

    def test_the_end_of_the_answers_writes_nothing(self) -> None:
        answers = ["5", "jane", "", KEY, "8", "y"]
        for number in range(len(answers)):
            (sentence,) = self.refusal(answers=answers[:number])
            self.assertEqual(sentence, "no answer; nothing was written")
            self.assertEqual(list(self.directory.iterdir()), [])

    def test_text_of_the_broker_commands_no_terminal_and_breaks_no_file(self) -> None:
        self.found = [account(7, '\x1b[2Jmine"\n[gateway]\nkind = "practice"')]
        self.init(
            *("--preset", "none", "--user-name", "jane", "--key-file", self.key_file(), "--yes")
        )
        self.assertNotIn("\x1b", self.text + self.output.read_text())
        self.assertEqual(self.settings.gateway.kind, "projectx")


class ConfigurationTests(SynchronousTestCase):
    @given(
        st.text(),
        st.from_regex(r"[^\x00-\x20\x7f-\x9f][^\x00-\x1f\x7f-\x9f]{0,99}", fullmatch=True),
    )
    def test_names_of_any_kind_are_written_so_that_they_are_read_again(
        self, name: str, user: str
    ) -> None:
        gateway = GatewaySettings(kind="projectx", user_name=user, key_file='a "key"\\')
        text = configuration(gateway, [account(7, name)], "topstep-50k", date(2026, 11, 29))
        read = parse_settings(text, "riskd.toml", RULES, lambda _name: "")
        self.assertEqual(read.gateway, gateway)
        self.assertEqual(read.accounts[0].name, broker_text(name)[:60])
        self.assertFalse(read.enforce)
