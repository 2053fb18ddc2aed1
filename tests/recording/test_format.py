"""The lines of a recording: each is read as it was written, and what is damaged is told."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.wire import encode
from riskd.recording import format as lines
from riskd.recording.format import (
    END,
    Answered,
    Asked,
    Came,
    CopyRead,
    Failed,
    FeedLost,
    FeedRestored,
    GatewayTrouble,
    Header,
    JournalTrouble,
    MarketEvent,
    Operated,
    Recording,
    RecordingError,
    Recovered,
    Refused,
    Reloaded,
    Room,
    Started,
    Stopped,
    TimerFired,
    Trouble,
    Turn,
    Unanswered,
    UserEvent,
    asked_in,
    decode_turn,
    encode_line,
    room_in,
    told_in,
    told_line,
)
from tests.model.test_account import histories, state_after
from tests.support import strategies

NOW = datetime(2026, 11, 23, 18, 0, 0, 123456, tzinfo=UTC)
HEADER = Header(
    recording=lines.FORMAT,
    riskd="0.1.0",
    gateway="practice",
    answer_seconds=2.0,
    at=NOW,
    seconds=17.25,
    configuration='[[accounts]]\nid = 123\n# "ä"\n',
)

texts = st.text(max_size=50)
numbers = st.integers(1, 2**53)
amounts = st.decimals(allow_nan=False, allow_infinity=False, places=2)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | amounts | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
payloads = st.dictionaries(texts, values, max_size=5)
moments = st.datetimes(timezones=st.just(UTC))
accounts = st.dictionaries(
    strategies.ids,
    st.builds(
        lambda history, risk: msgspec.structs.replace(state_after(*history), risk=risk),
        histories(),
        strategies.risks,
    ),
    max_size=2,
)
came: dict[type, st.SearchStrategy[Any]] = {
    Started: st.just(Started()),
    Stopped: st.just(Stopped()),
    TimerFired: st.just(TimerFired()),
    UserEvent: st.builds(UserEvent, texts, payloads),
    MarketEvent: st.builds(MarketEvent, texts, texts, payloads),
    FeedLost: st.builds(FeedLost, texts),
    FeedRestored: st.just(FeedRestored()),
    GatewayTrouble: st.builds(GatewayTrouble, texts, texts),
    Answered: st.builds(Answered, numbers, values),
    Refused: st.builds(Refused, numbers, texts, st.integers(0, 99), texts),
    Unanswered: st.builds(Unanswered, numbers, texts, texts),
    Failed: st.builds(Failed, numbers, texts, st.sampled_from(["gateway", "canceled", "riskd"])),
    CopyRead: st.builds(CopyRead, numbers, accounts),
    Recovered: st.builds(Recovered, accounts, texts),
    JournalTrouble: st.builds(JournalTrouble, texts),
    Trouble: st.builds(Trouble, texts, texts),
    Reloaded: st.builds(Reloaded, texts),
    Operated: st.builds(
        Operated,
        command=st.sampled_from(["unlock", "lock", "flatten"]),
        account=numbers,
        reason=texts,
        operator=texts,
        until=st.none() | moments,
    ),
}


def recording(*written: bytes, name: str = "day.jsonl") -> Recording:
    return Recording(io.BytesIO(b"".join(line + b"\n" for line in written)), name)


def header(**changes: Any) -> bytes:
    return encode_line(msgspec.structs.replace(HEADER, **changes))


TURN = Turn(NOW, 17.5, Started())
START = encode_line(TURN)
ASKED = encode_line(Asked(asked=1, request="gateway.stop", arguments={}))


class LineTests(SynchronousTestCase):
    def test_every_kind_of_turn_is_looked_at(self) -> None:
        self.assertEqual(set(get_args(Came)), set(came))

    @given(st.data(), moments, st.floats(allow_nan=False, allow_infinity=False))
    def test_a_turn_is_read_as_it_was_written(
        self, data: st.DataObject, at: datetime, seconds: float
    ) -> None:
        kind = data.draw(st.sampled_from(list(came)))
        turn = Turn(at, seconds, data.draw(came[kind]))
        line = encode_line(turn)
        read = decode_turn(line)
        self.assertEqual(read, turn)
        self.assertEqual(encode_line(read), line)
        self.assertNotIn(b"\n", line)

    @given(strategies.events)
    def test_what_was_told_is_in_its_line_byte_for_byte(self, event: Any) -> None:
        line = told_line(event)
        self.assertEqual(told_in(line), encode(event))
        self.assertEqual(line, b'{"told":' + encode(event) + b"}")

    @given(numbers, texts, payloads)
    def test_a_request(self, number: int, request: str, arguments: dict[str, Any]) -> None:
        asked = Asked(asked=number, request=request, arguments=arguments)
        self.assertEqual(asked_in(encode_line(asked)), asked)

    def test_each_line_says_one_thing(self) -> None:
        room = Room(room=True, requests=3)
        self.assertEqual(room_in(encode_line(room)), room)
        for line in (START, ASKED, END):
            self.assertIsNone(told_in(line))
            self.assertIsNone(room_in(line))
        self.assertIsNone(asked_in(START))

    def test_fractions_are_exact_and_keep_their_places(self) -> None:
        payload = {"price": Decimal("21000.250"), "size": 2}
        line = encode_line(Turn(NOW, 0.1, UserEvent("x", payload)))
        self.assertEqual(str(decode_turn(line).came.payload["price"]), "21000.250")

    def test_states_keep_their_places_too(self) -> None:
        state = AccountState(account_id=1, realized_pnl=Decimal("-10.50"))
        read = decode_turn(encode_line(Turn(NOW, 0.1, Recovered({1: state}, "")))).came
        self.assertEqual(str(read.accounts[1].realized_pnl), "-10.50")


class RecordingTests(SynchronousTestCase):
    def test_turns_come_with_what_came_of_them(self) -> None:
        read = recording(header(), START, ASKED, START, END)
        self.assertEqual(read.header, HEADER)
        first, second = read.turns()
        self.assertEqual((first.number, first.turn, first.outgoing), (2, TURN, [ASKED]))
        self.assertEqual((second.number, second.outgoing), (4, []))
        self.assertEqual((first.is_cut, second.is_cut, read.broke_off), (False, False, 0))

    def test_what_is_no_recording(self) -> None:
        for text in (b"", b"hello", b"{}", b"\xff\xfe", START):
            with self.assertRaisesRegex(RecordingError, "day.jsonl is no recording of riskd"):
                recording(text)
        with self.assertRaisesRegex(RecordingError, "no recording"):
            Recording(io.BytesIO(header()), "half.jsonl is no recording")

    def test_another_format(self) -> None:
        with self.assertRaisesRegex(RecordingError, "format 2; this riskd reads format 1"):
            recording(header(recording=2))

    def test_a_damaged_line_is_told_by_its_number(self) -> None:
        for damaged in (b"", b"?", ASKED[:-1].replace(b"asked", b"aksed"), START[:-1]):
            with self.assertRaisesRegex(RecordingError, "day.jsonl, line 3 is damaged: "):
                list(recording(header(), START, damaged, END).turns())

    def test_what_came_of_no_turn_is_damage(self) -> None:
        with self.assertRaisesRegex(RecordingError, "line 2 is damaged"):
            list(recording(header(), ASKED).turns())

    def test_a_line_of_no_end(self) -> None:
        self.patch(lines, "MAX_LINE_BYTES", 1000)
        with self.assertRaisesRegex(RecordingError, "line 3 is damaged: it is longer than 1000"):
            list(recording(header(), START, b"x" * 2000).turns())

    def test_one_that_breaks_off_says_so_once_it_is_read(self) -> None:
        whole = b"".join(line + b"\n" for line in (header(), START, ASKED, START))
        for rest in (b"", START[:20], START):
            read = Recording(io.BytesIO(whole + rest), "day.jsonl")
            first, second = read.turns()
            self.assertEqual((first.is_cut, second.is_cut, read.broke_off), (False, True, 4))


class DocumentTests(SynchronousTestCase):
    """``docs/recording.md`` says what is so."""

    text = (Path(__file__).parents[2] / "docs" / "recording.md").read_text(encoding="utf-8")

    def test_every_kind_and_its_fields_are_in_it(self) -> None:
        _, _, table = self.text.partition("| `kind` |")
        rows = [row.split("|") for row in table.partition("\n\n")[0].splitlines()]
        documented = {
            kind: re.findall("`([a-z_]+)`", row[2])
            for row in rows
            for kind in re.findall("`([a-z_]+)`", row[1])
        }
        fields = {
            kind.__struct_config__.tag: [
                field.encode_name for field in msgspec.structs.fields(kind)
            ]
            for kind in get_args(Came)
        }
        self.assertEqual(documented, fields)

    def test_every_field_of_the_header_is_in_it(self) -> None:
        for field in msgspec.structs.fields(Header):
            self.assertIn(f"`{field.name}`", self.text)

    def test_its_example_is_a_recording(self) -> None:
        example = [
            line.strip().encode() for line in self.text.splitlines() if line.startswith("    {")
        ]
        opened = recording(*example)
        turns = list(opened.turns())
        self.assertEqual(opened.header.recording, lines.FORMAT)
        self.assertEqual((len(turns), opened.broke_off), (5, 0))
        self.assertEqual(
            [encode_line(turn.turn) for turn in turns],
            [line for line in example if line.startswith(b'{"at":')],
        )
