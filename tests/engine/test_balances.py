"""A broker's balances, whatever their order and delay: agreement, payouts, and what counts in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import NO_FAULTS, Faults
from riskd.engine.balances import Balances
from riskd.engine.intake import Intake
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway import mapping
from riskd.journal.audit_log import BALANCE, read_log
from riskd.journal.reader import read_published
from riskd.model.balance import Balance
from riskd.model.broker import BrokerAccount, BrokerNews, BrokerTrade
from riskd.model.equity import day_start_balance, equity, highest_close, net_pnl
from riskd.model.events import DaemonStatus, Status
from riskd.model.money import ZERO
from tests.support.broker_values import NOON, broker_position, broker_trade
from tests.support.guarded_account import GuardTestCase
from tests.support.practice_daemon import ACCOUNT as GUARDED
from tests.support.practice_daemon import BUY, MNQ, SELL

ACCOUNT = 123
START = Decimal("50000.00")
ROUND, FULL_ROUND = 5, 60
QUIET_SECONDS = 150


class _Nothing:
    """Takes every call, as a journal, a gateway or a risk engine that does nothing."""

    def __getattr__(self, _name: str) -> Callable[..., Any]:
        return lambda *_args, **_more: None


class _Guarded:
    def __init__(self, account: TrackedAccount, balances: Balances) -> None:
        self.account, self.balances, self.risk_engine = account, balances, _Nothing()


@dataclass
class World:
    """A broker, an account that follows it, and a network that delays, doubles and loses.

    :ivar trades: by id, each as the broker last knew it.
    :ivar history: the balance and the trades since each second of the clock.
    :ivar known: the last word on each trade that the account has received.
    """

    balance: Decimal = START
    is_long: bool = False
    trades: dict[int, BrokerTrade] = field(default_factory=dict)
    flows: Decimal = ZERO

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.notes: list[str] = []
        self.mail: list[tuple[float, int, BrokerNews]] = []
        self.sent = 0
        self.history = [(0.0, self.balance, dict(self.trades))]
        self.restart()

    def restart(self) -> None:
        """Begin with an account that knows what the journal has."""
        known = getattr(self, "account", None)
        nothing: Any = _Nothing()
        self.account = TrackedAccount(
            ACCOUNT, (), nothing, lambda _event: None, self.now, self.clock.seconds
        )
        if known is None:
            self.account.count_since(NOON - timedelta(hours=1))
        else:
            # What is in memory alone is lost.
            risk = msgspec.structs.replace(known.state.risk, unmatched={}, is_listing=False)
            self.account.recover(msgspec.structs.replace(known.state, risk=risk))
        self.balances = Balances(self.account, self.clock.seconds, self.notes.append)
        guarded: Any = _Guarded(self.account, self.balances)
        self.intake = Intake(
            {ACCOUNT: guarded},
            nothing,
            nothing,
            self.clock,
            self.now,
            lambda _s: None,
            lambda _at: None,
        )
        self.intake._ensure_contract = lambda _contract_id: None  # type: ignore[method-assign]
        self.asked_at = -1e9

    def now(self) -> Any:
        return NOON + timedelta(seconds=self.clock.seconds())

    # The broker.

    def _changed(self, trade: BrokerTrade, delays: list[float], figures: list[float]) -> None:
        old = self.trades.get(trade.id)
        self.balance += _net(trade) - (ZERO if old is None else _net(old))
        self.trades[trade.id] = trade
        self.send(trade, delays)
        self.report(figures)

    def report(self, delays: list[float]) -> None:
        """Report the balance."""
        self.history.append((self.clock.seconds(), self.balance, dict(self.trades)))
        self.send(BrokerAccount(can_trade=True, balance=self.balance), delays)

    def send(self, news: BrokerNews, delays: list[float]) -> None:
        for delay in delays:
            self.sent += 1
            self.mail.append((self.clock.seconds() + delay, self.sent, news))

    def turn(self, pnl: Decimal | None, charge: Decimal, *delays: list[float]) -> None:
        """Enter, or exit with a P&L."""
        trade = broker_trade(
            id=len(self.trades) + 1,
            at=self.now(),
            profit_and_loss=ZERO if pnl is None else pnl,
            is_full_turn=pnl is not None,
            fees=charge,
        )
        self.is_long = pnl is None
        position = broker_position(size=int(self.is_long), at=self.now(), stamp=self.now())
        self.intake.receive(ACCOUNT, position)
        self._changed(trade, *delays)

    def correct(self, which: int, pnl: Decimal | None, *delays: list[float]) -> None:
        """Void a trade, or amend its P&L."""
        valid = [trade for trade in self.trades.values() if not trade.is_voided]
        if not valid:
            return
        trade = valid[which % len(valid)]
        if pnl is None:
            self._changed(msgspec.structs.replace(trade, is_voided=True), *delays)
        elif trade.is_full_turn:
            self._changed(msgspec.structs.replace(trade, profit_and_loss=pnl), *delays)

    def pay(self, amount: Decimal, delays: list[float]) -> None:
        """Pay out a negative amount, or take a deposit."""
        self.balance += amount
        self.flows += amount
        self.report(delays)

    # Time, and the account.

    def wait(self, seconds: float, trail: float) -> None:
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            self.clock.advance(0.25)
            now = self.clock.seconds()
            due = sorted(each for each in self.mail if each[0] <= now)
            self.mail = [each for each in self.mail if each[0] > now]
            for _at, _number, news in due:
                self.intake.receive(ACCOUNT, news)
            if now % ROUND == 0 and (
                self.balances.asks()
                or self.account.truth.doubt_since is not None
                or now - self.asked_at >= FULL_ROUND
            ):
                self.reconcile(trail)
            self.check()

    def shown(self, trail: float) -> tuple[float, Decimal, dict[int, BrokerTrade]]:
        """What a search shows that trails by so many seconds."""
        latest = self.clock.seconds() - trail
        return ([each for each in self.history if each[0] <= latest] or self.history[:1])[-1]

    def reconcile(self, trail: float) -> None:
        """Ask for the balance and the trades, of which one search trails and the other does not."""
        now = self.asked_at = self.clock.seconds()
        balance = self.shown(max(trail, 0.0))[1]
        self.intake.apply_answer(ACCOUNT, BrokerAccount(can_trade=True, balance=balance), now)
        with self.balances.listing(now):
            for trade in self.shown(max(-trail, 0.0))[2].values():
                self.intake.apply_answer(ACCOUNT, trade, now)
        self.account.truth.settled(now, 1.0)
        self.balances.searched(now, is_complete=True)

    @property
    def known(self) -> Balance:
        return self.account.state.balance

    def check(self) -> None:
        """What counts is never more than what the account knows."""
        balance = self.known
        if balance.is_settled and balance.counted is not None and balance.expected is not None:
            assert balance.counted <= balance.expected
            assert balance.other is None or balance.counted <= balance.other


def _net(trade: BrokerTrade) -> Decimal:
    return ZERO if trade.is_voided else trade.profit_and_loss - trade.charges


AMOUNTS = st.integers(-500_00, 500_00).map(lambda cents: Decimal(cents).scaleb(-2))
CHARGES = st.sampled_from([Decimal("0.37"), Decimal("1.24"), ZERO])
# Lost, at once, a moment late, swapped with what follows, very late, doubled.
DELAYS = st.sampled_from([[], [0.0], [0.25], [1.5], [7.0], [0.0, 0.25], [0.25, 9.0], [2.0, 20.0]])
TRAILS = st.sampled_from([0.0, 0.25, 0.75, -0.25, -0.75])
ACTS = st.one_of(
    st.tuples(st.just("turn"), AMOUNTS, CHARGES, DELAYS, DELAYS),
    st.tuples(st.just("correct"), st.integers(0, 9), st.none() | AMOUNTS, DELAYS, DELAYS),
    st.tuples(st.just("wait"), st.sampled_from([0.25, 1.0, 3.0, 12.0, 70.0]), TRAILS),
    st.tuples(st.just("restart")),
)
FLOWS = st.tuples(st.just("pay"), AMOUNTS.filter(bool), DELAYS)


def act(world: World, what: tuple[Any, ...]) -> None:
    kind, *values = what
    if kind == "turn":
        pnl, *rest = values
        world.turn(pnl if world.is_long else None, *rest)
    elif kind == "restart":
        world.restart()
        world.reconcile(0.0)
    else:
        getattr(world, kind)(*values)


class BalanceOrderTests(SynchronousTestCase):
    """Whatever the order, doubling, delay and loss of events, and a kill at any moment."""

    @given(st.lists(ACTS, max_size=14), st.booleans())
    def test_without_flows_the_balance_is_the_brokers_and_no_payout_is_told(
        self, acts: list[tuple[Any, ...]], is_settled: bool
    ) -> None:
        world = World()
        world.reconcile(0.0)
        if is_settled:
            world.wait(FULL_ROUND + ROUND, 0.0)
        for each in acts:
            act(world, each)
        world.wait(QUIET_SECONDS, 0.5)
        self.assertEqual(world.known.counted, world.balance)
        self.assertTrue(world.known.is_settled)
        self.assertEqual(world.known.flows, 0)
        self.assertEqual(
            [note for note in world.notes if "A payout" in note or "A deposit" in note], []
        )

    @given(st.lists(st.one_of(ACTS, FLOWS), max_size=14))
    def test_with_flows_they_alone_are_told_once_the_account_is_flat(
        self, acts: list[tuple[Any, ...]]
    ) -> None:
        world = World()
        world.reconcile(0.0)
        world.wait(FULL_ROUND + ROUND, 0.0)
        for each in acts:
            act(world, each)
        if world.is_long:
            world.turn(ZERO, ZERO, [0.0], [0.0])
        world.wait(QUIET_SECONDS, 0.5)
        self.assertEqual(world.known.counted, world.balance)
        self.assertEqual(world.known.flows, world.flows)


class FigureTests(SynchronousTestCase):
    """What an event or an answer proves, one at a time."""

    def setUp(self) -> None:
        self.world = World()
        self.world.reconcile(0.0)
        self.world.wait(FULL_ROUND + ROUND, 0.0)
        self.balances = self.world.balances

    def test_a_late_copy_of_an_earlier_balance_asks_nothing(self) -> None:
        for pnl in (None, Decimal(100), None, Decimal(100)):
            self.world.turn(pnl, ZERO, [0.0], [0.0])
            self.world.wait(1.0, 0.0)
        for figure, is_asked in ((START + 100, False), (START, False), (START - 7, True)):
            self.balances.reported(figure)
            self.world.clock.advance(1.0)
            self.assertEqual(self.balances.asks(), is_asked, figure)

    def test_a_figure_that_may_be_older_than_an_execution_is_not_believed(self) -> None:
        self.balances.reported(START - 10)
        self.world.wait(1.5, 0.0)
        self.world.turn(None, Decimal("0.37"), [0.0], [])
        self.world.turn(ZERO, ZERO, [0.0], [])
        self.world.wait(0.5, 0.0)
        now = self.world.clock.seconds()
        for sent_at, flows in ((now, ZERO), (now + 2, Decimal("-9.63"))):
            self.balances.reported(START - 10, sent_at)
            self.balances.searched(sent_at, is_complete=True)
            self.assertEqual(self.world.known.flows, flows)

    def test_a_search_that_may_not_show_an_execution_yet_proves_nothing(self) -> None:
        now = self.world.clock.seconds()
        self.balances.reported(START - 10, now)
        for sent_at, flows in ((now, ZERO), (now + 0.75, ZERO), (now + 1, Decimal(-10))):
            self.balances.searched(sent_at, is_complete=True)
            self.assertEqual(self.world.known.flows, flows)

    def test_an_event_alone_proves_nothing_even_if_no_execution_has_come_yet(self) -> None:
        self.balances.reported(START - 10)
        self.world.clock.advance(5.0)
        now = self.world.clock.seconds()
        for is_answered, flows in ((False, ZERO), (True, Decimal(-10))):
            if is_answered:
                self.balances.reported(START - 10, now)
            self.balances.searched(now, is_complete=True)
            self.assertEqual(self.world.known.flows, flows)

    def test_an_incomplete_answer_proves_nothing(self) -> None:
        self.balances.reported(START - 10)
        now = self.world.clock.seconds() + 5
        self.balances.reported(START - 10, now)
        self.balances.searched(now, is_complete=False)
        self.assertEqual(self.world.known.flows, 0)

    def test_a_void_of_an_unknown_trade_may_explain_a_difference(self) -> None:
        void = broker_trade(id=77, profit_and_loss=Decimal(-40), is_voided=True)
        self.world.intake.receive(ACCOUNT, void)
        now = self.world.clock.seconds() + 5
        for figure in (START, START + 40):
            self.balances.reported(figure, now)
            self.world.clock.advance(5.0)
            now = self.world.clock.seconds() + 5
            self.balances.reported(figure, now)
            self.balances.searched(now, is_complete=True)
            self.assertEqual((self.world.known.counted, self.world.known.flows), (figure, 0))
            self.world.intake.receive(ACCOUNT, msgspec.structs.replace(void, id=78))


class DaemonTests(GuardTestCase):
    """A daemon on the practice exchange, whose broker pays out, corrects, and reports late."""

    def setUp(self) -> None:
        super().setUp()
        self.daemon.advance(70)

    @property
    def balance(self) -> Balance:
        return self.daemon.state.balance

    @property
    def brokers(self) -> Decimal:
        found: Decimal = self.daemon.gateway.exchange.store.account(GUARDED)["balance"]
        return found

    def told(self) -> list[str]:
        """The sentences about balances that clients have received, and that the log has."""
        self.daemon.advance(2)
        sentences = [
            each.message for each in self.daemon.news(DaemonStatus) if "$" in each.message
        ]
        lines = read_log(self.daemon.directory, GUARDED)
        self.assertEqual(
            [each.data["message"] for each in lines if each.kind == BALANCE], sentences
        )
        return sentences

    def pay(self, amount: str) -> None:
        self.daemon.gateway.transfer(GUARDED, Decimal(amount))

    def test_the_balance_follows_each_trade_with_its_charges(self) -> None:
        self.assertEqual(self.balance.counted, START)
        self.daemon.trade(BUY, 2)
        self.assertEqual(self.balance.counted, self.brokers)
        self.assertLess(self.brokers, START)
        self.daemon.move(MNQ, "21010")
        # Bid and ask are a tick beside the last price: bought at 21000.25, and 21009.75 is bid.
        self.assertEqual(equity(self.daemon.state), self.brokers + 38)
        self.daemon.trade(SELL, 2)
        self.assertEqual(equity(self.daemon.state), self.brokers)
        self.assertEqual(net_pnl(self.daemon.state), self.brokers - START)
        self.assertEqual(self.told(), [])

    def test_a_payout_while_flat_is_told_and_no_loss(self) -> None:
        self.pay("-1500")
        self.daemon.advance(12)
        self.assertEqual(self.told(), ["A payout of $1,500.00: account 123 has $48,500.00"])
        self.assertEqual(
            (self.balance.counted, self.balance.payouts), (Decimal(48500), Decimal(1500))
        )
        self.assertEqual(net_pnl(self.daemon.state), 0)
        self.assertEqual(day_start_balance(self.daemon.state), START)

    def test_a_payout_in_mid_session_waits_until_the_account_is_flat(self) -> None:
        self.daemon.trade(BUY, 1)
        self.pay("-1500")
        self.daemon.advance(12)
        (sentence,) = self.told()
        self.assertIn("the lower balance counts until the account is flat", sentence)
        self.assertEqual((self.balance.counted, self.balance.payouts), (self.brokers, 0))
        self.daemon.trade(SELL, 1)
        self.daemon.advance(12)
        self.assertEqual(self.balance.payouts, Decimal(1500))
        self.assertEqual(self.balance.counted, self.brokers)
        self.assertEqual(len(self.told()), 2)

    def test_a_payout_that_was_reported_before_a_reset_is_one_of_the_day_that_ended(self) -> None:
        """The close had it, so a floor that trails the closes must not stand above that."""
        for amount, is_killed in (("-1500", False), ("-700", True), ("900", False)):
            with self.subTest(amount=amount, is_killed=is_killed):
                self.daemon.trade(BUY, 1)
                self.pay(amount)
                self.daemon.advance(12)
                close = self.brokers
                self.daemon.stopped_for(hours=24)
                self.daemon.advance(2)
                if is_killed:
                    self.daemon.kill()
                    self.daemon.restart()
                    self.daemon.advance(2)
                self.assertNotEqual(self.balance.other, None)
                began = day_start_balance(self.daemon.state)
                self.assertEqual(began, close - max(Decimal(amount), Decimal(0)))
                self.daemon.trade(SELL, 1)
                self.daemon.advance(75)
                self.assertEqual(self.balance.counted, self.brokers)
                self.assertEqual(day_start_balance(self.daemon.state), close)
                self.assertEqual(self.balance.flows, 0)
        self.assertEqual(self.balance.payouts, Decimal(2200))
        self.daemon.trade(BUY, 1)
        self.pay("-300")
        self.daemon.advance(12)
        close = self.brokers
        self.daemon.stopped_for(hours=24)
        self.daemon.advance(12)
        self.pay("-40")
        self.daemon.advance(12)
        self.daemon.trade(SELL, 1)
        self.daemon.advance(75)
        self.assertEqual(self.balance.flows, Decimal(-40))
        self.assertEqual(day_start_balance(self.daemon.state), close)
        self.pay("-100")
        self.daemon.advance(75)
        self.assertEqual(self.balance.flows, Decimal(-140))
        self.assertEqual(day_start_balance(self.daemon.state), close)

    def test_a_balance_that_is_late_doubled_or_before_its_trade_is_no_payout(self) -> None:
        figure = {"id": GUARDED, "canTrade": True, "balance": START}
        self.daemon.trade(BUY, 1)
        for balance in (START, START, START - 300, self.brokers):
            self.daemon.payloads.user_event("GatewayUserAccount", {**figure, "balance": balance})
            self.assertEqual(self.balance.counted, self.brokers)
        self.daemon.advance(70)
        self.assertEqual((self.balance.counted, self.balance.flows), (self.brokers, 0))
        self.assertEqual(self.told(), [])

    def test_lost_events_are_made_good_by_the_searches(self) -> None:
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 1)
        self.daemon.move(MNQ, "20900")
        self.daemon.trade(SELL, 1)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(75)
        self.assertEqual((self.balance.counted, self.balance.flows), (self.brokers, 0))
        self.assertEqual(self.told(), [])

    def test_a_trade_that_is_voided_after_its_day_is_no_payout(self) -> None:
        self.lose(100)
        trade = max(self.daemon.state.trades)
        self.daemon.stopped_for(hours=6)
        self.daemon.advance(2)
        self.assertEqual(self.daemon.state.trades, {})
        close = self.balance.counted
        self.assertEqual(highest_close(self.daemon.state), START)
        self.daemon.gateway.void_trade(GUARDED, trade)
        self.daemon.advance(75)
        assert close is not None
        # What was lost is back, but not in today's net P&L.
        self.assertGreater(self.brokers, close)
        self.assertEqual(self.balance.counted, self.brokers)
        self.assertEqual(net_pnl(self.daemon.state), 0)
        self.assertEqual(self.balance.flows, 0)
        self.assertEqual(self.told(), [])

    def test_a_gain_that_is_voided_after_its_day_lowers_the_balance_alone(self) -> None:
        """Whether an event reports the void, only searches show it, or no daemon runs."""
        for way in ("event", "search", "stop"):
            self.daemon.trade(BUY, 1)
            self.daemon.move(MNQ, "21100")
            self.daemon.trade(SELL, 1)
            self.daemon.move(MNQ, "21000")
            self.daemon.advance(1)
            trade = max(self.daemon.state.trades)
            self.daemon.stopped_for(hours=24)
            self.daemon.advance(2)
            close = self.balance.counted
            assert close is not None
            with self.subTest(way=way):
                if way == "stop":
                    self.daemon.kill()
                self.daemon.gateway.void_trade(GUARDED, trade, is_reported=way == "event")
                if way == "stop":
                    self.daemon.restart()
                self.daemon.advance(75)
                self.assertLess(self.brokers, close - 190)
                self.assertEqual(self.balance.counted, self.brokers)
                self.assertEqual(day_start_balance(self.daemon.state), self.brokers)
                self.assertEqual(net_pnl(self.daemon.state), 0)
                self.assertEqual((self.balance.flows, self.told()), (0, []))

    def test_a_kill_loses_neither_balance_nor_highs(self) -> None:
        self.daemon.trade(BUY, 1)
        self.daemon.move(MNQ, "21100")
        self.daemon.advance(1.25)
        before = self.balance
        self.assertGreater(before.high_net, 190)
        self.daemon.kill()
        published = read_published(self.daemon.directory).accounts[GUARDED].balance
        self.assertEqual(published, msgspec.structs.replace(before, is_settled=False))
        self.daemon.move(MNQ, "21000")
        self.daemon.trade_unseen(SELL, 1)
        self.pay("-100")
        self.daemon.restart()
        self.daemon.advance(12)
        self.assertEqual(self.balance.counted, self.brokers)
        self.assertEqual(self.balance.payouts, Decimal(100))
        self.assertEqual(
            (self.balance.peak, self.balance.high_net), (before.peak, before.high_net)
        )

    def test_a_balance_that_cannot_be_read_is_told_and_hides_no_permission(self) -> None:
        for news, may_trade, seconds in (
            ("event", False, 0),
            ("event", True, 7),
            ("answer", False, 65),
        ):
            payload = {"id": GUARDED, "canTrade": may_trade, "balance": "n/a"}
            account = mapping.account(payload)
            way_back = self.patch(
                self.daemon.gateway, "search_account", lambda _id, a=account: succeed(a)
            )
            with self.subTest(news=news, may_trade=may_trade):
                if news == "event":
                    self.daemon.payloads.user_event("GatewayUserAccount", payload)
                self.daemon.advance(seconds)
                self.assertEqual(self.daemon.state.risk.can_trade, may_trade)
                self.assertEqual(self.balance.counted, START)
                if seconds:
                    status = self.daemon.news(DaemonStatus)[-1]
                    self.assertEqual(status.status, Status.ERROR)
                    self.assertIn("balance of account 123 cannot be read", status.message)
            way_back.restore()
        self.daemon.advance(65)
        self.assertEqual(self.daemon.news(DaemonStatus)[-1].status, Status.RUNNING)

    def test_an_account_first_seen_in_mid_day_starts_from_its_balance(self) -> None:
        self.lose(100)
        lost = self.brokers
        self.daemon.kill()
        self.daemon.lose_files()
        self.daemon.restart()
        self.daemon.advance(70)
        self.assertEqual((self.balance.counted, self.balance.is_settled), (lost, True))
        self.assertEqual(day_start_balance(self.daemon.state), START)
        self.assertEqual(net_pnl(self.daemon.state), lost - START)
        self.assertEqual(self.told(), [])
