"""Lines of the ledger and the state that they add up to."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import Payload
from riskd.practice.account_store import ExchangeState
from riskd.practice.ledger_format import Note, messages_for, read_lines, state_after, write_lines
from riskd.practice.records import Message
from tests.support.practice_exchange import (
    ACCOUNT_EVENT,
    BUY,
    EURO,
    LIMIT,
    ORDER,
    POSITION,
    SELL,
    TRADE,
    Desk,
    prices,
)
from tests.support.trading_courses import (
    Course,
    TroubledCourse,
    courses,
    troubled_courses,
)


def read(text: bytes, name: str = "ledger") -> tuple[list[Message], list[Note]]:
    notes: list[Note] = []
    return read_lines(text, name, notes.append), notes


def write(messages: list[Message]) -> tuple[bytes, list[Note]]:
    notes: list[Note] = []
    return write_lines(messages, notes.append), notes


def of_users(told: list[Message]) -> list[Message]:
    return [message for message in told if message.contract_id is None]


def lines_of(messages: list[Message]) -> bytes:
    text, notes = write(messages)
    assert notes == []
    return text


class ReadingDesk(Desk):
    """A desk that keeps the lines of what happened, as its ledger would hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.text = b""
        self.states = [(0, ExchangeState())]

    def _listen(self) -> None:
        news = self.exchange.take_messages()
        self.told += news
        if of_users(news):
            self.text += lines_of(of_users(news))
            self.states.append((len(self.text), self.exchange.state(self.now)))


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
        self.assertEqual(read(desk.text, "ledger"), (told, []))

    @given(st.decimals("0.0000001", "999999999"), st.decimals("-999999999", "999999999", places=2))
    @settings(max_examples=50)
    def test_numbers_are_exact(self, average: Decimal, balance: Decimal) -> None:
        """Digit for digit, and never less than a Decimal."""
        desk = trading_desk()
        position = Message(POSITION, None, {**desk.last(POSITION), "averagePrice": average})
        account = Message(ACCOUNT_EVENT, None, {**desk.last(ACCOUNT_EVENT), "balance": balance})
        found, notes = read(lines_of([position, account]), "ledger")
        self.assertEqual(notes, [])
        for value, given_value in (
            (found[0].payload["averagePrice"], average),
            (found[1].payload["balance"], balance),
        ):
            self.assertIs(type(value), Decimal)
            self.assertEqual(value.as_tuple(), given_value.as_tuple())

    def test_a_message_that_cannot_be_written_is_left_out(self) -> None:
        desk = trading_desk()
        odd = Message(ORDER, None, {**desk.last(ORDER), "customTag": "\ud800"})
        text, (note,) = write([odd, *desk.told[-1:]])
        self.assertTrue(note.is_error)
        self.assertEqual(read(text, "ledger"), (desk.told[-1:], []))


class DamageTests(SynchronousTestCase):
    """Files that are not as they were meant to be."""

    def test_of_a_file_cut_anywhere_counts_what_was_written_whole(self) -> None:
        """Whoever is killed while writing had not told anybody."""
        desk = trading_desk()
        known = dict(desk.states)
        state = ExchangeState()
        for cut in range(len(desk.text) + 1):
            state = known.get(cut, state)
            messages, notes = read(desk.text[:cut], "ledger")
            found = state_after(messages)
            self.assertEqual(
                (found.positions, found.orders, found.ended, found.trades, found.highest_id),
                (
                    state.positions,
                    state.orders,
                    state.ended,
                    state.trades,
                    state.highest_id,
                ),
                cut,
            )
            self.assertEqual([note.is_error for note in notes], [] if cut in known else [False])

    def test_a_torn_end_is_named(self) -> None:
        desk = trading_desk()
        _messages, (note,) = read(desk.text[:-3], "some/ledger")
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
            messages, (note,) = read(b"\n".join(lines), "some/ledger")
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
            ({**order, "size": 2}, "nothing left to fill"),
            ({**order, "size": 1}, "nothing left to fill"),
            ({**order, "fillVolume": -1}, "fillVolume"),
            (without_price, "no filledPrice"),
        ):
            messages, (note,) = read(lines_of([Message(ORDER, None, odd)]), "ledger")
            self.assertEqual(messages, [])
            self.assertTrue(note.is_error)
            self.assertIn(reason, note.text)

    def test_a_line_at_the_end_that_cannot_be_read_takes_no_other_with_it(self) -> None:
        desk = trading_desk()
        *lines, _account, _end = desk.text.split(b"\n")
        messages, (note,) = read(b"\n".join([*lines, b"rubbish", b""]), "ledger")
        self.assertEqual(messages, of_users(desk.told)[:-1])
        self.assertTrue(note.is_error)

    def test_of_many_damaged_lines_the_number_is_told(self) -> None:
        _messages, notes = read(b"rubbish\n" * 500, "ledger")
        self.assertEqual(len(notes), 21)
        self.assertIn("480 more", notes[-1].text)

    @given(st.binary(max_size=300), st.integers(0, 5000), st.integers(0, 5000))
    @settings(max_examples=80)
    def test_no_damage_raises(self, rubbish: bytes, start: int, length: int) -> None:
        """Neither reading nor going on from what is left."""
        text = trading_desk().text
        messages, _notes = read(text[:start] + rubbish + text[start + length :], "ledger")
        desk = Desk()
        desk.restart(state_after(messages))
        desk.move("20970.00")
        desk.move("21030.00")


class RecallTests(SynchronousTestCase):
    """What lines come to."""

    def test_nothing_comes_to_nothing(self) -> None:
        self.assertEqual(state_after([]), ExchangeState())

    def test_the_last_prices_are_those_of_trades_or_else_of_positions(self) -> None:
        desk = Desk()
        for bid in ("1.10000", "1.10010"):
            desk.move(bid, contract=EURO)
            desk.order(SELL, 1, contract=EURO)
        state = desk.exchange.state(desk.now)
        self.assertEqual(state.last_prices(), {EURO.id: Decimal("1.10010")})
        state = desk.exchange.state(desk.now + timedelta(days=3))
        self.assertEqual(state.last_prices(), {EURO.id: Decimal("1.10005")})

    @given(courses | troubled_courses)
    @settings(max_examples=80)
    def test_what_was_told_comes_to_what_the_exchange_knows(self, steps: list[Any]) -> None:
        course = TroubledCourse()
        course.play(steps)
        known = course.desk.exchange.state(course.desk.now)
        found = state_after(of_users(course.desk.told))
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
        known = state_after(of_users(course.desk.told))
        text = b"".join(lines_of([message]) for message in messages_for(known))
        messages, notes = read(text, "ledger")
        self.assertEqual((state_after(messages), notes), (known, []))

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
                state = state_after(read(text, "ledger")[0])
                if anew:
                    text = b"".join(lines_of([message]) for message in messages_for(state))
                    state = state_after(read(text, "ledger")[0])
                self.assertEqual(restarted.desk.restart(state), [])
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
            restarted.desk.restart(state_after(read(text, "ledger")[0]))
        made = [
            [str(trade.get("profitAndLoss")) for trade in course.desk.payloads(TRADE)]
            for course in (steady, restarted)
        ]
        self.assertEqual(made[1], made[0])


def by_id(payloads: tuple[Payload, ...]) -> list[Payload]:
    return sorted(payloads, key=lambda payload: int(payload["id"]))
