"""By which prices the rules of a running daemon value positions."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import NO_FAULTS, Faults
from riskd.gateway.enums import GatewayOrderSide
from riskd.model.events import LockoutSet, MarketQuote
from riskd.model.marks import mark
from riskd.model.open_pnl import position_pnl
from tests.support.guarded_account import FEED_LOST, ONE_ROUND
from tests.support.practice_daemon import ACCOUNT, BUY, ES, MNQ, SELL, PracticeDaemon

TOTAL_LOSS = "[rules.daily_unrealized_loss]\nloss_limit = 300\nscope = 'total'\nlockout = true\n"
LOSS = "[rules.daily_unrealized_loss]\nloss_limit = 300\n"
TARGET = "[rules.max_unrealized_profit]\nprofit_target = 200\n"


class MarksTestCase(SynchronousTestCase):
    def start(self, config: str) -> PracticeDaemon:
        daemon = self.daemon = PracticeDaemon(config)
        self.addCleanup(daemon.close)
        return daemon

    def hold(self, config: str, side: GatewayOrderSide = BUY) -> PracticeDaemon:
        """Start with one contract that was traded at 21,000."""
        daemon = self.start(config)
        daemon.move(MNQ, "21000")
        daemon.trade(side, 1)
        daemon.advance(2)
        return daemon

    def quote(self, contract_id: str, *, seconds: float = 0, **prices: str) -> None:
        """Send an update of a quote that is stamped ``seconds`` from now."""
        payload: dict[str, Any] = {name: Decimal(price) for name, price in prices.items()}
        payload["timestamp"] = (self.daemon.now() + timedelta(seconds=seconds)).isoformat()
        self.daemon.payloads.market_event("GatewayQuote", contract_id, payload)

    def price(self, contract_id: str) -> Decimal | None:
        """Return the price by which the rules value the position."""
        state = self.daemon.state
        found = mark(state, state.positions[contract_id])
        return None if found is None else found.price

    def assert_sound(self, held: dict[str, int]) -> None:
        self.assertEqual(self.daemon.held, held)
        self.assertEqual([each.reason for each in self.daemon.actions], [])
        self.assertEqual(self.daemon.news(LockoutSet), [])


class OldQuoteTests(MarksTestCase):
    """A position is not valued by what was known before it."""

    def test_a_contract_that_is_not_watched(self) -> None:
        for side, price in ((SELL, "4900"), (BUY, "5100")):
            daemon = self.start(TOTAL_LOSS)
            daemon.move(ES, "5000")
            daemon.trade(BUY, 1, ES)
            daemon.advance(2)
            daemon.move(ES, "5000")
            daemon.trade(SELL, 1, ES)
            daemon.advance(2)
            daemon.stopped_for(hours=1)
            daemon.move(ES, price)
            daemon.advance(2)
            daemon.trade(side, 1, ES)
            daemon.advance(3)
            self.assert_sound({ES: 1 if side is BUY else -1})
            self.assertEqual(daemon.state.quotes[ES].last, Decimal(price))

    def test_an_entry_after_an_exit(self) -> None:
        for first, exit_, last, second in (
            (BUY, SELL, "4995", BUY),
            (SELL, BUY, "5005", SELL),
            (BUY, SELL, "5005", SELL),
        ):
            daemon = self.start(TARGET)
            daemon.move(ES, "5000")
            daemon.trade(first, 1, ES)
            daemon.advance(2)
            daemon.move(ES, "5000")
            daemon.trade(exit_, 1, ES)
            for _ in range(6):
                daemon.move(ES, last)
                daemon.advance(1)
            daemon.trade(second, 1, ES)
            daemon.advance(2)
            self.assert_sound({ES: 1 if second is BUY else -1})

    def test_a_fill_is_reported_before_the_quotes_that_led_to_it(self) -> None:
        """The market hub is late; the account watches MNQ."""
        for config, side, price in (
            (LOSS, SELL, "20800"),
            (LOSS, BUY, "21200"),
            (TARGET, BUY, "20800"),
            (TARGET, SELL, "21200"),
        ):
            daemon = self.start(config)
            daemon.move(MNQ, "21000")
            self.advance_without_quotes(price)
            daemon.trade(side, 1)
            daemon.advance(3)
            self.assertIsNone(self.price(MNQ))
            self.assert_sound({MNQ: 1 if side is BUY else -1})
            daemon.move(MNQ, price)
            self.assertEqual(self.price(MNQ), Decimal(price))

    def advance_without_quotes(self, price: str) -> None:
        """Let the market move while no quote arrives."""
        receive_quote = self.daemon.engine.receive_quote
        self.daemon.engine.receive_quote = lambda _quote: None
        self.daemon.move(MNQ, price)
        self.daemon.engine.receive_quote = receive_quote

    def test_contracts_are_added_before_the_quotes_that_led_to_it(self) -> None:
        daemon = self.hold(LOSS)
        daemon.move(MNQ, "21000")
        self.advance_without_quotes("21200")
        daemon.trade(BUY, 4)
        daemon.advance(1)
        self.assert_sound({MNQ: 5})
        daemon.move(MNQ, "21100")
        daemon.advance(1)
        self.assertEqual(daemon.held, {})

    def test_a_reversal_before_the_quotes_that_led_to_it(self) -> None:
        daemon = self.hold(LOSS)
        daemon.move(MNQ, "21000")
        self.advance_without_quotes("20800")
        daemon.trade(SELL, 2)
        daemon.advance(1)
        self.assert_sound({MNQ: -1})

    def sell_before_the_quotes(self) -> PracticeDaemon:
        """Sell after a move whose quotes do not arrive."""
        daemon = self.start(LOSS)
        daemon.move(MNQ, "21000")
        daemon.advance(5)
        self.advance_without_quotes("20800")
        daemon.trade(SELL, 1)
        daemon.advance(1)
        return daemon

    def test_a_quote_that_is_late_is_older_than_the_position(self) -> None:
        daemon = self.sell_before_the_quotes()
        self.quote(MNQ, seconds=-2, bestBid="21000", bestAsk="21000.25", lastPrice="21000")
        daemon.advance(1)
        self.assert_sound({MNQ: -1})

    def test_a_quote_that_repeats_no_price_does_not_value_a_new_position(self) -> None:
        self.sell_before_the_quotes()
        self.quote(MNQ)
        self.assertIsNone(self.price(MNQ))
        self.quote(MNQ, bestAsk="20800.25", lastPrice="20800")
        self.assertEqual(self.price(MNQ), Decimal(20800))

    def test_a_price_that_lasts_for_five_seconds_after_an_entry_values_it(self) -> None:
        daemon = self.start(LOSS)
        daemon.move(MNQ, "21000")
        # The market moves at once, and the position is reported a moment later.
        daemon.gateway.faults = Faults(position_delay_seconds=0.1)
        daemon.trade(BUY, 1)
        daemon.move(MNQ, "20800")
        daemon.advance(0.5)
        for _second in range(4):
            daemon.advance(1)
            self.quote(MNQ)
        self.assertIsNone(self.price(MNQ))
        self.assert_sound({MNQ: 1})
        daemon.advance(1)
        # Feeds may repeat the time, too.
        stamp = daemon.state.quotes[MNQ].timestamp.isoformat()
        daemon.payloads.market_event("GatewayQuote", MNQ, {"timestamp": stamp})
        self.assertEqual(self.price(MNQ), Decimal(20800))
        daemon.advance(1)
        self.assertEqual(daemon.held, {})

    def test_quotes_of_a_slow_clock_value_a_position_after_ten_seconds(self) -> None:
        daemon = self.start(LOSS)
        daemon.move(MNQ, "21000")
        daemon.stopped_for(minutes=5)
        daemon.trade(BUY, 1)
        for _ in range(12):
            self.quote(MNQ, seconds=-60, lastPrice="20800", bestBid="20800")
            daemon.advance(1)
        self.assertEqual(daemon.held, {})

    def test_a_position_that_is_dated_ahead_is_valued_all_the_same(self) -> None:
        daemon = self.start(LOSS)
        daemon.move(MNQ, "21000")
        (daemon.payloads.user_event)(
            "GatewayUserPosition",
            {
                "id": 1,
                "accountId": ACCOUNT,
                "contractId": MNQ,
                "creationTimestamp": (daemon.now() + timedelta(days=1)).isoformat(),
                "type": 1,
                "size": 1,
                "averagePrice": Decimal(21000),
            },
        )
        self.assertIsNone(self.price(MNQ))
        for _ in range(11):
            daemon.advance(1)
            self.quote(MNQ, lastPrice="20900", bestBid="20900", bestAsk="20900.25")
        self.assertEqual(self.price(MNQ), Decimal(20900))

    def test_each_account_has_positions_and_marks_of_its_own(self) -> None:
        daemon = self.start(LOSS)
        daemon.move(MNQ, "21000")
        daemon.trade(BUY, 1)
        daemon.advance(1)
        daemon.move(MNQ, "20900")
        self.assertEqual(self.price(MNQ), Decimal(20900))
        daemon.advance(1)
        daemon.trade(BUY, 1, ES)
        self.assertEqual(self.price(MNQ), Decimal(20900))


class LatestQuoteTests(MarksTestCase):
    """What becomes of concern is valued by the latest quote that the feed knows."""

    def test_a_position_whose_events_were_lost_is_found(self) -> None:
        for contract_id, start, end in ((MNQ, "21000", "20840"), (ES, "5000", "4990")):
            daemon = self.start(LOSS)
            daemon.move(contract_id, start)
            daemon.gateway.faults = Faults(lost_events=1.0)
            daemon.trade(BUY, 1, contract_id)
            daemon.gateway.faults = NO_FAULTS
            daemon.advance(2)
            daemon.move(contract_id, end)
            daemon.advance(65)
            self.assertEqual(daemon.held, {}, contract_id)

    def test_a_position_is_opened_while_the_feed_is_lost(self) -> None:
        daemon = self.start(LOSS)
        daemon.move(ES, "5000")
        daemon.engine.feed_lost(FEED_LOST)
        daemon.gateway.faults = Faults(lost_events=1.0)
        daemon.trade(BUY, 1, ES)
        daemon.move(ES, "4990")
        daemon.advance(ONE_ROUND)
        self.assertEqual(daemon.held, {})

    def test_a_position_is_opened_while_no_daemon_runs(self) -> None:
        daemon = self.start(LOSS)
        daemon.move(MNQ, "21000")
        daemon.advance(2)
        daemon.kill()
        daemon.move(MNQ, "21200")
        daemon.trade(BUY, 1)
        daemon.restart()
        daemon.advance(2)
        self.assertIsNone(self.price(MNQ))
        self.assert_sound({MNQ: 1})

    def test_a_later_run_believes_what_it_receives_whatever_the_stamps_say(self) -> None:
        daemon = self.hold(LOSS)
        self.quote(MNQ, seconds=2, bestBid="21000", bestAsk="21000.25", lastPrice="21000")
        daemon.advance(1)
        daemon.kill()
        daemon.restart()
        self.assertEqual(self.price(MNQ), Decimal(21000))
        daemon.move(MNQ, "20840")
        self.assertEqual(daemon.state.quotes[MNQ].last, Decimal(20840))
        daemon.advance(1)
        self.assertEqual(daemon.held, {})

    def test_an_outdated_quote_is_not_in_the_journal(self) -> None:
        daemon = self.start(LOSS)
        daemon.move(MNQ, "21000")
        daemon.advance(2)
        daemon.trade(BUY, 1)
        daemon.advance(2)
        daemon.kill()
        daemon.restart()
        self.assertNotIn(MNQ, daemon.state.quotes)

    def test_a_quote_of_the_journal_stays_until_there_is_one_for_the_position(self) -> None:
        daemon = self.start(LOSS)
        daemon.move(MNQ, "21000")
        daemon.advance(2)
        daemon.kill()
        daemon.restart()
        daemon.trade(BUY, 1)
        self.quote(MNQ, seconds=-2, bestBid="20800", bestAsk="20800.25", lastPrice="20800")
        daemon.advance(2)
        self.assert_sound({MNQ: 1})
        self.assertEqual(daemon.state.quotes[MNQ].last, 21000)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_working_order_brings_the_latest_quote(self) -> None:
        daemon = self.start(LOSS)
        daemon.move(ES, "5000")
        daemon.move(ES, "4990")
        self.assertNotIn(ES, daemon.state.quotes)
        daemon.trade(BUY, 1, ES, limitPrice="4900")
        self.assertEqual(daemon.state.quotes[ES].last, Decimal(4990))
        self.assertEqual(daemon.news(MarketQuote)[-1].last, Decimal(4990))


class UnbelievedPriceTests(MarksTestCase):
    """A last price far from bid and ask, or zero, values nothing."""

    def test_it_closes_nothing_and_is_logged_once(self) -> None:
        for config in (LOSS, TOTAL_LOSS, TARGET):
            for side, last in (
                (BUY, "0"),
                (SELL, "0"),
                (BUY, "2100"),
                (BUY, "42000"),
                (SELL, "20000"),
            ):
                with capturedLogs() as captured:
                    daemon = self.hold(config, side)
                    for _ in range(3):
                        self.quote(MNQ, lastPrice=last)
                        daemon.advance(1)
                self.assert_sound({MNQ: 1 if side is BUY else -1})
                self.assertEqual(
                    self.price(MNQ), Decimal("20999.75" if side is BUY else "21000.25")
                )
                warnings = [
                    each
                    for each in captured
                    if each["log_level"] is LogLevel.warn and "not believed" in each["log_format"]
                ]
                self.assertEqual(len(warnings), 1)

    def test_the_loss_is_seen_by_bid_and_ask(self) -> None:
        for side, bid in ((BUY, "20850"), (SELL, "21150")):
            daemon = self.hold(LOSS, side)
            ask = str(Decimal(bid) + 1)
            self.quote(MNQ, lastPrice="0", bestBid=bid, bestAsk=ask)
            daemon.advance(1)
            self.assertEqual(daemon.held, {})

    def test_what_goes_out_is_what_the_broker_said(self) -> None:
        daemon = self.hold(LOSS)
        self.quote(MNQ, lastPrice="0")
        self.assertEqual(daemon.news(MarketQuote)[-1].last, 0)

    def test_the_latest_trade_far_from_an_old_bid_and_ask_is_believed(self) -> None:
        """riskd asks for it while no quotes come, so it says nothing of bid and ask."""
        daemon = self.hold(LOSS)

        def trade() -> None:
            payload = {"lastPrice": Decimal(20000), "timestamp": daemon.now().isoformat()}
            daemon.payloads.latest_trade(MNQ, payload)
            daemon.advance(1)

        daemon.advance(8)
        trade()
        self.assertEqual(daemon.held, {MNQ: 1})
        daemon.advance(2)
        trade()
        self.assertEqual(daemon.held, {})

    def test_a_last_price_far_from_an_unchanged_bid_and_ask_is_not_believed(self) -> None:
        daemon = self.hold(LOSS)
        for _ in range(3):
            daemon.advance(15)
            self.quote(MNQ, lastPrice="20000")
            daemon.advance(1)
        self.assert_sound({MNQ: 1})

    def test_crude_oil_below_zero(self) -> None:
        crude = "CON.F.US.MCLE.F27"
        daemon = self.start("[rules.daily_unrealized_loss]\nloss_limit = 100\n")
        daemon.move(crude, "0.50")
        daemon.trade(BUY, 1, crude)
        daemon.advance(1)
        for last in ("0.01", "0", "-0.01", "-0.48"):
            daemon.move(crude, last)
            daemon.advance(1)
            self.assertEqual(self.price(crude), Decimal(last))
        self.assert_sound({crude: 1})
        daemon.move(crude, "-0.51")
        daemon.advance(1)
        self.assertEqual(daemon.held, {})

    def test_the_open_pnl_is_by_the_same_price(self) -> None:
        daemon = self.hold(LOSS)
        self.quote(MNQ, lastPrice="0")
        (held,) = daemon.state.open_positions
        self.assertEqual(position_pnl(daemon.state, held).amount, Decimal("-1.00"))
