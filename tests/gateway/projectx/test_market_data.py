"""Quotes: what is followed, and what is done when they do not come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import GatewayUnansweredError
from riskd.gateway.projectx.market_data import QuoteFeed
from riskd.gateway.signalr import Invocation
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
    """Reads nothing, and answers when the test says so."""

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
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.problems: list[str] = []
        self.feed = QuoteFeed(
            self.requests,
            self.clock,
            TimeOfDay(self.clock, self.BEGINS),
            self.WATCH,
            subscribe=self.subscribed.append,
            reconnect=self.reconnect,
            receive=lambda contract_id, payload: self.told.append((contract_id, payload)),
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
        self.feed.receive(Invocation("GatewayQuote", (contract_id, payload)))

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1)

    @property
    def problem(self) -> str:
        return self.problems[-1] if self.problems else ""


class FollowingTests(QuotesTestCase):
    """Contracts whose quotes are told."""

    def test_each_is_subscribed_once(self) -> None:
        for contract_id in (MNQ, ES, MNQ):
            self.feed.follow(contract_id)
        self.assertEqual(self.subscribed, [MNQ, ES])

    def test_quotes_are_told_as_they_come(self) -> None:
        self.quote(MNQ, bestBid=Decimal(1))
        self.quote(ES, bestAsk=Decimal(2))
        self.feed.receive(Invocation("GatewayTrade", (MNQ, {"price": 3})))
        self.assertEqual(
            self.told, [(MNQ, {"bestBid": Decimal(1)}), (ES, {"bestAsk": Decimal(2)})]
        )


class ConnectionTests(QuotesTestCase):
    """Trouble with the hub of markets; for people, in the local time."""

    def setUp(self) -> None:
        super().setUp()
        use_zone(self, "America/New_York")

    def test_its_loss_is_told_with_its_moment(self) -> None:
        self.feed.connected()
        self.pass_time(90)
        self.feed.lost("no connection")
        self.assertIn("No quotes since 10:01:30: no connection", self.problem)
        self.pass_time(5)
        self.feed.lost("no route")
        self.assertIn("No quotes since 10:01:30: no route", self.problem)
        self.feed.connected()
        self.assertEqual(self.problem, "")

    def test_the_next_loss_has_a_moment_of_its_own(self) -> None:
        self.feed.lost("no connection")
        self.feed.connected()
        self.pass_time(60)
        self.feed.lost("no connection")
        self.assertIn("since 10:01:00", self.problem)


class FreezeTests(QuotesTestCase):
    """A market that is open and followed, and says nothing."""

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

    def test_after_30_seconds_the_hub_is_connected_anew(self) -> None:
        self.quote()
        self.pass_time(29)
        self.assertEqual(self.reconnects, [])
        self.pass_time(6)
        self.assertEqual(len(self.reconnects), 1)

    def test_quotes_of_any_contract_are_enough(self) -> None:
        for _ in range(10):
            self.pass_time(25)
            self.quote(ES)
        self.assertEqual((self.reconnects, self.requests.count), ([], 0))

    def test_if_that_does_not_help_the_waits_grow_to_8_minutes_and_stay(self) -> None:
        self.pass_time(3600)
        waits = [after - before for before, after in pairwise([0.0, *self.reconnects])]
        for wait, planned in zip(waits, [30, 60, 120, 240, 480, 480, 480, 480], strict=False):
            self.assertTrue(planned <= wait <= planned + 5, waits)
        self.assertTrue(len(waits) >= 8)

    def test_a_quote_begins_the_waits_anew(self) -> None:
        self.pass_time(300)
        self.quote()
        self.reconnects.clear()
        begun = self.clock.seconds()
        self.pass_time(100)
        waits = [moment - begun for moment in self.reconnects]
        self.assertEqual(len(waits), 2)
        self.assertTrue(30 <= waits[0] <= 35)

    def test_a_hub_that_has_just_come_up_is_given_its_time(self) -> None:
        self.feed.lost("no connection")
        self.pass_time(200)
        self.assertEqual(self.reconnects, [])
        self.feed.connected()
        self.pass_time(29)
        self.assertEqual(self.reconnects, [])
        self.pass_time(6)
        self.assertEqual(len(self.reconnects), 1)

    def test_a_hub_that_is_down_is_not_connected_anew(self) -> None:
        self.feed.lost("no connection")
        self.pass_time(600)
        self.assertEqual(self.reconnects, [])


class NotFrozenTests(QuotesTestCase):
    """Silence that means nothing."""

    def test_nothing_is_followed(self) -> None:
        self.feed.connected()
        self.pass_time(600)
        self.feed.follow(MNQ)
        self.pass_time(29)
        self.assertEqual((self.reconnects, self.requests.count), ([], 0))

    def test_the_market_is_shut(self) -> None:
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

    def test_after_the_opening_it_is_given_its_time(self) -> None:
        self.BEGINS = datetime(2025, 7, 17, 21, 0, tzinfo=UTC)
        self.setUp()
        self.feed.follow(MNQ)
        self.feed.connected()
        self.pass_time(3600 + 24)
        self.assertEqual(self.reconnects, [])
        self.pass_time(12)
        self.assertEqual(len(self.reconnects), 1)

    def test_a_freeze_before_the_break_is_forgotten_over_it(self) -> None:
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
    """What stands in for quotes."""

    def setUp(self) -> None:
        super().setUp()
        self.feed.follow(MNQ)
        self.feed.connected()

    def freeze(self) -> None:
        self.pass_time(30)

    def test_the_latest_bar_is_told_as_a_price(self) -> None:
        self.freeze()
        body = self.requests.answer(
            bars=[
                {"t": "2025-07-17T14:00:29Z", "o": 1, "c": Decimal("21000.5"), "v": 3},
                {"t": "2025-07-17T14:00:20Z", "o": 1, "c": Decimal(20000), "v": 3},
            ]
        )
        self.assertEqual(
            self.told,
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

    def test_it_is_asked_for_every_10_seconds_of_each_contract(self) -> None:
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

    def test_a_hub_that_is_down_is_stood_in_for_too(self) -> None:
        self.feed.lost("no connection")
        self.freeze()
        self.assertEqual(self.requests.waiting, ["History/retrieveBars"])

    def test_when_quotes_come_no_more_bars_are_asked_for(self) -> None:
        self.freeze()
        self.requests.answer(bars=[])
        self.quote()
        self.pass_time(29)
        self.assertEqual(self.requests.asked, [])

    def test_a_bar_that_is_older_than_a_quote_is_not_told(self) -> None:
        self.freeze()
        self.quote(MNQ, lastPrice=Decimal(2))
        self.requests.answer(bars=[{"t": "2025-07-17T14:00:29Z", "c": Decimal(1)}])
        self.assertEqual(self.told, [(MNQ, {"lastPrice": Decimal(2)})])

    def test_without_a_bar_or_its_price_nothing_is_told(self) -> None:
        for bars in ([], [{"t": "2025-07-17T14:00:29Z"}], [{"c": None}]):
            self.freeze()
            self.requests.answer(bars=bars)
        self.assertEqual(self.told, [])

    def test_a_bar_that_is_not_answered_is_asked_for_again_later(self) -> None:
        self.feed.follow(ES)
        self.freeze()
        self.requests.fail()
        self.assertEqual(self.requests.asked[0][1]["contractId"], MNQ)
        self.requests.answer(bars={"no": "list"})
        self.pass_time(10)
        self.requests.answer(bars=[{"c": 1}])
        self.assertEqual([contract_id for contract_id, _ in self.told], [ES])

    def test_bars_that_are_not_answered_do_not_pile_up(self) -> None:
        self.feed.lost("no connection")
        self.pass_time(7200)
        self.assertEqual(self.requests.count, 1)

    def test_bars_leave_other_requests_their_room(self) -> None:
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
    """A hub that is silent while the market trades, as its bars show."""

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

    def test_it_is_trouble_until_there_is_a_quote_whatever_the_hub_says(self) -> None:
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

    def test_a_quiet_market_is_none(self) -> None:
        for began in ("14:00:15", "13:58:00"):
            self.freeze(began)
            self.assertTrue(self.reconnects)
            self.assertEqual(self.problem, "")
            self.quote()

    def test_a_bar_that_does_not_say_when_says_nothing(self) -> None:
        self.freeze("noon")
        self.assertEqual(self.problem, "")

    def test_a_hub_that_is_down_is_not_silent(self) -> None:
        self.feed.lost("no connection")
        self.freeze("14:00:16")
        self.assertIn("no connection", self.problem)
        self.feed.connected()
        self.assertEqual(self.problem, "")

    def test_when_the_market_shuts_it_is_over(self) -> None:
        self.BEGINS = datetime(2025, 7, 17, 20, 58, 30, tzinfo=UTC)
        self.setUp()
        self.freeze("20:59:20")
        self.assertIn("the market trades", self.problem)
        self.pass_time(60)
        self.assertEqual(self.problem, "")


class WatchTests(QuotesTestCase):
    """Tickers that are watched."""

    WATCH = ("ES", "MNQ")

    def test_nothing_is_looked_up_before_the_hub_is_up(self) -> None:
        self.pass_time(100)
        self.assertEqual(self.requests.count, 0)

    def test_their_active_contracts_are_followed(self) -> None:
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

    def test_without_tickers_nothing_is_looked_up(self) -> None:
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

    def test_a_listing_that_fails_is_asked_for_again_soon(self) -> None:
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

    def test_listings_that_are_not_answered_do_not_pile_up(self) -> None:
        for _ in range(5):
            self.feed.connected()
            self.feed.lost("no connection")
        self.pass_time(7300)
        self.assertEqual(self.requests.waiting, ["Contract/available"])


class StopTests(QuotesTestCase):
    """The end."""

    WATCH = ("ES",)

    def test_nothing_is_left_to_do(self) -> None:
        self.feed.connected()
        self.feed.follow(MNQ)
        self.pass_time(31)
        self.assertEqual(len(self.requests.asked), 2)
        self.feed.stop()
        self.assertEqual(self.requests.asked, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_is_asked_afterwards(self) -> None:
        self.feed.stop()
        self.feed.connected()
        self.pass_time(100)
        self.assertEqual(self.requests.count, 0)

    def test_twice(self) -> None:
        self.feed.stop()
        self.feed.stop()
