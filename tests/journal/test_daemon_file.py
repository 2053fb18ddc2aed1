"""``daemon.json``: written whole, readable for all, and true only while its process lives."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec

from riskd.journal import daemon_file
from riskd.journal.daemon_file import (
    DAEMON_NAME,
    is_running,
    process_mark,
    read_daemon,
    remove_daemon,
    write_daemon,
)
from tests.support.state_directories import StateHomeTestCase, write_record


class FileTests(StateHomeTestCase):
    """Writing, reading and removing the file."""

    def test_what_is_written_is_read(self) -> None:
        record = write_record(self.home, 123, 456, port=9000)
        self.assertEqual(read_daemon(self.home), record)
        self.assertEqual(record.url, "ws://localhost:9000")

    def test_every_user_may_read_it_and_only_the_owner_write(self) -> None:
        for umask in (0, 0o077):
            before = os.umask(umask)
            self.addCleanup(os.umask, before)
            write_record(self.home)
            mode = stat.S_IMODE((self.home / DAEMON_NAME).stat().st_mode)
            self.assertEqual(mode, 0o644)

    def test_a_reader_finds_all_of_it_or_the_one_before(self) -> None:
        first = write_record(self.home, port=1)
        seen = []
        replace = Path.replace

        def looked_at(path: Path, target: Path) -> Path:
            seen.append(read_daemon(self.home))
            return replace(path, target)

        self.patch(Path, "replace", looked_at)
        write_record(self.home, port=2)
        self.assertEqual(seen, [first])
        self.assertEqual([path.name for path in self.home.iterdir()], [DAEMON_NAME])

    def test_a_link_in_the_way_is_replaced_and_not_followed(self) -> None:
        target = self.home / "precious"
        target.write_text("precious")
        for name in (DAEMON_NAME, f".{DAEMON_NAME}.new"):
            (self.home / name).symlink_to(target)
        write_record(self.home)
        self.assertEqual(target.read_text(), "precious")
        self.assertFalse((self.home / DAEMON_NAME).is_symlink())

    def test_what_makes_no_sense_is_none(self) -> None:
        path = self.home / DAEMON_NAME
        self.assertIsNone(read_daemon(self.home))
        good = msgspec.json.encode(write_record(self.home))
        for content in (b"", b"{", b"\xff", b"[]", good.replace(b"8765", b"0"), b"{}"):
            path.write_bytes(content)
            self.assertIsNone(read_daemon(self.home), content)
        path.unlink()
        os.mkfifo(path)
        self.assertIsNone(read_daemon(self.home))
        path.unlink()
        path.mkdir()
        self.assertIsNone(read_daemon(self.home))

    def test_unknown_keys_of_a_later_riskd_are_ignored(self) -> None:
        record = write_record(self.home)
        path = self.home / DAEMON_NAME
        path.write_bytes(path.read_bytes().replace(b"{", b'{"colour":"blue",', 1))
        self.assertEqual(read_daemon(self.home), record)

    def test_it_can_be_removed_twice(self) -> None:
        write_record(self.home)
        remove_daemon(self.home)
        remove_daemon(self.home)
        self.assertEqual(list(self.home.iterdir()), [])

    def test_a_failed_write_leaves_the_one_before(self) -> None:
        record = write_record(self.home)

        def full(*_arguments: object) -> None:
            raise OSError(28, os.strerror(28))

        self.patch(Path, "replace", full)
        self.assertRaises(OSError, write_daemon, self.home, record)
        self.assertEqual([path.name for path in self.home.iterdir()], [DAEMON_NAME])


class ProcessTests(StateHomeTestCase):
    """Whether the process that wrote it lives."""

    def test_this_process_lives(self) -> None:
        self.assertTrue(is_running(write_record(self.home)))

    def test_a_process_that_has_ended_does_not(self) -> None:
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            mark = process_mark(process.pid)
        record = write_record(self.home)
        for written in (mark, ""):
            ended = msgspec.structs.replace(record, pid=process.pid, process=written)
            self.assertFalse(is_running(ended))

    def test_another_process_with_its_id_is_not_it(self) -> None:
        self.assertFalse(is_running(write_record(self.home, is_dead=True)))

    def test_a_mark_belongs_to_one_process(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            self.assertNotEqual(process_mark(os.getpid()), process_mark(other.pid))
            assert other.stdin is not None
            other.stdin.write(b"\n")
        self.assertEqual(process_mark(os.getpid()), process_mark(os.getpid()))
        self.assertEqual(process_mark(2**30), "")

    def test_where_processes_cannot_be_examined_the_id_decides(self) -> None:
        record = write_record(self.home, is_dead=True)
        self.patch(daemon_file, "process_mark", lambda _pid: "")
        self.assertTrue(is_running(record))

    def test_a_process_of_another_user_lives(self) -> None:
        def refuse(*_arguments: object) -> None:
            raise PermissionError

        self.patch(os, "kill", refuse)
        self.assertTrue(is_running(write_record(self.home)))

    def test_an_id_that_cannot_be_one_does_not(self) -> None:
        record = write_record(self.home)
        self.assertFalse(is_running(msgspec.structs.replace(record, pid=2**62)))
