"""The ledger: what is written of trading, and what is made of it afterwards, whatever happened."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import Payload
from riskd.practice import ledger as ledger_module
from riskd.practice.exchange import Memory, Message
from riskd.practice.gateway import LEDGER_NAME
from riskd.practice.ledger import (
    Ledger,
    Note,
    last_prices,
    read_lines,
    recall,
    retell,
    write_lines,
)
from tests.practice.test_exchange import (
    ACCOUNT,
    ACCOUNT_EVENT,
    BUY,
    EURO,
    LIMIT,
    MNQ,
    ORDER,
    POSITION,
    SELL,
    TRADE,
    Course,
    Desk,
    TroubledCourse,
    courses,
    prices,
    troubled_courses,
)
from tests.practice.test_gateway import temporary_directory


def of_users(told: list[Message]) -> list[Message]:
    return [message for message in told if message.contract_id is None]


def lines_of(messages: list[Message]) -> bytes:
    text, notes = write_lines(messages)
    assert notes == []
    return text


class ReadingDesk(Desk):
    """A desk that keeps the lines of what happened, as its ledger would hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.text = b""
        self.memories = [(0, Memory())]

    def _listen(self) -> None:
        news = self.exchange.take_messages()
        self.told += news
        if of_users(news):
            self.text += lines_of(of_users(news))
            self.memories.append((len(self.text), self.exchange.memory(self.now)))


def trading_desk() -> ReadingDesk:
    """Return a desk that held, worked, rejected and ended something."""
    desk = ReadingDesk()
    desk.move("21000.00")
    desk.move("1.10000", contract=EURO)
    desk.order(BUY, 2)
    desk.order(SELL, 1, contract=EURO)
    desk.move("21000.25")
    desk.order(BUY, 1, customTag="größer")
    cancelled = desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
    desk.order(BUY, 1, LIMIT, **prices(limit="20980.00"))
    desk.cancel(cancelled)
    desk.close(EURO)
    desk.order(SELL, 5)
    return desk


class LineTests(SynchronousTestCase):
    """Lines and back."""

    def test_a_line_says_what_was_told_and_how_many_more_belong_with_it(self) -> None:
        desk = Desk()
        desk.move("21000.00")
        desk.forget()
        desk.order(BUY, 3)
        text = lines_of(desk.told)
        *_others, position, account, end = text.split(b"\n")
        self.assertEqual(
            position,
            b'{"target":"GatewayUserPosition","payload":{"id":2,"accountId":123,'
            b'"contractId":"CON.F.US.MNQ.H26","creationTimestamp":"2026-03-02T15:00:00+00:00",'
            b'"type":1,"size":3,"averagePrice":21000.25},"left":1}'.replace(
                b'"id":2', b'"id":%d' % desk.last(POSITION)["id"]
            ),
        )
        self.assertTrue(account.endswith(b',"left":0}'), account)
        self.assertEqual(end, b"")

    def test_what_was_told_is_read_as_it_was(self) -> None:
        desk = trading_desk()
        told = of_users(desk.told)
        self.assertEqual({m.target for m in told}, {ORDER, TRADE, POSITION, ACCOUNT_EVENT})
        self.assertEqual(read_lines(desk.text, "ledger"), (told, []))

    @given(st.decimals("0.0000001", "999999999"), st.decimals("-999999999", "999999999", places=2))
    @settings(max_examples=50)
    def test_numbers_are_exact(self, average: Decimal, balance: Decimal) -> None:
        """Digit for digit, and never less than a Decimal."""
        desk = trading_desk()
        position = Message(POSITION, None, {**desk.last(POSITION), "averagePrice": average})
        account = Message(ACCOUNT_EVENT, None, {**desk.last(ACCOUNT_EVENT), "balance": balance})
        read, notes = read_lines(lines_of([position, account]), "ledger")
        self.assertEqual(notes, [])
        for value, given_value in (
            (read[0].payload["averagePrice"], average),
            (read[1].payload["balance"], balance),
        ):
            self.assertIs(type(value), Decimal)
            self.assertEqual(value.as_tuple(), given_value.as_tuple())

    def test_a_message_that_cannot_be_written_is_left_out(self) -> None:
        desk = trading_desk()
        odd = Message(ORDER, None, {**desk.last(ORDER), "customTag": "\ud800"})
        text, (note,) = write_lines([odd, *desk.told[-1:]])
        self.assertTrue(note.is_error)
        self.assertEqual(read_lines(text, "ledger"), (desk.told[-1:], []))


class DamageTests(SynchronousTestCase):
    """Files that are not as they were meant to be."""

    def test_of_a_file_cut_anywhere_counts_what_was_written_whole(self) -> None:
        """Whoever is killed while writing had not told anybody."""
        desk = trading_desk()
        known = dict(desk.memories)
        memory = Memory()
        for cut in range(len(desk.text) + 1):
            memory = known.get(cut, memory)
            messages, notes = read_lines(desk.text[:cut], "ledger")
            found = recall(messages)
            self.assertEqual(
                (found.positions, found.orders, found.ended, found.trades, found.highest_id),
                (
                    memory.positions,
                    memory.orders,
                    memory.ended,
                    memory.trades,
                    memory.highest_id,
                ),
                cut,
            )
            self.assertEqual([note.is_error for note in notes], [] if cut in known else [False])

    def test_a_torn_end_is_named(self) -> None:
        desk = trading_desk()
        _messages, (note,) = read_lines(desk.text[:-3], "some/ledger")
        # The last order was filled: two lines of it, a trade and a position twice, the account.
        first_of_last = desk.text.count(b"\n") - 6
        self.assertEqual(
            note,
            Note(
                False,
                f"some/ledger is torn at its end: line {first_of_last} and what follows is dropped",
            ),
        )

    def test_a_line_that_cannot_be_read_is_skipped_and_named(self) -> None:
        desk = trading_desk()
        told = of_users(desk.told)
        position = [m.target for m in told].index(POSITION)
        whole = desk.text.split(b"\n")
        for damaged, reason in (
            (b"", "truncated"),
            (b"rubbish", "malformed"),
            (b"\xff\xfe", "malformed"),
            (b"[" * 5000, "Expected `object`"),
            (b'{"target":"GatewayUserPosition"}', "payload"),
            (b'{"target":"Other","payload":{}}', "'Other' is unknown"),
            (whole[position].replace(b'"size":2', b'"size":"2"'), "$.size"),
            (whole[position].replace(b'"size":2', b'"size":-2'), "$.size"),
            (whole[position].replace(b'"type":1', b'"type":0'), "neither long nor short"),
            (whole[position].replace(b"21000.25", b"1e999999"), "averagePrice"),
            (whole[position].replace(b"21000.25", b'"NaN"'), "averagePrice"),
            (whole[position].replace(b"21000.25", b"null"), "averagePrice"),
            (whole[position].replace(b"+00:00", b""), "without a time zone"),
            (whole[position].replace(b"2026-", b"when-"), "when-"),
            (whole[position].replace(b'"accountId":123,', b""), "accountId"),
        ):
            lines = [*whole]
            lines[position] = damaged
            messages, (note,) = read_lines(b"\n".join(lines), "some/ledger")
            self.assertEqual(messages, told[:position] + told[position + 1 :])
            self.assertTrue(note.is_error)
            self.assertIn(f"some/ledger, line {position + 1} is skipped: ", note.text)
            self.assertIn(reason, note.text)

    def test_a_working_order_that_makes_no_sense_is_skipped(self) -> None:
        desk = Desk()
        desk.move("21000.00")
        desk.exchange.available = lambda size: min(size, 2)
        desk.order(BUY, 5, customTag="in parts")
        order = desk.last(ORDER)
        self.assertEqual((order["status"], order["fillVolume"]), (1, 2))
        without_price = {key: value for key, value in order.items() if key != "filledPrice"}
        for odd, reason in (
            ({**order, "size": 2}, "for nothing"),
            ({**order, "size": 1}, "for nothing"),
            ({**order, "fillVolume": -1}, "fillVolume"),
            (without_price, "at no price"),
        ):
            messages, (note,) = read_lines(lines_of([Message(ORDER, None, odd)]), "ledger")
            self.assertEqual(messages, [])
            self.assertTrue(note.is_error)
            self.assertIn(reason, note.text)

    def test_a_line_at_the_end_that_cannot_be_read_takes_no_other_with_it(self) -> None:
        desk = trading_desk()
        *lines, _account, _end = desk.text.split(b"\n")
        messages, (note,) = read_lines(b"\n".join([*lines, b"rubbish", b""]), "ledger")
        self.assertEqual(messages, of_users(desk.told)[:-1])
        self.assertTrue(note.is_error)

    def test_of_many_damaged_lines_the_number_is_told(self) -> None:
        _messages, notes = read_lines(b"rubbish\n" * 500, "ledger")
        self.assertEqual(len(notes), 21)
        self.assertIn("480 more", notes[-1].text)

    @given(st.binary(max_size=300), st.integers(0, 5000), st.integers(0, 5000))
    @settings(max_examples=80)
    def test_no_damage_raises(self, rubbish: bytes, start: int, length: int) -> None:
        """Neither reading nor going on from what is left."""
        text = trading_desk().text
        messages, _notes = read_lines(text[:start] + rubbish + text[start + length :], "ledger")
        desk = Desk()
        desk.restart(recall(messages))
        desk.move("20970.00")
        desk.move("21030.00")


class RecallTests(SynchronousTestCase):
    """What lines come to."""

    def test_nothing_comes_to_nothing(self) -> None:
        self.assertEqual(recall([]), Memory())

    def test_the_last_prices_are_those_of_trades_or_else_of_positions(self) -> None:
        desk = Desk()
        for bid in ("1.10000", "1.10010"):
            desk.move(bid, contract=EURO)
            desk.order(SELL, 1, contract=EURO)
        memory = desk.exchange.memory(desk.now)
        self.assertEqual(last_prices(memory), {EURO.id: Decimal("1.10010")})
        memory = desk.exchange.memory(desk.now + timedelta(days=3))
        self.assertEqual(last_prices(memory), {EURO.id: Decimal("1.10005")})

    @given(courses | troubled_courses)
    @settings(max_examples=80)
    def test_what_was_told_comes_to_what_the_exchange_knows(self, steps: list[Any]) -> None:
        course = TroubledCourse()
        course.play(steps)
        known = course.desk.exchange.memory(course.desk.now)
        found = recall(of_users(course.desk.told))
        for name in ("ended", "trades", "highest_id"):
            self.assertEqual(getattr(found, name), getattr(known, name), name)
        for name in ("positions", "orders"):
            self.assertEqual(by_id(getattr(found, name)), by_id(getattr(known, name)), name)
        told = {account["id"]: account for account in found.accounts}
        for account in known.accounts:
            untouched = {**account, "balance": Decimal(50000), "canTrade": True}
            self.assertEqual(told.get(account["id"], untouched), account)

    @given(courses | troubled_courses)
    @settings(max_examples=50, deadline=None)
    def test_what_is_retold_comes_to_the_same(self, steps: list[Any]) -> None:
        course = TroubledCourse()
        course.play(steps)
        known = recall(of_users(course.desk.told))
        text = b"".join(lines_of([message]) for message in retell(known))
        messages, notes = read_lines(text, "ledger")
        self.assertEqual((recall(messages), notes), (known, []))

    @given(courses | troubled_courses, st.sets(st.integers(0, 40), max_size=4), st.booleans())
    @settings(max_examples=100)
    def test_trading_is_the_same_to_the_cent_with_restarts_and_without(
        self, steps: list[Any], restarts: set[int], anew: bool
    ) -> None:
        """Every order, trade, position and balance, whether the ledger was written anew or not."""
        steady, restarted = TroubledCourse(), TroubledCourse()
        for number, step in enumerate(steps):
            if number in restarts:
                text = b"".join(lines_of([told]) for told in of_users(restarted.desk.told))
                memory = recall(read_lines(text, "ledger")[0])
                if anew:
                    text = b"".join(lines_of([message]) for message in retell(memory))
                    memory = recall(read_lines(text, "ledger")[0])
                self.assertEqual(restarted.desk.restart(memory), [])
                # The quotes of a start may fill another part of an order.
                steady.desk.quote(steady.desk.quotes())
            for course in (steady, restarted):
                course.play([step])
        for course in (steady, restarted):
            course.close_all()
        self.assertEqual(of_users(restarted.desk.told), of_users(steady.desk.told))
        made = [
            [str(trade.get("profitAndLoss")) for trade in course.desk.payloads(TRADE)]
            for course in (steady, restarted)
        ]
        self.assertEqual(made[1], made[0])

    @given(
        st.lists(
            st.tuples(st.integers(-2, 2), st.sampled_from([BUY, SELL]), st.integers(1, 7)),
            min_size=3,
            max_size=12,
        )
    )
    @settings(max_examples=100)
    def test_profit_and_loss_is_the_same_to_the_cent_with_a_restart_after_every_trade(
        self, fills: list[tuple[int, Any, int]]
    ) -> None:
        """In euros, where averages have endless places and P&L often ends in half a cent."""
        steady, restarted = Course(), Course()
        for ticks, side, size in fills:
            for course in (steady, restarted):
                course.move(EURO, ticks, False)
                course.desk.order(side, size, contract=EURO)
            text = b"".join(lines_of([told]) for told in of_users(restarted.desk.told))
            restarted.desk.restart(recall(read_lines(text, "ledger")[0]))
        made = [
            [str(trade.get("profitAndLoss")) for trade in course.desk.payloads(TRADE)]
            for course in (steady, restarted)
        ]
        self.assertEqual(made[1], made[0])


def by_id(payloads: tuple[Payload, ...]) -> list[Payload]:
    return sorted(payloads, key=lambda payload: int(payload["id"]))


class FileTests(SynchronousTestCase):
    """The file, and what may happen to it."""

    def setUp(self) -> None:
        self.path = temporary_directory(self) / "state" / LEDGER_NAME
        self.ledger = Ledger(self.path)
        self.addCleanup(self.ledger.close)
        self.desk = Desk()
        self.desk.move("21000.00")
        self.desk.forget()

    def memory(self) -> Memory:
        return self.desk.exchange.memory(self.desk.now)

    def trade(self, size: int = 1) -> list[Note]:
        """Let something happen and be written; return what the ledger says to that."""
        self.desk.forget()
        self.desk.order(BUY, size)
        return self.ledger.append(self.desk.told, self.memory)

    def read(self) -> Memory:
        """Return what a next daemon would read, without any complaint."""
        memory, notes = Ledger(self.path).read()
        self.assertEqual(notes, [])
        return memory

    def fail_to_write(self, reason: int = errno.ENOSPC, after: int = 0) -> None:
        """Let the disk take ``after`` more bytes of any file but those of the test itself."""
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

    def test_where_there_is_no_file_nothing_is_known(self) -> None:
        self.assertEqual(self.ledger.read(), (Memory(), []))

    def test_what_was_appended_is_there_at_once(self) -> None:
        self.ledger.rewrite(self.memory())
        for _ in range(3):
            self.assertEqual(self.trade(), [])
            self.assertEqual(self.read(), self.memory())

    def test_only_its_owner_may_read_it(self) -> None:
        previous = os.umask(0)
        self.addCleanup(os.umask, previous)
        self.path.parent.mkdir(parents=True)
        for left_there in (self.path, self.path.with_suffix(".tmp")):
            left_there.write_text("")
            left_there.chmod(0o666)
        self.ledger.rewrite(self.memory())
        self.trade()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(list(self.path.parent.iterdir()), [self.path])

    def test_without_a_rewrite_the_first_message_writes_all_that_is_known(self) -> None:
        self.desk.order(SELL, 3)
        self.trade()
        self.assertEqual(self.read(), self.memory())

    def test_after_closing_it_is_opened_again(self) -> None:
        self.trade()
        for _ in range(2):
            self.ledger.close()
        self.trade()
        self.assertEqual(self.read(), self.memory())

    def test_it_is_written_anew_when_it_has_grown(self) -> None:
        self.patch(ledger_module, "_MAX_BYTES", 10_000)
        self.desk.exchange.place_order(
            ACCOUNT, {"contractId": MNQ.id, "type": 2, "side": 0, "size": 1}, self.desk.now
        )
        sizes = []
        for _ in range(40):
            # Two days later, nothing that went before matters.
            self.desk.now += timedelta(days=3)
            self.assertEqual(self.trade(), [])
            sizes.append(self.path.stat().st_size)
            self.assertEqual(self.read().positions, self.memory().positions)
            self.assertEqual(self.read().highest_id, self.memory().highest_id)
        self.assertTrue(max(sizes) < 15_000, sizes)
        self.assertTrue(sizes[-1] > 1000, sizes)

    def test_the_highest_id_stays_known_when_its_line_matters_no_more(self) -> None:
        self.trade()
        highest = self.memory().highest_id
        self.desk.close()
        self.desk.now += timedelta(days=3)
        self.ledger.rewrite(self.memory())
        self.assertEqual(self.read(), self.memory())
        self.assertTrue(self.read().highest_id > highest)

    def test_a_full_disk_is_said_once_and_nothing_is_lost_when_it_has_room_again(self) -> None:
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
            self.assertEqual(self.read(), self.memory())

    def test_a_ledger_that_cannot_be_written_from_the_start_is_tried_again(self) -> None:
        self.fail_to_write()
        (note,) = self.ledger.rewrite(self.memory())
        self.assertTrue(note.is_error)
        self.assertEqual(self.trade(), [])
        self.assertEqual(list(self.path.parent.iterdir()), [])
        self.mend()
        self.assertEqual(len(self.trade()), 1)
        self.assertEqual(self.read(), self.memory())

    def test_a_file_that_half_a_line_is_stuck_in_is_written_anew(self) -> None:
        self.trade()
        self.fail_to_write(errno.EIO, after=100)
        truncating = self.patch(ledger_module.os, "ftruncate", self.refuse)
        self.trade()
        self.mend()
        truncating.restore()
        self.trade()
        self.assertEqual(self.read(), self.memory())

    def refuse(self, *_arguments: object) -> None:
        raise OSError(errno.EIO, "no")

    def test_what_waits_for_a_full_disk_does_not_grow_without_end(self) -> None:
        self.patch(ledger_module, "_MAX_UNWRITTEN", 5000)
        self.trade()
        self.fail_to_write()
        for _ in range(50):
            self.trade()
        self.assertTrue(len(self.ledger._unwritten) < 10_000)
        self.mend()
        self.trade()
        self.assertEqual(self.read(), self.memory())

    def test_growth_that_cannot_be_mended_does_not_stop_the_ledger(self) -> None:
        self.patch(ledger_module, "_MAX_BYTES", 2000)
        self.trade()
        self.path.with_suffix(".tmp").mkdir()
        notes = [note for _ in range(10) for note in self.trade()]
        self.assertTrue(notes[0].is_error)
        self.assertEqual(self.read(), self.memory())

    def test_a_file_that_cannot_be_read_is_set_aside(self) -> None:
        self.trade()
        self.ledger.close()
        text = self.path.read_bytes()
        ledger = Ledger(self.path)
        self.addCleanup(ledger.close)
        reading = self.patch(Path, "read_bytes", self.refuse)
        memory, (note,) = ledger.read()
        reading.restore()
        self.assertEqual(memory, Memory())
        self.assertTrue(note.is_error)
        self.assertIn(f"{self.path} cannot be read: no", note.text)
        ledger.rewrite(Memory())
        self.assertEqual(self.path.with_suffix(".unreadable").read_bytes(), text)

    def test_a_directory_in_its_place_is_said_and_left_alone(self) -> None:
        self.path.mkdir(parents=True)
        _memory, (note,) = self.ledger.read()
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

class Listener:
    left = int(sys.argv[2])
    def user_event(self, target, payload):
        if target != "GatewayUserAccount":
            print(target, payload["id"], payload.get("status", payload["size"]), flush=True)
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
    def market_event(self, *_):
        pass

gateway = PracticeGateway(
    clock,
    lambda: datetime(2026, 3, 2, 15, tzinfo=UTC) + timedelta(seconds=clock.seconds()),
    {123: ("MNQ",), 456: ("ES", "MCL")},
    ledger=Path(sys.argv[1]),
)
gateway.start(Listener())
while True:
    clock.advance(0.25)
"""


class KillTests(SynchronousTestCase):
    """A process that trades and is killed."""

    def test_all_that_was_told_is_known_after_a_kill(self) -> None:
        path = temporary_directory(self) / LEDGER_NAME
        told: list[str] = []
        # Each goes on from the one before.
        for events in (7, 60, 23):
            killed = subprocess.run(
                [sys.executable, "-c", KILLED, str(path.parent), str(events)],
                stdout=subprocess.PIPE,
                text=True,
                check=False,
                timeout=60,
            )
            self.assertEqual(killed.returncode, -9)
            told += killed.stdout.splitlines()
            memory, notes = Ledger(path).read()
            self.assertEqual(notes, [])
            self.assert_known(told, memory)

    def assert_known(self, told: list[str], memory: Memory) -> None:
        trades = {str(trade["id"]) for trade in memory.trades}
        statuses = {
            str(order["id"]): str(order["status"]) for order in (*memory.orders, *memory.ended)
        }
        for line in told:
            target, identifier, status = line.split()
            if target == TRADE:
                self.assertIn(identifier, trades)
            elif target == ORDER:
                self.assertIn(identifier, statuses)
                if status != "1":
                    self.assertEqual(statuses[identifier], status)
            self.assertTrue(int(identifier) <= memory.highest_id)
