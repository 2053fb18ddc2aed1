"""The ledger's file, its failures and kills of the process."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.practice import ledger as ledger_module
from riskd.practice.account_store import ExchangeState
from riskd.practice.broker import LEDGER_NAME
from riskd.practice.ledger import Ledger
from riskd.practice.ledger_format import Note
from tests import in_one_runner
from tests.support.directories import temporary_directory
from tests.support.practice_exchange import (
    ACCOUNT,
    BUY,
    MNQ,
    ORDER,
    SELL,
    TRADE,
    ExchangeDriver,
)


class FileTests(SynchronousTestCase):
    """Reading, appending to and replacing the file."""

    def setUp(self) -> None:
        self.path = temporary_directory(self) / "state" / LEDGER_NAME
        self.notes: list[Note] = []
        self.ledger = Ledger(self.path, self.notes.append)
        self.addCleanup(self.ledger.close)
        self.driver = ExchangeDriver()
        self.driver.move("21000.00")
        self.driver.clear()

    def state(self) -> ExchangeState:
        return self.driver.exchange.store.state(self.driver.now)

    def trade(self, size: int = 1) -> list[Note]:
        """Trade and write it; return what the ledger reports."""
        self.driver.clear()
        self.driver.order(BUY, size)
        self.notes.clear()
        self.ledger.append(self.driver.messages, self.state)
        return [*self.notes]

    def read(self) -> ExchangeState:
        """Return the state that the next process reads, without a note."""
        notes: list[Note] = []
        state = Ledger(self.path, notes.append).read()
        self.assertEqual(notes, [])
        return state

    def fail_to_write(self, reason: int = errno.ENOSPC, after: int = 0) -> None:
        """Make the disk full after ``after`` more bytes."""
        room = after

        def write(descriptor: int, text: memoryview) -> int:
            nonlocal room
            if not room:
                raise OSError(reason, os.strerror(reason))
            written = self.write(descriptor, text[:room])
            room -= written
            return written

        self.write = os.write
        self.disk = self.patch(ledger_module.os, "write", write)

    def mend(self) -> None:
        self.disk.restore()

    def test_without_a_file_the_state_is_empty(self) -> None:
        self.assertEqual((self.ledger.read(), self.notes), (ExchangeState(), []))

    def test_appended_messages_can_be_read_at_once(self) -> None:
        self.ledger.rewrite(self.state())
        for _ in range(3):
            self.assertEqual(self.trade(), [])
            self.assertEqual(self.read(), self.state())

    def test_only_the_owner_may_read_the_file(self) -> None:
        previous = os.umask(0)
        self.addCleanup(os.umask, previous)
        self.path.parent.mkdir(parents=True)
        for left_there in (self.path, self.path.with_suffix(".tmp")):
            left_there.write_text("")
            left_there.chmod(0o666)
        self.ledger.rewrite(self.state())
        self.trade()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(list(self.path.parent.iterdir()), [self.path])

    def test_the_first_append_writes_the_whole_state(self) -> None:
        self.driver.order(SELL, 3)
        self.trade()
        self.assertEqual(self.read(), self.state())

    def test_a_closed_ledger_is_opened_again(self) -> None:
        self.trade()
        for _ in range(2):
            self.ledger.close()
        self.trade()
        self.assertEqual(self.read(), self.state())

    def test_a_grown_file_is_replaced(self) -> None:
        self.patch(ledger_module, "_MAX_BYTES", 10_000)
        self.driver.exchange.place_order(
            ACCOUNT, {"contractId": MNQ.id, "type": 2, "side": 0, "size": 1}, self.driver.now
        )
        sizes = []
        for _ in range(40):
            # After eight days, earlier lines no longer matter.
            self.driver.now += timedelta(days=3)
            self.assertEqual(self.trade(), [])
            sizes.append(self.path.stat().st_size)
            self.assertEqual(self.read().positions, self.state().positions)
            self.assertEqual(self.read().highest_id, self.state().highest_id)
        self.assertTrue(max(sizes) < 15_000, sizes)
        self.assertTrue(sizes[-1] > 1000, sizes)

    def test_the_highest_id_survives_the_loss_of_its_line(self) -> None:
        self.trade()
        highest = self.state().highest_id
        self.driver.close()
        self.driver.now += timedelta(days=3)
        self.ledger.rewrite(self.state())
        self.assertEqual(self.read(), self.state())
        self.assertTrue(self.read().highest_id > highest)

    def test_a_full_disk_is_reported_once_and_loses_nothing(self) -> None:
        for room in (0, 1, 300, 700):
            self.setUp()
            self.trade()
            before = self.read()
            self.fail_to_write(after=room)
            (note,) = self.trade()
            self.assertTrue(note.is_error)
            self.assertIn(f"{self.path} cannot be written: No space left on device", note.text)
            self.assertEqual(self.read(), before)
            self.assertEqual(self.trade(), [])
            self.assertEqual(self.read(), before)
            self.mend()
            (note,) = self.trade()
            self.assertEqual(note, Note(False, f"{self.path} is written again"))
            self.assertEqual(self.read(), self.state())

    def test_a_ledger_unwritable_from_the_start_is_tried_again(self) -> None:
        self.fail_to_write()
        self.ledger.rewrite(self.state())
        (note,) = self.notes
        self.assertTrue(note.is_error)
        self.assertEqual(self.trade(), [])
        self.assertEqual(list(self.path.parent.iterdir()), [])
        self.mend()
        self.assertEqual(len(self.trade()), 1)
        self.assertEqual(self.read(), self.state())

    def test_a_file_with_half_a_line_is_replaced(self) -> None:
        self.trade()
        self.fail_to_write(errno.EIO, after=100)
        truncating = self.patch(ledger_module.os, "ftruncate", self.refuse)
        self.trade()
        self.mend()
        truncating.restore()
        self.trade()
        self.assertEqual(self.read(), self.state())

    def refuse(self, *_arguments: object) -> None:
        raise OSError(errno.EIO, "no")

    def test_unwritten_bytes_are_bounded(self) -> None:
        self.patch(ledger_module, "_MAX_UNWRITTEN", 5000)
        self.trade()
        self.fail_to_write()
        for _ in range(50):
            self.trade()
        self.assertTrue(len(self.ledger._unwritten) < 10_000)
        self.mend()
        self.trade()
        self.assertEqual(self.read(), self.state())

    def test_a_failing_replacement_does_not_stop_the_ledger(self) -> None:
        self.patch(ledger_module, "_MAX_BYTES", 2000)
        self.trade()
        self.path.with_suffix(".tmp").mkdir()
        notes = [note for _ in range(10) for note in self.trade()]
        self.assertTrue(notes[0].is_error)
        self.assertEqual(self.read(), self.state())

    def test_an_unreadable_file_is_set_aside(self) -> None:
        self.trade()
        self.ledger.close()
        text = self.path.read_bytes()
        ledger = Ledger(self.path, self.notes.append)
        self.addCleanup(ledger.close)
        reading = self.patch(Path, "read_bytes", self.refuse)
        state = ledger.read()
        reading.restore()
        self.assertEqual(state, ExchangeState())
        (note,) = self.notes
        self.assertTrue(note.is_error)
        self.assertIn(f"{self.path} cannot be read: no", note.text)
        ledger.rewrite(ExchangeState())
        self.assertEqual(self.path.with_suffix(".unreadable").read_bytes(), text)

    def test_a_directory_in_place_of_the_file_is_reported_and_kept(self) -> None:
        self.path.mkdir(parents=True)
        self.ledger.read()
        (note,) = self.notes
        self.assertIn("Is a directory", note.text)
        self.assertEqual(self.trade(), [])
        self.assertEqual(list(self.path.parent.iterdir()), [self.path])


KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from twisted.internet.task import Clock
from riskd.practice.gateway import PracticeGateway

clock = Clock()

left = int(sys.argv[2])

def observe(message):
    global left
    target, contract_id, payload = message
    if contract_id is not None:
        return
    if target != "GatewayUserAccount":
        print(target, payload["id"], payload.get("status", payload["size"]), flush=True)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

gateway = PracticeGateway(
    clock,
    lambda: datetime(2026, 3, 2, 15, tzinfo=UTC) + timedelta(seconds=clock.seconds()),
    {123: ("MNQ",), 456: ("ES", "MCL")},
    ledger=Path(sys.argv[1]),
)
gateway.observe(observe)
gateway.start()
while True:
    clock.advance(0.25)
"""


@in_one_runner
class KillTests(SynchronousTestCase):
    """A process that is killed while it trades."""

    def test_every_reported_event_is_known_after_a_kill(self) -> None:
        path = temporary_directory(self) / LEDGER_NAME
        reported: list[str] = []
        # Each process goes on from the one before.
        for events in (7, 60, 23):
            killed = subprocess.run(
                [sys.executable, "-c", KILLED, str(path.parent), str(events)],
                stdout=subprocess.PIPE,
                text=True,
                check=False,
                timeout=60,
            )
            self.assertEqual(killed.returncode, -9)
            reported += killed.stdout.splitlines()
            notes: list[Note] = []
            state = Ledger(path, notes.append).read()
            self.assertEqual(notes, [])
            self.assert_known(reported, state)

    def assert_known(self, reported: list[str], state: ExchangeState) -> None:
        trades = {str(trade["id"]) for trade in state.trades}
        statuses = {
            str(order["id"]): str(order["status"]) for order in (*state.orders, *state.ended)
        }
        for line in reported:
            target, identifier, status = line.split()
            if target == TRADE:
                self.assertIn(identifier, trades)
            elif target == ORDER:
                self.assertIn(identifier, statuses)
                if status != "1":
                    self.assertEqual(statuses[identifier], status)
            self.assertTrue(int(identifier) <= state.highest_id)
