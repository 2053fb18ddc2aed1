"""The format of a recording: lines are read as they were written, and damage is found."""

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

from riskd.gateway.interface import Found
from riskd.model.account import AccountState
from riskd.model.broker import (
    BrokerAccount,
    BrokerOrder,
    BrokerPosition,
    BrokerQuote,
    BrokerTrade,
    Unreadable,
)
from riskd.model.events import OrderSide, OrderState, OrderType, PositionType
from riskd.model.wire import encode
from riskd.recording import format as recording_format
from riskd.recording.format import (
    END,
    Answered,
    AnswerTypes,
    ClockReported,
    CopyRead,
    DaemonProblem,
    Failed,
    FeedLost,
    FeedRestored,
    GatewayProblem,
    Header,
    Input,
    JournalProblem,
    NewsReceived,
    OperatorActed,
    QuoteReceived,
    Recording,
    RecordingError,
    Recovered,
    Refused,
    Reloaded,
    Request,
    RoomCheck,
    Started,
    Stopped,
    TimerFired,
    Turn,
    Unanswered,
    encode_broadcast,
    encode_line,
    news_received,
)
from tests.support import strategies
from tests.support.rules import state_after
from tests.support.strategies import histories

NOW = datetime(2026, 11, 23, 18, 0, 0, 123456, tzinfo=UTC)
HEADER = Header(
    recording=recording_format.FORMAT,
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
stamps = strategies.milliseconds
news = st.one_of(
    st.builds(
        BrokerAccount, name=texts, can_trade=st.none() | st.booleans(), balance=st.none() | amounts
    ),
    st.builds(Unreadable, what=texts, why=texts, id=st.none() | strategies.ids),
    st.builds(
        BrokerPosition,
        id=strategies.ids,
        contract_id=strategies.contract_ids,
        type=st.sampled_from(PositionType),
        size=strategies.counts,
        average_price=strategies.numbers,
        created_at=stamps,
        updated_at=stamps,
        stamp=st.none() | stamps,
    ),
    st.builds(
        BrokerOrder,
        id=strategies.ids,
        contract_id=strategies.contract_ids,
        type=st.sampled_from(OrderType),
        side=st.sampled_from(OrderSide),
        size=strategies.counts,
        limit_price=st.none() | strategies.numbers,
        stop_price=st.none() | strategies.numbers,
        state=st.sampled_from(OrderState),
        created_at=stamps,
        updated_at=stamps,
        filled=strategies.counts,
        is_open=st.booleans(),
        custom_tag=texts,
    ),
    st.builds(
        BrokerTrade,
        id=strategies.ids,
        contract_id=strategies.contract_ids,
        profit_and_loss=strategies.numbers,
        quantity=strategies.counts,
        execution_time=stamps,
        timestamp=stamps,
        is_full_turn=st.booleans(),
        price=st.none() | strategies.numbers,
        fees=strategies.numbers,
        is_voided=st.booleans(),
    ),
)
quotes = st.builds(
    BrokerQuote,
    strategies.contract_ids,
    *[st.none() | strategies.numbers] * 3,
    st.none() | stamps,
)
accounts = st.dictionaries(
    strategies.ids,
    st.builds(
        lambda history, risk: msgspec.structs.replace(state_after(*history), risk=risk),
        histories(),
        strategies.risks,
    ),
    max_size=2,
)
inputs: dict[type, st.SearchStrategy[Any]] = {
    Started: st.just(Started()),
    Stopped: st.just(Stopped()),
    TimerFired: st.just(TimerFired()),
    NewsReceived: st.builds(news_received, numbers, news),
    QuoteReceived: st.builds(QuoteReceived, quotes),
    FeedLost: st.builds(FeedLost, texts),
    FeedRestored: st.just(FeedRestored()),
    ClockReported: st.builds(
        ClockReported, moments, st.sampled_from([0.0, 1.0]), st.floats(0, 10)
    ),
    GatewayProblem: st.builds(GatewayProblem, texts, texts),
    Answered: st.builds(Answered, numbers, values),
    Refused: st.builds(Refused, numbers, texts, st.integers(0, 99), texts),
    Unanswered: st.builds(Unanswered, numbers, texts, texts),
    Failed: st.builds(Failed, numbers, texts, st.sampled_from(["gateway", "canceled", "riskd"])),
    CopyRead: st.builds(CopyRead, numbers, accounts),
    Recovered: st.builds(Recovered, accounts, texts),
    JournalProblem: st.builds(JournalProblem, texts),
    DaemonProblem: st.builds(DaemonProblem, texts, texts),
    Reloaded: st.builds(Reloaded, texts),
    OperatorActed: st.builds(
        OperatorActed,
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
REQUEST = encode_line(Request(number=1, name="gateway.stop", arguments={}))


class LineTests(SynchronousTestCase):
    def test_every_kind_of_input_is_tested(self) -> None:
        self.assertEqual(set(get_args(Input)), set(inputs))

    @given(st.data(), moments, st.floats(allow_nan=False, allow_infinity=False))
    def test_a_turn_is_read_as_it_was_written(
        self, data: st.DataObject, at: datetime, seconds: float
    ) -> None:
        kind = data.draw(st.sampled_from(list(inputs)))
        turn = Turn(at, seconds, data.draw(inputs[kind]))
        line = encode_line(turn)
        read = AnswerTypes().decode_turn(line)
        self.assertEqual(read, turn)
        self.assertEqual(encode_line(read), line)
        self.assertNotIn(b"\n", line)

    @given(strategies.events)
    def test_the_line_of_a_broadcast_holds_its_bytes(self, event: Any) -> None:
        line = encode_broadcast(event)
        self.assertEqual(line, b'{"told":' + encode(event) + b"}")
        (turn,) = recording(header(), START, line, END).turns()
        self.assertEqual((turn.outputs, turn.broadcasts), ([line], [encode(event)]))

    @given(numbers, texts, payloads)
    def test_a_request_is_read_as_it_was_written(
        self, number: int, request: str, arguments: dict[str, Any]
    ) -> None:
        made = Request(number=number, name=request, arguments=arguments)
        (turn,) = recording(header(), START, encode_line(made), END).turns()
        self.assertEqual(turn.requests, [made])

    def test_each_output_is_of_one_kind(self) -> None:
        check = RoomCheck(has_room=True, requests=3)
        (turn,) = recording(header(), START, REQUEST, encode_line(check), END).turns()
        self.assertEqual(turn.room_checks, [check])
        self.assertEqual((len(turn.requests), turn.broadcasts), (1, []))
        self.assertEqual(encode_line(check), b'{"room":true,"requests":3}')
        self.assertEqual(REQUEST, b'{"asked":1,"request":"gateway.stop","arguments":{}}')

    def test_fractions_are_exact_and_keep_their_zeros(self) -> None:
        quote = BrokerQuote("x", Decimal("21000.250"))
        line = encode_line(Turn(NOW, 0.1, QuoteReceived(quote)))
        self.assertEqual(str(AnswerTypes().decode_turn(line).input.quote.bid), "21000.250")

    @given(st.lists(news, max_size=3), st.lists(news, max_size=3))
    def test_an_answer_is_read_as_what_its_request_asks_for(
        self, some: list[Any], more: list[Any]
    ) -> None:
        for name, kind in (
            ("search_open_positions", BrokerPosition),
            ("search_open_orders", BrokerOrder),
            ("search_orders", BrokerOrder),
            ("search_trades", BrokerTrade),
        ):
            found = Found(
                tuple(each for each in some if isinstance(each, kind)),
                tuple(each for each in more if isinstance(each, Unreadable)),
            )
            types = AnswerTypes()
            types.note(Request(number=1, name=f"gateway.{name}", arguments={}))
            turn = Turn(NOW, 0.1, Answered(1, found))
            self.assertEqual(types.decode_turn(encode_line(turn)), turn)

    def test_amounts_of_a_state_keep_their_zeros(self) -> None:
        state = AccountState(account_id=1, realized_pnl=Decimal("-10.50"))
        line = encode_line(Turn(NOW, 0.1, Recovered({1: state}, "")))
        read = AnswerTypes().decode_turn(line).input
        self.assertEqual(str(read.accounts[1].realized_pnl), "-10.50")


class RecordingTests(SynchronousTestCase):
    def test_turns_have_their_outputs(self) -> None:
        read = recording(header(), START, REQUEST, START, END)
        self.assertEqual(read.header, HEADER)
        first, second = read.turns()
        self.assertEqual((first.number, first.turn, first.outputs), (2, TURN, [REQUEST]))
        self.assertEqual((second.number, second.outputs), (4, []))
        self.assertEqual((first.is_cut, second.is_cut, read.broke_off), (False, False, 0))

    def test_another_file_is_refused(self) -> None:
        for text in (b"", b"hello", b"{}", b"\xff\xfe", START):
            with self.assertRaisesRegex(RecordingError, "day.jsonl is not a recording of riskd"):
                recording(text)
        with self.assertRaisesRegex(RecordingError, "half.jsonl is not a recording"):
            Recording(io.BytesIO(header()), "half.jsonl")

    def test_another_format_is_refused(self) -> None:
        with self.assertRaisesRegex(RecordingError, "format 1; this riskd reads format 2"):
            recording(header(recording=1))

    def test_an_error_names_the_damaged_line(self) -> None:
        for damaged in (
            b"",
            b"?",
            REQUEST[:-1].replace(b"asked", b"aksed"),
            REQUEST.replace(b"1", b"?"),
            START[:-1],
        ):
            with self.assertRaisesRegex(RecordingError, "day.jsonl, line 3 is damaged: "):
                list(recording(header(), START, damaged, END).turns())

    def test_an_output_before_the_first_turn_is_damage(self) -> None:
        with self.assertRaisesRegex(RecordingError, "line 2 is damaged"):
            list(recording(header(), REQUEST).turns())

    def test_an_endless_line_is_damage(self) -> None:
        self.patch(recording_format, "MAX_LINE_BYTES", 1000)
        with self.assertRaisesRegex(RecordingError, "line 3 is damaged: it is longer than 1000"):
            list(recording(header(), START, b"x" * 2000).turns())

    def test_a_recording_that_breaks_off_names_its_last_line(self) -> None:
        whole = b"".join(line + b"\n" for line in (header(), START, REQUEST, START))
        for rest in (b"", START[:20], START):
            read = Recording(io.BytesIO(whole + rest), "day.jsonl")
            first, second = read.turns()
            self.assertEqual((first.is_cut, second.is_cut, read.broke_off), (False, True, 4))


class DocumentTests(SynchronousTestCase):
    """``docs/recording.md`` describes the format."""

    text = (Path(__file__).parents[2] / "docs" / "recording.md").read_text(encoding="utf-8")

    def test_it_lists_every_kind_of_input_with_its_fields(self) -> None:
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
            for kind in get_args(Input)
        }
        self.assertEqual(documented, fields)

    def test_it_lists_every_field_of_the_header(self) -> None:
        for field in msgspec.structs.fields(Header):
            self.assertIn(f"`{field.name}`", self.text)

    def test_its_example_is_a_recording(self) -> None:
        example = [
            line.strip().encode() for line in self.text.splitlines() if line.startswith("    {")
        ]
        opened = recording(*example)
        turns = list(opened.turns())
        self.assertEqual(opened.header.recording, recording_format.FORMAT)
        self.assertEqual((len(turns), opened.broke_off), (5, 0))
        self.assertEqual(
            [encode_line(turn.turn) for turn in turns],
            [line for line in example if line.startswith(b'{"at":')],
        )
