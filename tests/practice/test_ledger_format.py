"""Lines of the ledger and the state that they add up to."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.fields import Payload
from riskd.practice.account_store import ExchangeState
from riskd.practice.ledger_format import Note, messages_for, read_lines, state_after, write_lines
from riskd.practice.records import Message
from tests import examples
from tests.support.practice_exchange import (
    ACCOUNT_EVENT,
    BUY,
    EURO,
    LIMIT,
    ORDER,
    POSITION,
    SELL,
    TRADE,
    ExchangeDriver,
    prices,
)
from tests.support.trading_courses import (
    Course,
    FullCourse,
    courses,
    full_courses,
)


def read(text: bytes, name: str = "ledger") -> tuple[list[Message], list[Note]]:
    notes: list[Note] = []
    return read_lines(text, name, notes.append), notes


def write(messages: list[Message]) -> tuple[bytes, list[Note]]:
    notes: list[Note] = []
    return write_lines(messages, notes.append), notes


def about_accounts(messages: list[Message]) -> list[Message]:
    return [message for message in messages if message.contract_id is None]


def lines_of(messages: list[Message]) -> bytes:
    text, notes = write(messages)
    assert notes == []
    return text


class LineWritingDriver(ExchangeDriver):
    """A driver that keeps the lines of its exchange's messages."""

    def __init__(self) -> None:
        super().__init__()
        self.text = b""
        self.states = [(0, ExchangeState())]

    def collect(self) -> None:
        messages = self.exchange.take_messages()
        self.messages += messages
        if about_accounts(messages):
            self.text += lines_of(about_accounts(messages))
            self.states.append((len(self.text), self.exchange.store.state(self.now)))


def driver_after_trading() -> LineWritingDriver:
    """Return a driver with positions, and with working, rejected and ended orders."""
    driver = LineWritingDriver()
    driver.move("21000.00")
    driver.move("1.10000", contract=EURO)
    driver.order(BUY, 2)
    driver.order(SELL, 1, contract=EURO)
    driver.move("21000.25")
    driver.order(BUY, 1, customTag="größer")
    canceled = driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
    driver.order(BUY, 1, LIMIT, **prices(limit="20980.00"))
    driver.cancel(canceled)
    driver.close(EURO)
    driver.order(SELL, 5)
    return driver


class LineTests(SynchronousTestCase):
    """Writing and reading lines."""

    def test_a_line_holds_a_message_and_the_number_of_lines_that_follow(self) -> None:
        driver = ExchangeDriver()
        driver.move("21000.00")
        driver.clear()
        driver.order(BUY, 3)
        text = lines_of(driver.messages)
        *_others, position, account, end = text.split(b"\n")
        self.assertEqual(
            position,
            b'{"target":"GatewayUserPosition","payload":{"id":2,"accountId":123,'
            b'"contractId":"CON.F.US.MNQ.H26","creationTimestamp":"2026-03-02T15:00:00+00:00",'
            b'"type":1,"size":3,"averagePrice":21000.25},"left":1}'.replace(
                b'"id":2', b'"id":%d' % driver.last(POSITION)["id"]
            ),
        )
        self.assertTrue(account.endswith(b',"left":0}'), account)
        self.assertEqual(end, b"")

    def test_messages_are_read_as_they_were_written(self) -> None:
        driver = driver_after_trading()
        reported = about_accounts(driver.messages)
        self.assertEqual({m.target for m in reported}, {ORDER, TRADE, POSITION, ACCOUNT_EVENT})
        self.assertEqual(read(driver.text, "ledger"), (reported, []))

    @given(st.decimals("0.0000001", "999999999"), st.decimals("-999999999", "999999999", places=2))
    @settings(max_examples=examples(50))
    def test_numbers_are_exact(self, average: Decimal, balance: Decimal) -> None:
        """Digit for digit, and always a Decimal."""
        driver = driver_after_trading()
        position = Message(POSITION, None, {**driver.last(POSITION), "averagePrice": average})
        account = Message(ACCOUNT_EVENT, None, {**driver.last(ACCOUNT_EVENT), "balance": balance})
        found, notes = read(lines_of([position, account]), "ledger")
        self.assertEqual(notes, [])
        for value, given_value in (
            (found[0].payload["averagePrice"], average),
            (found[1].payload["balance"], balance),
        ):
            self.assertIs(type(value), Decimal)
            self.assertEqual(value.as_tuple(), given_value.as_tuple())

    def test_a_message_that_cannot_be_written_is_left_out(self) -> None:
        driver = driver_after_trading()
        odd = Message(ORDER, None, {**driver.last(ORDER), "customTag": "\ud800"})
        text, (note,) = write([odd, *driver.messages[-1:]])
        self.assertTrue(note.is_error)
        self.assertEqual(read(text, "ledger"), (driver.messages[-1:], []))


class DamageTests(SynchronousTestCase):
    """Damaged files."""

    def test_a_file_cut_anywhere_keeps_its_complete_batches(self) -> None:
        """A process that is killed while it writes has reported nothing of it."""
        driver = driver_after_trading()
        known = dict(driver.states)
        state = ExchangeState()
        for cut in range(len(driver.text) + 1):
            state = known.get(cut, state)
            messages, notes = read(driver.text[:cut], "ledger")
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

    def test_a_torn_end_is_reported(self) -> None:
        driver = driver_after_trading()
        _messages, (note,) = read(driver.text[:-3], "some/ledger")
        # The last order was filled: two lines of it, a trade and a position twice, the account.
        first_of_last = driver.text.count(b"\n") - 6
        self.assertEqual(
            note,
            Note(
                False,
                f"some/ledger is torn at its end: line {first_of_last} and what follows is dropped",
            ),
        )

    def test_an_unreadable_line_is_skipped_and_reported(self) -> None:
        driver = driver_after_trading()
        reported = about_accounts(driver.messages)
        position = [m.target for m in reported].index(POSITION)
        whole = driver.text.split(b"\n")
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
            self.assertEqual(messages, reported[:position] + reported[position + 1 :])
            self.assertTrue(note.is_error)
            self.assertIn(f"some/ledger, line {position + 1} is skipped: ", note.text)
            self.assertIn(reason, note.text)

    def test_an_impossible_working_order_is_skipped(self) -> None:
        driver = ExchangeDriver()
        driver.move("21000.00")
        driver.injector.available = lambda size: min(size, 2)
        driver.order(BUY, 5, customTag="in parts")
        order = driver.last(ORDER)
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

    def test_an_unreadable_last_line_takes_no_other_with_it(self) -> None:
        driver = driver_after_trading()
        *lines, _account, _end = driver.text.split(b"\n")
        messages, (note,) = read(b"\n".join([*lines, b"rubbish", b""]), "ledger")
        self.assertEqual(messages, about_accounts(driver.messages)[:-1])
        self.assertTrue(note.is_error)

    def test_many_unreadable_lines_are_counted(self) -> None:
        _messages, notes = read(b"rubbish\n" * 500, "ledger")
        self.assertEqual(len(notes), 21)
        self.assertIn("480 more", notes[-1].text)

    @given(st.binary(max_size=300), st.integers(0, 5000), st.integers(0, 5000))
    @settings(max_examples=examples(50))
    def test_no_damage_raises(self, rubbish: bytes, start: int, length: int) -> None:
        """Neither reading the file nor going on from what is left."""
        text = driver_after_trading().text
        messages, _notes = read(text[:start] + rubbish + text[start + length :], "ledger")
        driver = ExchangeDriver()
        driver.restart(state_after(messages))
        driver.move("20970.00")
        driver.move("21030.00")


class StateTests(SynchronousTestCase):
    """The state that messages add up to."""

    def test_no_messages_give_an_empty_state(self) -> None:
        self.assertEqual(state_after([]), ExchangeState())

    def test_last_prices_come_from_trades_or_else_from_positions(self) -> None:
        driver = ExchangeDriver()
        for bid in ("1.10000", "1.10010"):
            driver.move(bid, contract=EURO)
            driver.order(SELL, 1, contract=EURO)
        state = driver.exchange.store.state(driver.now)
        self.assertEqual(state.last_prices(), {EURO.id: Decimal("1.10010")})
        state = driver.exchange.store.state(driver.now + timedelta(days=9))
        self.assertEqual(state.last_prices(), {EURO.id: Decimal("1.10005")})

    @given(courses | full_courses)
    @settings(max_examples=examples(50))
    def test_all_messages_add_up_to_the_state_of_the_exchange(self, steps: list[Any]) -> None:
        course = FullCourse()
        course.play(steps)
        known = course.driver.exchange.store.state(course.driver.now)
        found = state_after(about_accounts(course.driver.messages))
        for name in ("ended", "trades", "highest_id"):
            self.assertEqual(getattr(found, name), getattr(known, name), name)
        for name in ("positions", "orders"):
            self.assertEqual(by_id(getattr(found, name)), by_id(getattr(known, name)), name)
        reported = {account["id"]: account for account in found.accounts}
        for account in known.accounts:
            untouched = {**account, "balance": Decimal(50000), "canTrade": True}
            self.assertEqual(reported.get(account["id"], untouched), account)

    @given(courses | full_courses)
    @settings(max_examples=examples(50), deadline=None)
    def test_the_messages_for_a_state_add_up_to_it(self, steps: list[Any]) -> None:
        course = FullCourse()
        course.play(steps)
        known = state_after(about_accounts(course.driver.messages))
        text = b"".join(lines_of([message]) for message in messages_for(known))
        messages, notes = read(text, "ledger")
        self.assertEqual((state_after(messages), notes), (known, []))

    @given(courses | full_courses, st.sets(st.integers(0, 40), max_size=4), st.booleans())
    @settings(max_examples=examples(50))
    def test_restarts_do_not_change_trading_by_a_cent(
        self, steps: list[Any], restarts: set[int], anew: bool
    ) -> None:
        """Neither orders, trades, positions nor balances, with or without a rewritten ledger."""
        steady, restarted = FullCourse(), FullCourse()
        for number, step in enumerate(steps):
            if number in restarts:
                text = b"".join(
                    lines_of([message]) for message in about_accounts(restarted.driver.messages)
                )
                state = state_after(read(text, "ledger")[0])
                if anew:
                    text = b"".join(lines_of([message]) for message in messages_for(state))
                    state = state_after(read(text, "ledger")[0])
                self.assertEqual(restarted.driver.restart(state), [])
                # The quotes at a start may fill another part of an order.
                steady.driver.quote(steady.driver.quotes())
            for course in (steady, restarted):
                course.play([step])
        for course in (steady, restarted):
            course.close_all()
        self.assertEqual(
            about_accounts(restarted.driver.messages), about_accounts(steady.driver.messages)
        )
        made = [
            [str(trade.get("profitAndLoss")) for trade in course.driver.payloads(TRADE)]
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
    @settings(max_examples=examples(50))
    def test_a_restart_after_every_trade_does_not_change_pnl_by_a_cent(
        self, fills: list[tuple[int, Any, int]]
    ) -> None:
        """In euros, whose averages have endless places and whose P&L often ends in half a cent."""
        steady, restarted = Course(), Course()
        for ticks, side, size in fills:
            for course in (steady, restarted):
                course.move(EURO, ticks, False)
                course.driver.order(side, size, contract=EURO)
            text = b"".join(
                lines_of([message]) for message in about_accounts(restarted.driver.messages)
            )
            restarted.driver.restart(state_after(read(text, "ledger")[0]))
        made = [
            [str(trade.get("profitAndLoss")) for trade in course.driver.payloads(TRADE)]
            for course in (steady, restarted)
        ]
        self.assertEqual(made[1], made[0])


def by_id(payloads: tuple[Payload, ...]) -> list[Payload]:
    return sorted(payloads, key=lambda payload: int(payload["id"]))
