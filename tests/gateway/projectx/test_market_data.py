"""Quotes: which contracts are followed, and what happens when no quotes arrive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import GatewayUnansweredError
from riskd.gateway.projectx.market_data import EXCHANGE_ZONE, QuoteFeed, is_market_open
from tests.support.broker import THURSDAY, TimeOfDay, use_zone

MNQ = "CON.F.US.MNQ.U25"
ES = "CON.F.US.EP.U25"
FAULT = GatewayUnansweredError("History/retrieveBars", "HTTP 502")

CONTRACTS = [
    {"id": MNQ, "name": "MNQU5", "activeContract": True},
    {"id": "CON.F.US.MNQ.Z25", "name": "MNQZ5", "activeContract": False},
    {"id": ES, "name": "ESU5", "activeContract": True},
    {"id": "CON.F.US.MES.U25", "name": "MESU5", "activeContract": True},
    {"id": "CON.F.US.ENQ.U25", "name": "NQU5", "activeContract": True},
]


class MemoryRequests:
    """Answers reads when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], Deferred[Any]]] = []
        self.count = 0

    async def read(self, request: str, body: dict[str, Any], *, urgent: bool = False) -> Any:
        assert not urgent
        answer: Deferred[Any] = Deferred(self._give_up)
        self.count += 1
        self.asked.append((request, body, answer))
        return await answer

    def _give_up(self, answer: Deferred[Any]) -> None:
        self.asked = [asked for asked in self.asked if asked[2] is not answer]

    @property
    def waiting(self) -> list[str]:
        return [request for request, _, _ in self.asked]

    def answer(self, **fields: Any) -> dict[str, Any]:
        _, body, answer = self.asked.pop(0)
        answer.callback(fields)
        return body

    def fail(self, error: Exception = FAULT) -> None:
        self.asked.pop(0)[2].errback(error)


class QuotesTestCase(SynchronousTestCase):
    WATCH: tuple[str, ...] = ()
    BEGINS = THURSDAY

    def setUp(self) -> None:
        self.clock = Clock()
        self.requests: Any = MemoryRequests()
        self.subscribed: list[str] = []
        self.reconnects: list[float] = []
        self.quotes: list[tuple[str, dict[str, Any]]] = []
        self.trades: list[tuple[str, dict[str, Any]]] = []
        self.problems: list[str] = []
        self.feed = QuoteFeed(
            self.requests,
            self.clock,
            TimeOfDay(self.clock, self.BEGINS),
            self.WATCH,
            subscribe=self.subscribed.append,
            reconnect=self.reconnect,
            receive=lambda contract_id, payload: self.quotes.append((contract_id, payload)),
            receive_trade=lambda contract_id, payload: self.trades.append((contract_id, payload)),
            report_problem=self.problems.append,
        )
        self.feed.start()

    def reconnect(self, why: str) -> None:
        """Lose the hub, and have it again in the same moment."""
        self.reconnects.append(self.clock.seconds())
        self.feed.lost(why)
        self.feed.connected()

    def quote(self, contract_id: str = MNQ, **fields: Any) -> None:
        payload = fields or {"lastPrice": Decimal("21000.25")}
        self.feed.receive(contract_id, payload)

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1)

    @property
    def problem(self) -> str:
        return self.problems[-1] if self.problems else ""


class FollowingTests(QuotesTestCase):
    """Contracts that are followed."""

    def test_each_contract_is_subscribed_once(self) -> None:
        for contract_id in (MNQ, ES, MNQ):
            self.feed.follow(contract_id)
        self.assertEqual(self.subscribed, [MNQ, ES])

    def test_quotes_are_reported_as_they_arrive(self) -> None:
        self.feed.follow(MNQ)
        self.feed.follow(ES)
        self.quote(MNQ, bestBid=Decimal(1))
        self.quote(ES, bestAsk=Decimal(2))
        self.quote("CON.F.US.NQ.U25", bestAsk=Decimal(3))
        self.assertEqual(
            self.quotes, [(MNQ, {"bestBid": Decimal(1)}), (ES, {"bestAsk": Decimal(2)})]
        )


class ConnectionTests(QuotesTestCase):
    """Problems of the market hub; times are local."""

    def setUp(self) -> None:
        super().setUp()
        use_zone(self, "America/New_York")

    def test_the_loss_of_the_hub_is_reported_with_its_time(self) -> None:
        self.feed.connected()
        self.pass_time(90)
        self.feed.lost("no connection")
        self.assertIn("No quotes since 10:01:30: no connection", self.problem)
        self.pass_time(5)
        self.feed.lost("no route")
        self.assertIn("No quotes since 10:01:30: no route", self.problem)
        self.feed.connected()
        self.assertEqual(self.problem, "")

    def test_the_next_loss_has_a_time_of_its_own(self) -> None:
        self.feed.lost("no connection")
        self.feed.connected()
        self.pass_time(60)
        self.feed.lost("no connection")
        self.assertIn("since 10:01:00", self.problem)


class FreezeTests(QuotesTestCase):
    """Silence of an open market."""

    def setUp(self) -> None:
        super().setUp()
        self.feed.follow(MNQ)
        self.feed.connected()

    def answer_bars(self) -> None:
        while self.requests.asked:
            self.requests.answer(bars=[])

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.answer_bars()

    def test_after_30_seconds_the_hub_is_reconnected(self) -> None:
        self.quote()
        self.pass_time(29)
        self.assertEqual(self.reconnects, [])
        self.pass_time(6)
        self.assertEqual(len(self.reconnects), 1)

    def test_a_quote_of_any_contract_shows_that_the_hub_works(self) -> None:
        for _ in range(10):
            self.pass_time(25)
            self.quote(ES)
        self.assertEqual((self.reconnects, self.requests.count), ([], 0))

    def test_the_waits_between_reconnects_grow_to_8_minutes(self) -> None:
        self.pass_time(3600)
        waits = [after - before for before, after in pairwise([0.0, *self.reconnects])]
        for wait, planned in zip(waits, [30, 60, 120, 240, 480, 480, 480, 480], strict=False):
            self.assertTrue(planned <= wait <= planned + 5, waits)
        self.assertTrue(len(waits) >= 8)

    def test_after_a_quote_the_waits_are_short_again(self) -> None:
        self.pass_time(300)
        self.quote()
        self.reconnects.clear()
        begun = self.clock.seconds()
        self.pass_time(100)
        waits = [moment - begun for moment in self.reconnects]
        self.assertEqual(len(waits), 2)
        self.assertTrue(30 <= waits[0] <= 35)

    def test_a_hub_that_has_just_come_up_is_not_reconnected(self) -> None:
        self.feed.lost("no connection")
        self.pass_time(200)
        self.assertEqual(self.reconnects, [])
        self.feed.connected()
        self.pass_time(29)
        self.assertEqual(self.reconnects, [])
        self.pass_time(6)
        self.assertEqual(len(self.reconnects), 1)

    def test_a_hub_that_is_down_is_not_reconnected(self) -> None:
        self.feed.lost("no connection")
        self.pass_time(600)
        self.assertEqual(self.reconnects, [])


class NotFrozenTests(QuotesTestCase):
    """Silence that is no freeze."""

    def test_silence_without_contracts_is_no_freeze(self) -> None:
        self.feed.connected()
        self.pass_time(600)
        self.feed.follow(MNQ)
        self.pass_time(29)
        self.assertEqual((self.reconnects, self.requests.count), ([], 0))

    def test_silence_of_a_closed_market_is_no_freeze(self) -> None:
        for begins in (
            datetime(2025, 7, 18, 21, 0, tzinfo=UTC),
            datetime(2025, 7, 17, 21, 0, tzinfo=UTC),
        ):
            self.BEGINS = begins
            self.setUp()
            self.feed.follow(MNQ)
            self.feed.connected()
            self.pass_time(3599)
            self.assertEqual((self.reconnects, self.requests.count), ([], 0))

    def test_the_wait_starts_at_the_opening_of_the_market(self) -> None:
        self.BEGINS = datetime(2025, 7, 17, 21, 0, tzinfo=UTC)
        self.setUp()
        self.feed.follow(MNQ)
        self.feed.connected()
        self.pass_time(3600 + 24)
        self.assertEqual(self.reconnects, [])
        self.pass_time(12)
        self.assertEqual(len(self.reconnects), 1)

    def test_a_freeze_ends_with_the_daily_break(self) -> None:
        self.BEGINS = datetime(2025, 7, 17, 20, 0, tzinfo=UTC)
        self.setUp()
        self.feed.follow(MNQ)
        self.feed.connected()
        self.pass_time(3600)
        self.assertTrue(len(self.reconnects) > 4)
        self.pass_time(3600)
        self.reconnects.clear()
        self.pass_time(37)
        self.assertEqual(len(self.reconnects), 1)


class BarTests(QuotesTestCase):
    """Bars in place of quotes."""

    def setUp(self) -> None:
        super().setUp()
        self.feed.follow(MNQ)
        self.feed.connected()

    def freeze(self) -> None:
        self.pass_time(30)

    def test_the_latest_bar_is_reported_as_a_last_price(self) -> None:
        self.freeze()
        body = self.requests.answer(
            bars=[
                {"t": "2025-07-17T14:00:29Z", "o": 1, "c": Decimal("21000.5"), "v": 3},
                {"t": "2025-07-17T14:00:20Z", "o": 1, "c": Decimal(20000), "v": 3},
            ]
        )
        self.assertEqual(
            self.trades,
            [(MNQ, {"lastPrice": Decimal("21000.5"), "timestamp": "2025-07-17T14:00:29Z"})],
        )
        moment = THURSDAY + timedelta(seconds=30)
        self.assertEqual(
            body,
            {
                "contractId": MNQ,
                "live": False,
                "startTime": (moment - timedelta(minutes=5)).isoformat(),
                "endTime": moment.isoformat(),
                "unit": 1,
                "unitNumber": 1,
                "limit": 1,
                "includePartialBar": True,
            },
        )

    def test_bars_are_requested_every_10_seconds_for_each_contract(self) -> None:
        self.feed.follow(ES)
        self.freeze()
        asked = []
        for _ in range(60):
            while self.requests.asked:
                asked.append((self.clock.seconds(), self.requests.asked[0][1]["contractId"]))
                self.requests.answer(bars=[])
            self.clock.advance(1)
        self.assertEqual(
            asked,
            [(moment, contract) for moment in range(30, 90, 10) for contract in (ES, MNQ)],
        )

    def test_bars_replace_quotes_while_the_hub_is_down_too(self) -> None:
        self.feed.lost("no connection")
        self.freeze()
        self.assertEqual(self.requests.waiting, ["History/retrieveBars"])

    def test_quotes_end_the_requests_for_bars(self) -> None:
        self.freeze()
        self.requests.answer(bars=[])
        self.quote()
        self.pass_time(29)
        self.assertEqual(self.requests.asked, [])

    def test_a_bar_older_than_a_quote_is_not_reported(self) -> None:
        self.freeze()
        self.quote(MNQ, lastPrice=Decimal(2))
        self.requests.answer(bars=[{"t": "2025-07-17T14:00:29Z", "c": Decimal(1)}])
        self.assertEqual(self.quotes, [(MNQ, {"lastPrice": Decimal(2)})])

    def test_no_bar_or_a_bar_without_a_price_is_not_reported(self) -> None:
        for bars in ([], [{"t": "2025-07-17T14:00:29Z"}], [{"c": None}]):
            self.freeze()
            self.requests.answer(bars=bars)
        self.assertEqual(self.trades, [])

    def test_an_unanswered_bar_is_requested_again_later(self) -> None:
        self.feed.follow(ES)
        self.freeze()
        self.requests.fail()
        self.assertEqual(self.requests.asked[0][1]["contractId"], MNQ)
        self.requests.answer(bars={"no": "list"})
        self.pass_time(10)
        self.requests.answer(bars=[{"c": 1}])
        self.assertEqual([contract_id for contract_id, _ in self.trades], [ES])

    def test_unanswered_bars_do_not_pile_up(self) -> None:
        self.feed.lost("no connection")
        self.pass_time(7200)
        self.assertEqual(self.requests.count, 1)

    def test_at_most_8_bars_are_requested_at_a_time(self) -> None:
        for number in range(11):
            self.feed.follow(f"CON.F.US.X{number}.U25")
        self.freeze()
        rounds: list[list[str]] = []
        for _ in range(3):
            rounds.append([])
            while self.requests.asked:
                rounds[-1].append(self.requests.answer(bars=[])["contractId"])
            self.pass_time(10)
        self.assertEqual([len(contracts) for contracts in rounds], [8, 8, 8])
        # Those that had no turn come first.
        self.assertEqual(len({*rounds[0], *rounds[1][:4]}), 12)
        self.assertEqual(len({*rounds[1], *rounds[2]}), 12)


class TradingTests(QuotesTestCase):
    """A hub that is silent while the market trades, as bars show."""

    def setUp(self) -> None:
        super().setUp()
        use_zone(self, "America/New_York")
        self.feed.follow(MNQ)
        self.feed.connected()
        self.pass_time(5)
        self.quote()

    def freeze(self, began: str) -> None:
        """Let the hub be silent, while the latest bar began at a time of day."""
        for _ in range(60):
            self.clock.advance(1)
            while self.requests.asked:
                self.requests.answer(bars=[{"t": f"2025-07-17T{began}Z", "c": Decimal(21000)}])

    def test_a_frozen_hub_is_a_problem_until_there_is_a_quote(self) -> None:
        self.freeze("14:00:16")
        self.assertTrue(self.reconnects)
        self.assertIn("No quotes since 10:00:05: the market trades", self.problem)
        self.feed.lost("no connection")
        self.assertIn("No quotes since 10:00:05: no connection", self.problem)
        self.feed.connected()
        self.assertIn("No quotes since 10:00:05: the market trades", self.problem)
        self.quote()
        self.assertEqual(self.problem, "")
        self.feed.lost("no connection")
        self.feed.connected()
        self.assertEqual(self.problem, "")

    def test_a_quiet_market_is_no_problem(self) -> None:
        for began in ("14:00:15", "13:58:00"):
            self.freeze(began)
            self.assertTrue(self.reconnects)
            self.assertEqual(self.problem, "")
            self.quote()

    def test_a_bar_without_a_time_shows_nothing(self) -> None:
        self.freeze("noon")
        self.assertEqual(self.problem, "")

    def test_a_hub_that_is_down_is_not_frozen(self) -> None:
        self.feed.lost("no connection")
        self.freeze("14:00:16")
        self.assertIn("no connection", self.problem)
        self.feed.connected()
        self.assertEqual(self.problem, "")

    def test_the_problem_ends_when_the_market_closes(self) -> None:
        self.BEGINS = datetime(2025, 7, 17, 20, 58, 30, tzinfo=UTC)
        self.setUp()
        self.freeze("20:59:20")
        self.assertIn("the market trades", self.problem)
        self.pass_time(60)
        self.assertEqual(self.problem, "")


class WatchTests(QuotesTestCase):
    """Watched tickers."""

    WATCH = ("ES", "MNQ")

    def test_contracts_are_not_requested_before_the_hub_is_up(self) -> None:
        self.pass_time(100)
        self.assertEqual(self.requests.count, 0)

    def test_the_active_contracts_of_watched_tickers_are_followed(self) -> None:
        self.feed.connected()
        self.assertEqual(self.requests.waiting, ["Contract/available"])
        self.assertEqual(self.requests.answer(contracts=CONTRACTS), {"live": False})
        self.assertEqual(self.subscribed, [MNQ, ES])

    def test_a_ticker_is_a_name_without_month_and_year(self) -> None:
        self.WATCH = ("M2K", "NQ")
        self.setUp()
        self.feed.connected()
        self.requests.answer(
            contracts=[
                {"id": "a", "name": "M2KU5", "activeContract": True},
                {"id": "b", "name": "NQU5", "activeContract": True},
                {"id": "c", "name": "NQ", "activeContract": True},
                {"id": "d", "name": "MNQU5", "activeContract": True},
                {"id": "e", "name": None, "activeContract": True},
                {"id": None, "name": "NQZ5", "activeContract": True},
                {"name": "NQZ5", "activeContract": True},
                {},
            ]
        )
        self.assertEqual(self.subscribed, ["a", "b"])

    def test_a_ticker_has_one_contract_and_that_an_id(self) -> None:
        wrong = [
            {"id": text, "name": "MNQU5", "activeContract": True}
            for text in ("", "M\x1b[2J", "M" * 999)
        ]
        many = [
            {"id": f"CON.{number}", "name": "MNQU5", "activeContract": True}
            for number in range(4000)
        ]
        self.feed.connected()
        self.requests.answer(contracts=[*wrong, *many])
        self.assertEqual(self.subscribed, ["CON.0"])

    def test_without_tickers_contracts_are_not_requested(self) -> None:
        self.WATCH = ()
        self.setUp()
        self.feed.connected()
        self.pass_time(7300)
        self.assertEqual(self.requests.count, 0)

    def test_the_next_front_month_is_found_within_the_hour(self) -> None:
        self.feed.connected()
        self.requests.answer(contracts=CONTRACTS)
        while self.clock.seconds() < 3610:
            self.quote()
            self.pass_time(10)
        self.assertEqual(self.requests.waiting, ["Contract/available"])
        self.requests.answer(
            contracts=[{"id": "CON.F.US.MNQ.Z25", "name": "MNQZ5", "activeContract": True}]
        )
        self.assertEqual(self.subscribed[-1], "CON.F.US.MNQ.Z25")

    def test_a_failed_request_of_contracts_is_repeated_soon(self) -> None:
        for fail in (lambda: self.requests.fail(), self.answer_no_list):  # noqa: PLW0108
            self.setUp()
            self.feed.connected()
            fail()
            self.pass_time(65)
            self.assertEqual(self.requests.waiting, ["Contract/available"])
            self.requests.answer(contracts=CONTRACTS)
            self.assertEqual(self.subscribed, [MNQ, ES])
            self.pass_time(65)
            self.assertNotIn("Contract/available", self.requests.waiting)

    def answer_no_list(self) -> None:
        self.requests.answer(contracts=None)

    def test_unanswered_requests_of_contracts_do_not_pile_up(self) -> None:
        for _ in range(5):
            self.feed.connected()
            self.feed.lost("no connection")
        self.pass_time(7300)
        self.assertEqual(self.requests.waiting, ["Contract/available"])


class StopTests(QuotesTestCase):
    """The stop."""

    WATCH = ("ES",)

    def test_stop_leaves_nothing_scheduled(self) -> None:
        self.feed.connected()
        self.feed.follow(MNQ)
        self.pass_time(31)
        self.assertEqual(len(self.requests.asked), 2)
        self.feed.stop()
        self.assertEqual(self.requests.asked, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_is_requested_after_the_stop(self) -> None:
        self.feed.stop()
        self.feed.connected()
        self.pass_time(100)
        self.assertEqual(self.requests.count, 0)

    def test_stop_twice(self) -> None:
        self.feed.stop()
        self.feed.stop()


# When quotes can be expected.

MONDAYS = (
    datetime(2025, 7, 14),  # noqa: DTZ001  # summer
    datetime(2025, 1, 13),  # noqa: DTZ001  # winter
    datetime(2025, 3, 3),  # noqa: DTZ001  # the clocks go forward on the Sunday after
    datetime(2025, 3, 10),  # noqa: DTZ001  # they have just gone forward
    datetime(2025, 10, 27),  # noqa: DTZ001  # they go back on the Sunday after
    datetime(2025, 11, 3),  # noqa: DTZ001  # they have just gone back
)
"""Mondays, midnight, in Chicago."""

WEEK = (
    # day, hour, minute, open
    (0, 0, 0, True),
    (0, 15, 59, True),
    (0, 16, 0, False),
    (0, 16, 59, False),
    (0, 17, 0, True),
    (1, 12, 0, True),
    (1, 16, 30, False),
    (2, 3, 0, True),
    (2, 16, 0, False),
    (2, 17, 0, True),
    (3, 15, 59, True),
    (3, 16, 30, False),
    (3, 23, 59, True),
    (4, 0, 0, True),
    (4, 15, 59, True),
    (4, 16, 0, False),
    (4, 17, 0, False),
    (4, 23, 0, False),
    (5, 0, 0, False),
    (5, 12, 0, False),
    (5, 23, 59, False),
    (6, 0, 0, False),
    (6, 3, 0, False),
    (6, 16, 59, False),
    (6, 17, 0, True),
    (6, 23, 59, True),
)


class MarketHoursTests(SynchronousTestCase):
    def test_every_week_is_the_same_by_the_wall_clock(self) -> None:
        for monday in MONDAYS:
            for day, hour, minute, is_open in WEEK:
                wall = monday + timedelta(days=day, hours=hour, minutes=minute)
                moment = wall.replace(tzinfo=EXCHANGE_ZONE).astimezone(UTC)
                self.assertEqual(is_market_open(moment), is_open, str(wall))

    def test_the_opening_in_utc_moves_with_daylight_saving_time(self) -> None:
        for opening in (
            datetime(2025, 3, 2, 23, tzinfo=UTC),
            datetime(2025, 3, 9, 22, tzinfo=UTC),
            datetime(2025, 10, 26, 22, tzinfo=UTC),
            datetime(2025, 11, 2, 23, tzinfo=UTC),
        ):
            self.assertFalse(is_market_open(opening - timedelta(microseconds=1)))
            self.assertTrue(is_market_open(opening))

    @given(
        st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        st.integers(-14, 14),
    )
    def test_the_zone_of_the_argument_does_not_matter(self, moment: datetime, hours: int) -> None:
        elsewhere = moment.astimezone(timezone(timedelta(hours=hours)))
        self.assertEqual(is_market_open(elsewhere), is_market_open(moment))

    def test_a_week_has_115_hours(self) -> None:
        begin = datetime(2025, 7, 14, tzinfo=UTC)
        quarters = [begin + timedelta(minutes=15 * number) for number in range(4 * 24 * 7)]
        self.assertEqual(sum(map(is_market_open, quarters)), 4 * 115)
