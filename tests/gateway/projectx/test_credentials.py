"""Credentials: where the key is found, who may read it, and that it is never shown."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx import credentials
from riskd.gateway.projectx.credentials import (
    CREDENTIAL,
    KEY_VARIABLE,
    MAX_BYTES,
    Credentials,
    CredentialsError,
    find_credentials,
)
from riskd.host.secrets import Secret
from tests.support.directories import temporary_directory

KEY = "hunter2+/AbC="


class SecretTests(SynchronousTestCase):
    """A secret is shown by reveal() alone."""

    secret = Secret(KEY)

    def test_reveal_returns_the_text(self) -> None:
        self.assertEqual(self.secret.reveal(), KEY)

    def test_no_conversion_to_text_shows_a_secret(self) -> None:
        login = Credentials("jane", self.secret)
        for text in (
            repr(self.secret),
            str(self.secret),
            f"{self.secret}",
            f"{self.secret:>40}",
            f"{self.secret!a}",
            "%s %r" % (self.secret, self.secret),  # noqa: UP031  # as old code does
            repr([self.secret]),
            repr(login),
            repr(msgspec.structs.asdict(login)),
        ):
            self.assertIn("Secret(...)", text)
            self.assertNotIn(KEY, text)

    def test_a_secret_is_not_logged(self) -> None:
        with capturedLogs() as logged:
            Logger().info("login {login} {login.api_key}", login=Credentials("jane", self.secret))
        text = "".join(map(eventAsText, logged))
        self.assertIn("jane", text)
        self.assertNotIn(KEY, text)
        record = logging.LogRecord("n", 20, "p", 1, "key %s", (self.secret,), None)
        self.assertNotIn(KEY, record.getMessage())

    def test_a_secret_cannot_be_serialized(self) -> None:
        login = Credentials("jane", self.secret)
        for write in (
            pickle.dumps,
            copy.copy,
            copy.deepcopy,
            json.dumps,
            msgspec.json.encode,
            msgspec.msgpack.encode,
            msgspec.to_builtins,
            lambda value: value.__getstate__(),
        ):
            error = self.assertRaises(TypeError, write, self.secret)
            self.assertNotIn(KEY, str(error))
        for write in (pickle.dumps, copy.deepcopy, msgspec.json.encode, msgspec.to_builtins):
            error = self.assertRaises(TypeError, write, login)
            self.assertNotIn(KEY, str(error))

    @given(st.text(), st.text())
    def test_secrets_are_equal_when_their_texts_are(self, one: str, other: str) -> None:
        self.assertEqual(Secret(one) == Secret(other), one == other)
        self.assertEqual(Secret(one), Secret(one))
        self.assertEqual(len({Secret(one), Secret(one)}), 1)
        self.assertNotEqual(Secret(one), one)


class CredentialsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = temporary_directory(self)
        self.path = self.directory / "top step.key"
        self.environ: dict[str, str] = {}
        self.patch(credentials, "_from_environment", {})

    def write(self, path: Path, content: str | bytes = KEY + "\n", mode: int = 0o600) -> Path:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def credential(self, content: str = KEY, mode: int = 0o400) -> Path:
        """Act as a service to which systemd has passed a key."""
        self.environ["CREDENTIALS_DIRECTORY"] = str(self.directory)
        return self.write(self.directory / CREDENTIAL, content, mode)

    def find(self, key_file: Path | None = None) -> Credentials:
        return find_credentials("jane", None if key_file is None else str(key_file), self.environ)

    def key(self, key_file: Path | None = None) -> str:
        return self.find(key_file).api_key.reveal()

    def problem(self, key_file: Path | None = None) -> str:
        sentence = str(self.assertRaises(CredentialsError, self.find, key_file))
        self.assertNotIn(KEY, sentence)
        self.assertEqual(len(sentence.splitlines()), 1)
        return sentence

    def be_another_user(self) -> str:
        """Give the key file to another user; return that user's name."""
        if os.geteuid() == 0:
            os.chown(self.path, 54321, -1)
            return "uid 54321"
        self.patch(os, "geteuid", lambda: 54321)
        return self.path.owner()


class PrecedenceTests(CredentialsTestCase):
    """Which of several keys counts."""

    def test_the_key_file_counts_before_systemd_and_the_environment(self) -> None:
        self.write(self.path, "of-the-file")
        self.credential("of-systemd")
        self.environ[KEY_VARIABLE] = "of-the-environment"
        self.assertEqual(self.find(self.path), Credentials("jane", Secret("of-the-file")))
        self.assertEqual(self.key(), "of-systemd")
        self.environ.pop("CREDENTIALS_DIRECTORY")
        self.assertEqual(self.key(), "of-the-environment")

    def test_a_missing_key_file_is_an_error_although_there_is_another_key(self) -> None:
        self.environ[KEY_VARIABLE] = KEY
        self.assertEqual(
            self.problem(self.path), f"{self.path}: cannot be read: No such file or directory"
        )

    def test_without_the_systemd_credential_the_environment_counts(self) -> None:
        self.environ |= {"CREDENTIALS_DIRECTORY": str(self.directory), KEY_VARIABLE: KEY}
        self.assertEqual(self.key(), KEY)

    def test_without_any_key_the_error_names_all_places(self) -> None:
        sentence = self.problem()
        for place in ("gateway.key_file", CREDENTIAL, KEY_VARIABLE):
            self.assertIn(place, sentence)


class EnvironmentTests(CredentialsTestCase):
    """The environment variable is read once, and no child process inherits it."""

    def test_the_variable_is_removed_and_its_key_kept(self) -> None:
        self.environ |= {KEY_VARIABLE: f" {KEY}\n", "HOME": "/home/jane"}
        self.assertEqual(self.key(), KEY)
        self.assertEqual(self.environ, {"HOME": "/home/jane"})
        self.assertEqual(self.key(), KEY)

    def test_the_variable_is_removed_when_another_key_counts_too(self) -> None:
        self.environ[KEY_VARIABLE] = "unused"
        self.assertEqual(self.key(self.write(self.path)), KEY)
        self.assertNotIn(KEY_VARIABLE, self.environ)

    def test_child_processes_do_not_inherit_the_variable(self) -> None:
        code = f"""
import os, subprocess, sys
from riskd.gateway.projectx.credentials import find_credentials
login = find_credentials("jane", None, os.environ)
assert login.api_key.reveal() == {KEY!r}
child = "import os; print({KEY_VARIABLE!r} in os.environ, 'PATH' in os.environ)"
subprocess.run([sys.executable, "-c", child], check=True)
"""
        result = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, KEY_VARIABLE: KEY},
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(result.stdout, "False True\n")

    def test_a_variable_that_is_no_key_is_an_error(self) -> None:
        for text, words in (
            ("", "is empty"),
            (" \n", "is empty"),
            (f"{KEY}\n{KEY}", "one line"),
            (f"{KEY} {KEY}", "one line"),
            (f"{KEY}\udcff", "one line"),
        ):
            self.environ[KEY_VARIABLE] = text
            sentence = self.problem()
            self.assertIn(f"the environment variable {KEY_VARIABLE}: ", sentence)
            self.assertIn(words, sentence)


class FileTests(CredentialsTestCase):
    """Only the user who runs riskd may read the key file."""

    def test_blanks_around_the_key_are_ignored(self) -> None:
        for content in (KEY, f"{KEY}\n", f"{KEY}\r\n", f"  {KEY}  \n\n"):
            self.assertEqual(self.key(self.write(self.path, content)), KEY)

    def test_a_corrected_file_counts_at_the_next_login(self) -> None:
        self.write(self.path, "", mode=0o644)
        self.problem(self.path)
        self.write(self.path, KEY)
        self.assertEqual(self.key(self.path), KEY)
        self.write(self.path, "another")
        self.assertEqual(self.key(self.path), "another")

    def test_no_file_stays_open(self) -> None:
        self.write(self.path)
        before = len(list(Path("/dev/fd").iterdir()))
        self.key(self.path)
        self.path.chmod(0o644)
        self.problem(self.path)
        self.assertEqual(len(list(Path("/dev/fd").iterdir())), before)

    def test_a_file_with_rights_for_others_is_refused(self) -> None:
        for mode in (0o644, 0o640, 0o604, 0o660, 0o620, 0o610, 0o601, 0o440, 0o777):
            self.write(self.path, mode=mode)
            self.assertEqual(
                self.problem(self.path),
                f"{self.path}: has mode {mode:04o}, so others than its owner may use it; "
                f"expected 0600: chmod 600 '{self.path}'",
            )
        for mode in (0o600, 0o400, 0o700):
            self.assertEqual(self.key(self.write(self.path, mode=mode)), KEY)

    def test_a_file_of_another_user_is_refused(self) -> None:
        self.write(self.path)
        owner = self.be_another_user()
        sentence = self.problem(self.path)
        self.assertIn(f"{self.path}: belongs to {owner}", sentence)
        self.assertIn(f"'{self.path}'", sentence)
        self.assertIn("chown ", sentence)
        self.assertNotIn("root or root", sentence)

    def test_a_file_that_is_no_key_is_an_error(self) -> None:
        for content, words in (
            (b"", "is empty"),
            (b" \n\n", "is empty"),
            (f"{KEY}\n{KEY}\n".encode(), "one line"),
            (f"user = jane\nkey = {KEY}".encode(), "one line"),
            (b"\xef\xbb\xbf" + KEY.encode(), "one line"),
            (KEY.encode("utf-16"), "one line"),
            (KEY.encode() + b"\0", "one line"),
            (b"x" * MAX_BYTES, f"has {MAX_BYTES} bytes"),
        ):
            self.assertIn(words, self.problem(self.write(self.path, content)))
        # The process remembers it, and removes it from texts that other tests may look for.
        longest = b"longest-" * (MAX_BYTES // 8)
        self.assertEqual(len(self.key(self.write(self.path, longest[1:]))), 4095)

    def test_a_link_is_not_followed(self) -> None:
        self.path.symlink_to(self.write(self.directory / "other"))
        self.assertIn(f"{self.path}: is a symbolic link", self.problem(self.path))

    def test_a_path_that_is_no_regular_file_is_refused(self) -> None:
        self.assertIn("is not a regular file", self.problem(self.directory))
        os.mkfifo(self.path, 0o600)
        self.assertIn("is not a regular file", self.problem(self.path))
        self.path.unlink()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.path))
            self.assertIn("cannot be read", self.problem(self.path))

    def test_a_file_swapped_after_the_opening_is_not_checked(self) -> None:
        """Another user replaces the file just after it was opened."""
        self.write(self.path, "of-somebody-else", mode=0o644)
        real_open = os.open

        def swap(path: Path, *arguments: int) -> int:
            descriptor = real_open(path, *arguments)
            self.write(self.directory / "good").replace(path)
            return descriptor

        self.patch(os, "open", swap)
        self.assertIn("has mode 0644", self.problem(self.path))


class SystemdTests(CredentialsTestCase):
    """Credentials of systemd."""

    def test_modes_of_a_systemd_credential(self) -> None:
        for mode in (0o400, 0o600):
            self.credential(mode=mode)
            self.assertEqual(self.key(), KEY)
        for mode in (0o444, 0o604, 0o460, 0o450):
            path = self.credential(mode=mode)
            self.assertIn(f"{path}: has mode {mode:04o}", self.problem())

    def test_a_credential_of_root_may_show_a_right_of_the_group(self) -> None:
        path = self.credential(mode=0o440)
        real = os.stat_result((0o100440, 1, 1, 1, 0, 0, len(KEY), 0, 0, 0))
        self.patch(os, "fstat", lambda _descriptor: real)
        self.assertEqual(self.key(), KEY)
        # In a key file the same mode means that the group may read it.
        self.assertIn("has mode 0440", self.problem(path))

    def test_a_credential_of_the_user_must_not_show_a_right_of_the_group(self) -> None:
        self.credential(mode=0o440)
        mine = os.stat_result((0o100440, 1, 1, 1, 54321, 0, len(KEY), 0, 0, 0))
        self.patch(os, "geteuid", lambda: 54321)
        self.patch(os, "fstat", lambda _descriptor: mine)
        self.assertIn("has mode 0440", self.problem())

    def test_a_link_is_not_followed(self) -> None:
        self.environ["CREDENTIALS_DIRECTORY"] = str(self.directory)
        (self.directory / CREDENTIAL).symlink_to(self.directory / "nowhere")
        self.environ[KEY_VARIABLE] = KEY
        self.assertIn("is a symbolic link", self.problem())
