"""Targets: what is a URL of apprise, who may read them, and that they are never shown."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.support.directories import temporary_directory
from trader.alerts.targets import (
    SendError,
    Target,
    TargetError,
    make_targets,
    read_targets,
)
from trader.alerts.words import Attachment, Message, Urgency

URL = "json://user:hunter2@127.0.0.1:9/tokentoken"
"""Nothing listens on the port."""
MESSAGE = Message("title", "body", Urgency.FAILURE)


class TargetTests(SynchronousTestCase):
    """One target."""

    def target(self, result: Callable[..., Any]) -> Target:
        target = Target(URL, 1, "here")
        target._apprise.notify = result
        return target

    def problem(self, target: Target) -> str:
        return str(self.assertRaises(SendError, target.send, MESSAGE))

    def test_its_name_is_its_number_and_its_kind(self) -> None:
        self.assertEqual(Target(URL, 2, "here").name, "target 2 (json)")

    def test_a_message_is_plain_text_with_an_urgency_and_a_limit_in_time(self) -> None:
        calls: list[dict[str, Any]] = []
        self.target(lambda **call: calls.append(call) or True).send(MESSAGE)
        (call,) = calls
        self.assertEqual(
            (call["title"], call["body"], call["notify_type"], call["body_format"]),
            ("title", "body", "failure", "text"),
        )
        self.assertGreater(call["timeout"], 0)

    def test_attachments_are_private_files_that_are_gone_afterwards(self) -> None:
        seen: list[tuple[str, str, int]] = []

        def notify(attach: list[str], **_call: Any) -> bool:
            seen.extend(
                (path.name, path.read_text(), path.parent.stat().st_mode & 0o777)
                for path in map(Path, attach)
            )
            self.paths = attach
            return True

        files = (Attachment("a.html", "é"), Attachment("b.html", "b"))
        self.target(notify).send(msgspec.structs.replace(MESSAGE, attachments=files))
        self.assertEqual(seen, [("a.html", "é", 0o700), ("b.html", "b", 0o700)])
        self.assertFalse(any(Path(path).exists() for path in self.paths))

    def test_a_failure_has_the_reason_of_apprise_and_no_secret(self) -> None:
        problem = self.problem(Target(URL, 1, "here"))
        self.assertIn("onnection", problem)
        for secret in ("hunter2", "tokentoken", "user"):
            self.assertNotIn(secret, problem)

    def test_whatever_a_service_raises_is_a_failure_without_a_secret(self) -> None:
        def fail(**_call: Any) -> bool:
            raise ZeroDivisionError(f"{URL}\x1b[2J" + "x" * 1000)

        problem = self.problem(self.target(fail))
        self.assertIn("ZeroDivisionError: json://", problem)
        self.assertNotIn("hunter2", problem)
        self.assertNotIn("tokentoken", problem)
        self.assertTrue(problem.isprintable())
        self.assertLessEqual(len(problem), 200)

    def test_an_unknown_url_is_refused_without_being_shown(self) -> None:
        for url in (
            "tokentoken",
            "discord://tokentoken",
            "://tokentoken",
        ):
            problem = str(self.assertRaises(TargetError, Target, url, 1, "file, line 3"))
            self.assertTrue(problem.startswith("file, line 3: not an apprise URL; expected "))
            self.assertNotIn("tokentoken", problem)

    def test_a_service_that_apprise_does_not_know_is_named_with_the_nearest(self) -> None:
        error = self.assertRaises(TargetError, Target, "jsonn://tokentoken", 1, "line 3")
        self.assertIn(
            "line 3: apprise knows no service jsonn://; did you mean json://?", str(error)
        )
        self.assertNotIn("tokentoken", str(error))


class FileTests(SynchronousTestCase):
    """The file of targets."""

    def setUp(self) -> None:
        self.path = temporary_directory(self) / "alert-targets"

    def write(self, text: str, mode: int = 0o600) -> None:
        self.path.write_text(text)
        self.path.chmod(mode)

    def problem(self) -> str:
        return str(self.assertRaises(TargetError, read_targets, self.path))

    def test_each_line_is_a_target_but_comments_and_blanks(self) -> None:
        self.write(f"# mine\n\n  {URL}\n#{URL}\nxml://localhost\n")
        names = [target.name for target in read_targets(self.path)]
        self.assertEqual(names, ["target 1 (json)", "target 2 (xml)"])

    def test_a_file_that_others_may_read_is_refused_with_the_command_that_mends_it(self) -> None:
        for mode in (0o640, 0o644, 0o604):
            self.write(URL, mode)
            self.assertIn(f"chmod 600 {self.path}", self.problem())
            self.assertNotIn("hunter2", self.problem())

    def test_every_wrong_line_is_named(self) -> None:
        self.write(f"{URL}\nnonsense\n\ndiscord://secret\n")
        first, second = self.problem().splitlines()
        self.assertTrue(first.startswith(f"{self.path}, line 2: "), first)
        self.assertTrue(second.startswith(f"{self.path}, line 4: "), second)

    def test_a_file_without_a_target_is_refused(self) -> None:
        self.write("# later\n")
        self.assertIn("has no apprise URL", self.problem())

    def test_without_apprise_the_error_says_what_to_install(self) -> None:
        self.write(URL)
        Target(URL, 1, "here")
        known = sys.modules["apprise"]
        self.addCleanup(sys.modules.__setitem__, "apprise", known)
        sys.modules["apprise"] = None  # type: ignore[assignment]  # importing it fails
        self.assertIn("pip install 'riskd[alerts]'", self.problem())

    def test_urls_of_the_command_line_are_named_by_their_number(self) -> None:
        error = self.assertRaises(TargetError, make_targets, [("x", "--target, URL 1")])
        self.assertIn("--target, URL 1: not an apprise URL", str(error))
