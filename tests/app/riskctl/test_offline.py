"""The commands of ``riskctl`` that need no daemon, through the program itself."""

from __future__ import annotations

import concurrent.futures
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl import offline
from riskd.app.riskctl.main import main
from riskd.config import presets
from riskd.journal.schema import PUBLISHED_NAME
from tests import in_one_runner
from tests.support.directories import temporary_directory
from tests.support.plugins import PluginFolder
from tests.support.practice_daemon import ACCOUNT, MNQ
from tests.support.recorded_daemon import RecordedDaemon
from tests.support.riskctl import ZonedTestCase
from tests.support.state_directories import PAPER, write_state


class CheckConfigTests(SynchronousTestCase):
    """``riskctl check-config``, and a journal that is missing."""

    def run_main(self, *arguments: str) -> tuple[int, str, str]:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            status = main(arguments)
        return status, out.getvalue(), err.getvalue()

    def check(self, text: str) -> tuple[int, str, str]:
        self.path = f"{temporary_directory(self)}/riskd.toml"
        Path(self.path).write_text(text)
        return self.run_main("check-config", self.path)

    def test_a_correct_configuration_is_counted(self) -> None:
        rules = "[rules.max_contracts]\nlimit = 2\n[rules.daily_realized_loss]\nloss_limit = 500\n"
        status, out, err = self.check(f"{rules}[[accounts]]\nid = 1\n[[accounts]]\nid = 2\n")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, f"{self.path} is correct: 2 accounts, 2 rules\n")

    def test_a_rule_that_would_not_guard_the_account_is_a_warning(self) -> None:
        rule = '[rules.news_blackout]\nfile = "news.csv"\n[[accounts]]\nid = 7\n'
        status, out, _ = self.check(rule)
        directory = Path(self.path).parent
        self.assertEqual(status, 0)
        self.assertEqual(
            out.splitlines()[0],
            f"{self.path}: warning: account 7, RULE-017: news is not guarded against, "
            f"{directory}/news.csv: cannot be read: No such file or directory",
        )

    def test_an_old_preset_is_a_warning(self) -> None:
        self.patch(presets, "MOST_DAYS", -99999)
        status, out, _ = self.check('[[accounts]]\nid = 7\npreset = "topstep-50k"\n')
        self.assertEqual(status, 0)
        first, last = out.splitlines()
        self.assertIn(f"{self.path}: warning: account 7: the limits of preset topstep-50k", first)
        self.assertEqual(last, f"{self.path} is correct: 1 account, 1 rule")

    def test_presets_are_listed(self) -> None:
        status, out, err = self.run_main("presets")
        self.assertEqual((status, err), (0, ""))
        header, *rows = out.splitlines()
        self.assertEqual(header.split(), ["PRESET", "READ", "ACCOUNT"])
        row = "topstep-50k              2026-11-01  Topstep, Trading Combine of $50,000"
        self.assertIn(row, rows)
        names = [
            each["preset"] for each in json.loads(self.run_main("presets", "--json")[1])["presets"]
        ]
        self.assertEqual(names, [row.split()[0] for row in rows])

    def test_a_preset_has_a_line_for_each_limit_with_its_source(self) -> None:
        title, header, *rows, last = self.run_main("presets", "topstep-50k")[1].splitlines()
        self.assertEqual(title, "topstep-50k: Topstep, Trading Combine of $50,000")
        self.assertEqual(header.split(), ["KEY", "VALUE", "READ", "SOURCE"])
        self.assertEqual(rows[2].split("  ")[0], "maximum_loss.drawdown")
        self.assertRegex(rows[2], r"2000 +2026-11-01  Topstep Help Center, help\.topstep\.com: ")
        self.assertIn("The firm's page decides.", last)
        report = json.loads(self.run_main("presets", "topstep-50k", "--json")[1])
        limit = next(each for each in report["limits"] if each["key"] == "drawdown")
        self.assertEqual((limit["rule"], limit["value"]), ("maximum_loss", 2000))
        _, out, _ = self.run_main("presets", "take-profit-trader-pro")
        self.assertRegex(out, r"news_blackout\.file +set by you ")

    def test_an_unknown_preset_is_named(self) -> None:
        status, _, err = self.run_main("presets", "topstep-50")
        sentence = "riskctl: there is no preset topstep-50; did you mean topstep-50k?\n"
        self.assertEqual((status, err), (1, sentence))

    def test_a_dry_run_is_pointed_out(self) -> None:
        _, out, _ = self.check("enforce = false\n[rules.max_contracts]\n[[accounts]]\nid = 1\n")
        self.assertEqual(
            out, f"{self.path} is correct: 1 account, 1 rule; a dry run, nothing is enforced\n"
        )

    def test_every_mistake_has_a_line(self) -> None:
        status, out, _ = self.check("colour = 1\n[[accounts]]\nid = -1\n")
        self.assertEqual((status, len(out.splitlines())), (1, 2))
        self.assertTrue(all(self.path in line for line in out.splitlines()))

    def test_a_key_file_that_others_may_read_is_a_problem_and_never_shown(self) -> None:
        key = temporary_directory(self) / "key"
        key.write_text("secret\n")
        text = (
            f'[gateway]\nkind = "projectx"\nuser_name = "jane"\nkey_file = "{key}"\n'
            "[[accounts]]\nid = 1\n"
        )
        for mode, expected in ((0o644, 1), (0o600, 0)):
            key.chmod(mode)
            status, out, _ = self.check(text)
            self.assertEqual((status, "chmod 600" in out), (expected, bool(expected)), out)
            self.assertNotIn("secret", out)
        self.assertTrue(self.check(text.replace("/key", "/none"))[0])

    def test_a_rule_with_an_old_name(self) -> None:
        path = PluginFolder(self).add("mine", "import riskd.account")
        status, out, err = self.check("[[accounts]]\nid = 1\n")
        sentence = f"plugin {path}, line 1: riskd.account is now riskd.model.account\n"
        self.assertEqual((status, out, err), (1, sentence, ""))

    def test_a_missing_file_is_named(self) -> None:
        status, out, _ = self.run_main("check-config", "/nowhere/riskd.toml")
        self.assertEqual(status, 1)
        self.assertIn("/nowhere/riskd.toml", out)

    def test_a_missing_journal_is_an_error(self) -> None:
        status, out, err = self.run_main(
            "--state", str(temporary_directory(self)), "journal", "123"
        )
        self.assertEqual((status, out), (1, ""))
        self.assertTrue(err.startswith("riskctl: no log: "))

    def test_an_account_that_the_journal_does_not_have_is_an_error(self) -> None:
        state = Path(temporary_directory(self), "state")
        write_state(state, PAPER)
        for command in ("journal", "days", "trades", "equity"):
            status, out, err = self.run_main("--state", str(state), command, "132")
            self.assertEqual(
                (status, out, err),
                (1, "", f"riskctl: the journal in {state} has no account 132; it has 123\n"),
            )
        status, out, _ = self.run_main("--state", str(state), "days", "123")
        self.assertEqual((status, out), (0, "no trading day has ended yet\n"))

    def test_the_journal_knows_its_accounts_without_a_copy(self) -> None:
        state = Path(temporary_directory(self), "state")
        write_state(state, PAPER)
        (state / PUBLISHED_NAME).unlink()
        for command in ("journal", "days", "trades", "equity"):
            status, out, err = self.run_main("--state", str(state), command, "132")
            self.assertEqual((status, out), (1, ""))
            self.assertIn("has no account 132; it has 123", err)

    def test_what_since_leaves_out_is_not_denied(self) -> None:
        state = Path(temporary_directory(self), "state")
        write_state(state, PAPER)
        for command in ("journal", "days", "trades", "equity"):
            arguments = ("--state", str(state), command, "123", "--since", "1m")
            status, out, _ = self.run_main(*arguments)
            self.assertEqual(status, 0)
            self.assertRegex(out, r"\Anothing since [0-9:]{8}\n\Z")
            _, rows, _ = self.run_main(*arguments, "--csv")
            self.assertNotIn("nothing", rows)


class ReplayTests(ZonedTestCase):
    """``riskctl replay``, which needs no daemon."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = temporary_directory(self)
        self.path = self.directory / "day.jsonl"
        self.path.write_bytes(self.record())
        self.other = self.directory / "other.toml"
        self.other.write_text(f"[rules.max_contracts]\nlimit = 1\n[[accounts]]\nid = {ACCOUNT}\n")

    def record(self, beginning: str = "") -> bytes:
        """Return the recording of a day on which the account held more contracts than its limit."""
        config = f"[rules.max_contracts]\nlimit = 3\n[[accounts]]\nid = {ACCOUNT}\n"
        daemon = RecordedDaemon(beginning + config, is_open=False)
        self.addCleanup(daemon.clean_up)
        daemon.advance(3)
        for size in (5, 2):
            order = {"contractId": MNQ, "type": 2, "side": 0, "size": size}
            daemon.gateway.place_order(ACCOUNT, order)
            daemon.advance(10)
        self.broadcasts = daemon.broadcasts
        return daemon.end().read_bytes()

    def replay(self, *arguments: str) -> tuple[int, bytes, str]:
        """Return exit status, standard output and standard error."""
        output, errors = io.TextIOWrapper(io.BytesIO(), encoding="ascii"), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            status = main(["replay", str(self.path), *arguments])
        return status, output.buffer.getvalue(), errors.getvalue()  # type: ignore[attr-defined]

    def test_what_was_broadcast_is_written_byte_for_byte(self) -> None:
        status, output, errors = self.replay()
        self.assertEqual(status, 0)
        self.assertEqual(output, b"".join(message + b"\n" for message in self.broadcasts))
        self.assertRegex(
            errors,
            r"^\d+ messages and \d+ timers replayed: "
            rf"{len(self.broadcasts)} broadcasts, all as recorded\n$",
        )

    def test_a_difference_is_shown_line_by_line(self) -> None:
        recorded = self.path.read_bytes()
        self.path.write_bytes(recorded.replace(b"(limit 3)", b"(limit 2)"))
        status, _output, errors = self.replay()
        self.assertEqual(status, 1)
        where, was, came = errors.splitlines()
        self.assertRegex(where, r"^riskctl: .*day.jsonl, line \d+ replays differently:$")
        self.assertTrue(was.startswith('riskctl: recorded: {"told":') and "(limit 2)" in was)
        self.assertTrue(came.startswith('riskctl: replayed: {"told":') and "(limit 3)" in came)

    def test_a_recording_that_breaks_off_is_replayed_to_its_end(self) -> None:
        lines = self.path.read_bytes().splitlines()
        self.path.write_bytes(b"\n".join(lines[:30]) + b"\n" + lines[30][:9])
        status, _output, errors = self.replay()
        self.assertEqual(status, 0)
        self.assertIn("breaks off after line 30: riskd was killed, or is still recording", errors)

    def test_a_file_that_is_not_a_recording_is_an_error(self) -> None:
        self.path.write_text("hello")
        self.assertEqual(
            self.replay()[::2], (1, f"riskctl: {self.path} is not a recording of riskd\n")
        )
        self.path.unlink()
        self.assertEqual(
            self.replay()[::2],
            (1, f"riskctl: {self.path} cannot be read: No such file or directory\n"),
        )

    def test_other_limits_show_their_enforcement_beside_the_days(self) -> None:
        status, output, errors = self.replay("--config", str(self.other))
        self.assertEqual(status, 0)
        self.assertEqual(errors.splitlines()[-1], "on the day itself: 1 action: 1 by RULE-001")
        self.assertIn(f"with {self.other}: ", errors)
        header, *rows = output.decode().splitlines()
        self.assertEqual(header.split(), ["AT", "ACCOUNT", "RULE", "ACTION", "REASON"])
        self.assertTrue(rows and all("(limit 1)" in row for row in rows), rows)

    def test_a_day_that_was_a_dry_run_is_called_one(self) -> None:
        self.path.write_bytes(self.record("enforce = false\n"))
        _status, _output, errors = self.replay("--config", str(self.other))
        self.assertIn("on the day itself, a dry run: 1 action", errors)

    def test_other_limits_that_do_nothing(self) -> None:
        self.other.write_text(self.other.read_text().replace("limit = 1", "limit = 5"))
        status, output, errors = self.replay("--config", str(self.other))
        self.assertEqual((status, output), (0, b"nothing is enforced\n"))
        self.assertIn(f"with {self.other}: 0 actions\n", errors)

    def test_other_limits_with_mistakes_are_errors_line_by_line(self) -> None:
        self.other.write_text("colour = 1\nshape = 2\n")
        status, _output, errors = self.replay("--config", str(self.other))
        self.assertEqual(status, 1)
        self.assertTrue(all(line.startswith("riskctl: ") for line in errors.splitlines()))
        self.assertIn("other.toml, line 2: shape: unknown key", errors)

    # Several days, and several configurations.

    def compared(self, *arguments: str) -> tuple[int, str, str]:
        """Compare a limit of 1 and of 9 contracts on the recordings in the directory."""
        self.loose = self.directory / "loose.toml"
        self.loose.write_text(self.other.read_text().replace("limit = 1", "limit = 9"))
        self.path = self.directory
        configurations = ("--config", str(self.other), "--config", str(self.loose))
        status, output, errors = self.replay(*configurations, *arguments)
        return status, output.decode(), errors

    def test_a_directory_shows_what_each_would_have_enforced_first_on_each_day(self) -> None:
        status, output, errors = self.compared()
        self.assertEqual((status, errors), (0, ""))
        header, row = output.splitlines()
        self.assertEqual(
            header.split(), ["DAY", "ACCOUNT", "NET", str(self.other), str(self.loose)]
        )
        # On the day itself the five were closed at once, and the two stayed.
        self.assertRegex(
            row,
            rf"^2026-11-23 +{ACCOUNT} +-\$\d+\.\d\d  RULE-001 \d\d:\d\d:\d\d -\$1\.85 +nothing$",
        )

    def test_several_configurations_for_one_recording_are_compared_too(self) -> None:
        table = self.compared()[1]
        self.path = self.directory / "day.jsonl"
        more = ("--config", str(self.other), "--config", str(self.loose))
        self.assertEqual(self.replay(*more)[1].decode(), table)

    def test_the_comparison_is_one_json_object(self) -> None:
        status, output, _errors = self.compared("--json")
        (day,) = json.loads(output)["days"]
        self.assertEqual((status, day["day"], day["account"]), (0, "2026-11-23", ACCOUNT))
        first, second = day["enforced_first"]
        self.assertEqual(second, {"config": str(self.loose), "action": False})
        self.assertEqual(first["config"], str(self.other))
        self.assertEqual(
            (first["action"]["rule_id"], first["action"]["net_pnl"]), ("RULE-001", -1.85)
        )
        self.assertIn("5 net contracts held (limit 1)", first["action"]["reason"])

    def play_here(self) -> None:
        """Play recordings one after the other; what a process costs is paid by one test."""
        self.patch(offline, "available_cores", lambda: 1)

    def test_a_recording_that_cannot_be_read_does_not_hide_the_others(self) -> None:
        self.play_here()
        whole = self.compared()[1]
        (self.directory / "a.jsonl").write_text("hello")
        (self.directory / "b.jsonl").mkdir()
        (self.directory / "notes.txt").write_text("hello")
        lines = (self.directory / "day.jsonl").read_bytes().splitlines(keepends=True)
        (self.directory / "z.jsonl").write_bytes(b"".join(lines[:40]) + b"{}\n")
        status, output, errors = self.compared()
        self.assertEqual((status, output), (1, whole))
        first, second, third = errors.splitlines()
        self.assertIn("a.jsonl is not a recording of riskd", first)
        self.assertIn("b.jsonl cannot be read: Is a directory", second)
        self.assertIn("z.jsonl, line 41 is damaged", third)

    def test_a_day_of_two_recordings_has_one_line(self) -> None:
        self.play_here()
        whole = self.compared()[1]
        lines = (self.directory / "day.jsonl").read_bytes().splitlines(keepends=True)
        (self.directory / "cut.jsonl").write_bytes(b"".join(lines[:12]))
        status, output, errors = self.compared()
        self.assertEqual((status, output), (0, whole))
        self.assertIn("cut.jsonl breaks off after line 12", errors)

    @in_one_runner
    def test_recordings_are_played_on_all_cores_to_the_same_table(self) -> None:
        lines = (self.directory / "day.jsonl").read_bytes().splitlines(keepends=True)
        for number in (10, 60, 90):
            (self.directory / f"cut-{number}.jsonl").write_bytes(b"".join(lines[:number]))
        (self.directory / "not-one.jsonl").write_text("hello")
        (self.directory / "damaged.jsonl").write_bytes(b"".join(lines[:40]) + b"{}\n")
        shown = []
        for cores in (1, 2):
            self.patch(offline, "available_cores", lambda cores=cores: cores)
            shown.append(self.compared())
        alone, together = shown
        self.assertEqual(together, alone)
        self.assertEqual((alone[0], len(alone[2].splitlines())), (1, 5))

    def test_one_recording_needs_no_other_process(self) -> None:
        self.patch(concurrent.futures, "ProcessPoolExecutor", None)
        self.assertEqual(self.compared()[0], 0)

    def test_a_directory_needs_other_limits_and_recordings(self) -> None:
        day, self.path = self.path, self.directory
        self.assertEqual(
            self.replay()[::2],
            (
                1,
                f"riskctl: {self.path} is a directory: expected the other limits, as in --config OTHER.toml\n",
            ),
        )
        day.unlink()
        self.assertEqual(
            self.replay("--config", str(self.other))[::2],
            (1, f"riskctl: {self.path} has no recordings, files named *.jsonl\n"),
        )
