"""Each change of settings is journaled old to new with the user, and told as a line of the feed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import ClassVar

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.journal_tables import journal_table
from riskd.config.known_settings import known_settings
from riskd.config.loader import parse_settings
from riskd.config.settings import AccountSettings, GatewaySettings, Settings
from riskd.journal.audit_log import SETTINGS, LogLine, read_log
from riskd.journal.reader import read_published
from riskd.journal.schema import JOURNAL_NAME
from riskd.model.events import DaemonStatus
from riskd.model.settings_changes import differences, latest_changes, sentence_of
from tests.support.changed_settings import SettingsTestCase
from tests.support.configuration import CATALOGUE
from tests.support.guarded_account import DAILY_LOSS, MAX_CONTRACTS, OTHER_ACCOUNT
from tests.support.practice_daemon import ACCOUNT, PracticeDaemon, settings_of

LIMITS = (
    (DAILY_LOSS.replace("500", "400"), "daily_realized_loss: loss_limit 500 became 400"),
    (DAILY_LOSS.replace("500", "5000"), "daily_realized_loss: loss_limit 500 became 5000"),
    ("", "daily_realized_loss was removed"),
    (DAILY_LOSS + MAX_CONTRACTS, "max_contracts was added"),
    (
        DAILY_LOSS + '[defaults]\nreset_time = "12:01"\n',
        "day: reset_time 17:00:00 became 12:01:00",
    ),
    ("strict_mode = true\n" + DAILY_LOSS, "strict_mode: false became true"),
)
"""New files with other limits, and what the feed says of each."""

OTHERS = (
    ("enforce = false\n" + DAILY_LOSS, "enforce: true became false"),
    (DAILY_LOSS + "[server]\nmax_clients = 7\n", "server: max_clients 1000 became 7"),
    (DAILY_LOSS + "[practice]\nseed = 3\n", "practice: seed none became 3"),
)

MORE_ACCOUNTS = (
    DAILY_LOSS + f"[[accounts]]\nid = {OTHER_ACCOUNT}\n",
    f"accounts: [{ACCOUNT}] became [{OTHER_ACCOUNT},{ACCOUNT}]",
)


class ReloadTests(SettingsTestCase):
    config = DAILY_LOSS
    changes: ClassVar = (*LIMITS, *OTHERS, MORE_ACCOUNTS)

    def change(self, config: str) -> None:
        settings = msgspec.structs.replace(settings_of(config), operator="jane")
        self.daemon.engine.reload(settings)
        self.daemon.advance(3)

    def told(self) -> list[DaemonStatus]:
        """The changes that were announced."""
        statuses: list[DaemonStatus] = self.daemon.news(DaemonStatus)
        return [each for each in statuses if each.message.startswith("Settings")]

    def published(self) -> list[str]:
        account = read_published(self.daemon.directory).accounts[ACCOUNT]
        return [change.sentence for change in latest_changes(account)]

    def journaled(self) -> list[LogLine]:
        log = read_log(self.daemon.directory, ACCOUNT)
        return [line for line in log if line.kind == SETTINGS]

    def test_every_change_is_journaled_published_and_told_once(self) -> None:
        for config, words in self.changes:
            self.daemon.close()
            self.setUp()
            self.daemon.advance(3)
            self.change(config)
            with self.subTest(words):
                (told,) = self.told()
                self.assertIn("changed by jane: ", told.message)
                # In a dry run, a note follows.
                self.assertIn(words, told.message)
                (published,) = self.published()
                self.assertIn(words, published)
                (line,) = self.journaled()
                (_header, row) = journal_table([line])
                self.assertIn("by jane: ", row)
                self.assertIn(words.split(": ")[-1].removeprefix(f"{line.data['key']} "), row)

    def test_the_same_file_changes_nothing(self) -> None:
        self.change(DAILY_LOSS)
        self.assertEqual((self.told(), self.published(), self.journaled()), ([], [], []))

    def test_a_way_and_back_are_two_changes(self) -> None:
        self.change(DAILY_LOSS.replace("500", "400"))
        self.change(DAILY_LOSS)
        self.assertEqual(len(self.journaled()), 2)
        self.assertIn("400 became 500", self.told()[-1].message)

    def test_its_status_has_the_time_of_the_copy(self) -> None:
        self.change("")
        (told,) = self.told()
        (change,) = latest_changes(read_published(self.daemon.directory).accounts[ACCOUNT])
        self.assertEqual((told.timestamp, told.message), (change.at, change.sentence))


class WhileNoDaemonRanTests(ReloadTests):
    """The daemon compares the file with what was in force."""

    # The exchange of these tests has one account.
    changes: ClassVar = (*LIMITS, *OTHERS)

    def change(self, config: str) -> None:
        self.daemon.advance(3)
        self.daemon.told.clear()
        self.restart_with(msgspec.structs.replace(settings_of(config), operator="jane"))
        self.daemon.advance(3)

    def test_a_restart_tells_nothing_again(self) -> None:
        self.change("")
        self.change("")
        self.assertEqual(self.told(), [])
        self.assertEqual(len(self.journaled()), 1)
        self.assertEqual(len(self.published()), 1)

    def test_a_kill_before_the_status_tells_it_in_the_copy(self) -> None:
        self.daemon.advance(3)
        self.restart_with(settings_of(""))
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual(len(self.published()), 1)


class ManyTests(ReloadTests):
    changes: ClassVar = ()

    def test_the_copy_has_the_latest_thirty(self) -> None:
        for number in range(40):
            self.daemon.engine.reload(settings_of(DAILY_LOSS.replace("500", str(100 + number))))
        self.daemon.advance(3)
        self.assertEqual(len(self.published()), 30)
        self.assertIn("became 139", self.published()[-1])
        self.assertEqual((len(self.journaled()), len(self.told())), (40, 40))


class RemovedAccountTests(ReloadTests):
    changes: ClassVar = ()

    def test_its_journal_and_those_of_the_others_say_so(self) -> None:
        self.daemon.advance(3)
        others = Settings(accounts=(AccountSettings(id=OTHER_ACCOUNT),), operator="jane")
        self.restart_with_an_unknown_account(others)
        (gone,) = self.journaled()
        self.assertIn(f"by jane: account {ACCOUNT} was removed", journal_table([gone])[1])
        (other,) = read_log(self.daemon.directory, OTHER_ACCOUNT)
        self.assertIn(f"[{ACCOUNT}] became [{OTHER_ACCOUNT}]", journal_table([other])[1])
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual(len(self.journaled()), 1)

    def restart_with_an_unknown_account(self, settings: Settings) -> None:
        self.daemon.kill()
        self.daemon.settings = settings
        self.daemon.restart()
        self.daemon.advance(3)


class Accounts(PracticeDaemon):
    """A daemon whose configuration names all accounts."""

    def read_settings(self, config: str) -> Settings:
        return parse_settings(config, "riskd.toml", CATALOGUE)


class ManyAccountsTests(SynchronousTestCase):
    """The ids of all accounts are kept with one alone, and compared for each."""

    def start(self, *numbers: int) -> None:
        # The exchange has all accounts that any test is about.
        self.daemon = Accounts(self.config(1, 2, 3, 4))
        self.daemon.kill()
        self.daemon.lose_files()
        self.addCleanup(self.daemon.close)
        self.restart(*numbers)

    def config(self, *numbers: int) -> str:
        return "".join(f"[[accounts]]\nid = {number}\n" for number in numbers)

    def restart(self, *numbers: int) -> None:
        self.daemon.kill()
        self.daemon.settings = self.daemon.read_settings(self.config(*numbers))
        self.daemon.restart()
        self.daemon.advance(3)

    def reload(self, *numbers: int) -> None:
        self.daemon.engine.reload(self.daemon.read_settings(self.config(*numbers)))
        self.daemon.advance(3)

    def rows(self) -> list[tuple[int, str]]:
        """Which account has the ids of which accounts in the journal."""
        with closing(sqlite3.connect(self.daemon.directory / JOURNAL_NAME)) as journal:
            sql = "SELECT account_id, data FROM settings WHERE name = 'accounts'"
            return journal.execute(sql).fetchall()

    def keep_as_before(self) -> None:
        """Keep the ids with each account, as earlier versions did."""
        ((_keeper, ids),) = self.rows()
        self.daemon.kill()
        with closing(sqlite3.connect(self.daemon.directory / JOURNAL_NAME)) as journal, journal:
            journal.execute(
                "INSERT OR REPLACE INTO settings (account_id, name, data)"
                " SELECT account_id, 'accounts', ? FROM settings WHERE name = 'account'",
                (ids,),
            )

    def lines(self, number: int) -> list[str]:
        log = read_log(self.daemon.directory, number)
        return [
            f"{line.data['before']} became {line.data['after']}"
            for line in log
            if line.kind == SETTINGS
        ]

    def test_a_restart_with_the_same_accounts_is_no_news(self) -> None:
        self.start(1, 2, 3)
        self.assertEqual(self.rows(), [(1, "[1,2,3]")])
        for _ in range(2):
            self.restart(1, 2, 3)
            self.assertEqual([self.lines(number) for number in (1, 2, 3)], [[]] * 3)

    def test_nor_is_the_first_start_on_the_journal_of_an_earlier_version(self) -> None:
        self.start(1, 2, 3)
        self.keep_as_before()
        self.assertEqual(len(self.rows()), 3)
        self.restart(1, 2, 3)
        self.assertEqual([self.lines(number) for number in (1, 2, 3)], [[]] * 3)
        messages = [each.message for each in self.daemon.news(DaemonStatus)]
        self.assertEqual([each for each in messages if each.startswith("Settings")], [])
        self.assertEqual(self.rows(), [(1, "[1,2,3]")])

    def test_other_accounts_are_news_of_each_whatever_version_wrote_the_journal(self) -> None:
        for is_earlier in (False, True):
            for after in ((2, 3), (3, 2, 1), (1, 2), (4, 1, 2, 3)):
                self.start(1, 2, 3)
                if is_earlier:
                    self.keep_as_before()
                self.restart(*after)
                with self.subTest(after, is_earlier=is_earlier):
                    line = f"[1, 2, 3] became {[*after]}"
                    for number in after:
                        self.assertEqual(self.lines(number), [line])
                    self.assertEqual(len(self.rows()), 1)
                    self.restart(*after)
                    self.assertEqual(self.lines(after[-1]), [line])

    def test_an_account_that_leaves_by_a_reload_takes_no_ids_along(self) -> None:
        self.start(1, 2, 3)
        self.reload(2, 3)
        self.assertEqual(self.rows(), [(2, "[2,3]")])
        self.restart(2, 3)
        self.assertEqual(self.lines(3), ["[1, 2, 3] became [2, 3]"])

    def test_an_account_that_comes_by_a_reload_keeps_no_ids_until_the_restart(self) -> None:
        self.start(2, 3)
        self.reload(1, 2, 3)
        self.assertEqual(self.rows(), [(2, "[1,2,3]")])
        self.restart(1, 2, 3)
        self.assertEqual([self.lines(2), self.lines(3)], [["[2, 3] became [1, 2, 3]"]] * 2)
        self.assertEqual(self.rows(), [(1, "[1,2,3]")])

    def test_lost_ids_are_no_news(self) -> None:
        self.start(1, 2, 3)
        self.daemon.kill()
        with closing(sqlite3.connect(self.daemon.directory / JOURNAL_NAME)) as journal, journal:
            journal.execute("DELETE FROM settings WHERE name = 'accounts'")
        self.restart(1, 2, 3)
        self.assertEqual([self.lines(number) for number in (1, 2, 3)], [[]] * 3)
        self.assertEqual(self.rows(), [(1, "[1,2,3]")])


class SentenceTests(SynchronousTestCase):
    def sentences(self, *gateways: GatewaySettings) -> list[str]:
        known = [
            known_settings(Settings(accounts=(AccountSettings(id=1),), gateway=each))[1]
            for each in gateways
        ]
        return [sentence_of(each, None, "jane") for each in differences(*known)]

    def test_logins_and_paths_of_keys_are_not_shown(self) -> None:
        first = GatewaySettings(kind="projectx", user_name="jane", key_file="/home/jane/key")
        second = msgspec.structs.replace(first, user_name="joe", key_file="/home/joe/key")
        (sentence,) = self.sentences(first, second)
        self.assertEqual(
            sentence,
            "Settings changed by jane: gateway: key_file a value became another, "
            "user_name a value became another",
        )

    def test_long_values_are_cut(self) -> None:
        first = GatewaySettings(rest_url=f"https://{'a' * 180}.com")
        (sentence,) = self.sentences(first, GatewaySettings())
        self.assertLess(len(sentence), 220)
        self.assertIn("…", sentence)
