"""A trade that an answer lists again is left alone; anything else in it is applied."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from riskd.engine import balances, intake
from riskd.engine.guarded_account import GuardedAccount
from riskd.model.account import AccountState, with_day_figures
from riskd.model.broker import BrokerTrade
from riskd.model.moments import NEVER
from riskd.model.money import ZERO
from tests.support.practice_daemon import ACCOUNT, MNQ, MONDAY_NOON, PracticeDaemon

_FULL = BrokerTrade(
    id=1,
    contract_id=MNQ,
    profit_and_loss=Decimal("-5.00"),
    quantity=1,
    execution_time=MONDAY_NOON,
    timestamp=MONDAY_NOON,
    is_full_turn=True,
    side=None,
    price=None,
    order_id=7,
    fees=Decimal("0.37"),
    commissions=ZERO,
    is_voided=False,
)
_HALF = msgspec.structs.replace(_FULL, profit_and_loss=ZERO, is_full_turn=False)

_CHANGES: tuple[dict[str, object], ...] = (
    {"is_voided": True},
    {"fees": Decimal("0.74")},
    {"execution_time": MONDAY_NOON - timedelta(seconds=9)},
    {"execution_time": MONDAY_NOON - timedelta(hours=30)},
    {"execution_time": NEVER},
    {"is_full_turn": True, "profit_and_loss": Decimal("-7.00")},
    {"is_full_turn": False, "profit_and_loss": ZERO},
)
_VERSIONS = [
    msgspec.structs.replace(trade, **change)
    for trade in (_FULL, _HALF)
    for change in ({}, {}, *_CHANGES)
]


def _what_follows(news: Iterable[tuple[BrokerTrade, bool]]) -> tuple[object, ...]:
    """Return the state after events and answers, each answer twice, and all that was broadcast."""
    daemon = PracticeDaemon("[rules.daily_realized_loss]\nloss_limit = 8\n")
    try:
        daemon.advance(3)
        for trade, is_event in news:
            if is_event:
                daemon.engine.receive(ACCOUNT, trade)
            daemon.advance(2, step=1)
            for _time in range(2):
                daemon.engine._broker.apply(ACCOUNT, trade, daemon.clock.seconds())
        past = daemon.engine.accounts[ACCOUNT].account.truth._past
        asked = {thing: each.asked_at for thing, each in past.items()}
        return daemon.state, asked, [event.data for event in daemon.told]
    finally:
        daemon.close()


class KnownTradesTests(SynchronousTestCase):
    @given(st.lists(st.tuples(st.sampled_from(_VERSIONS), st.booleans()), min_size=2, max_size=6))
    @settings(max_examples=3)
    def test_to_leave_it_alone_changes_nothing(self, news: list[tuple[BrokerTrade, bool]]) -> None:
        left_alone = _what_follows(news)
        patch = MonkeyPatcher((intake, "_adds_nothing", lambda _state, _trade: False))
        self.assertEqual(patch.runWithPatches(_what_follows, news), left_alone)

    def test_what_is_known_is_left_alone_and_each_change_is_applied(self) -> None:
        applied: list[BrokerTrade] = []
        apply = intake.Intake._apply_trade

        def note(
            this: intake.Intake, guarded: GuardedAccount, trade: BrokerTrade, *, is_event: bool
        ) -> None:
            applied.append(trade)
            apply(this, guarded, trade, is_event=is_event)

        self.patch(intake.Intake, "_apply_trade", note)
        answers = []
        for number, version in enumerate(_VERSIONS):
            known = _FULL if number < len(_VERSIONS) // 2 else _HALF
            answers += [msgspec.structs.replace(each, id=number) for each in (known, version)]
        _what_follows((each, False) for each in answers)
        for number, version in enumerate(_VERSIONS):
            known = answers[2 * number]
            changed = msgspec.structs.replace(version, id=number)
            versions = list(dict.fromkeys((known, changed)))
            of_this = [each for each in applied if each.id == number]
            self.assertEqual(list(dict.fromkeys(of_this)), versions)
            if versions == [known]:
                self.assertEqual(len(of_this), 1)

    def test_a_trade_of_the_day_before_that_is_listed_again_is_left_alone(self) -> None:
        applied: list[int] = []
        apply = intake.Intake._apply_trade

        def note(
            this: intake.Intake, guarded: GuardedAccount, trade: BrokerTrade, *, is_event: bool
        ) -> None:
            applied.append(trade.id)
            apply(this, guarded, trade, is_event=is_event)

        self.patch(intake.Intake, "_apply_trade", note)
        before = MONDAY_NOON - timedelta(hours=30)
        trades = [
            msgspec.structs.replace(each, id=number, execution_time=before, timestamp=before)
            for number, each in enumerate((_FULL, _HALF))
        ]
        state, *_rest = _what_follows((each, False) for each in trades)
        self.assertEqual(applied, [0, 1])
        assert isinstance(state, AccountState)
        self.assertEqual(state.risk.earlier_trades, {0: before})

    def test_the_executions_of_a_day_are_put_in_order_only_when_one_has_changed(self) -> None:
        daemon = PracticeDaemon("[rules.daily_realized_loss]\nloss_limit = 8\n")
        self.addCleanup(daemon.close)
        daemon.advance(3)
        ordered: list[AccountState] = []

        def note(state: AccountState) -> AccountState:
            ordered.append(state)
            return with_day_figures(state)

        self.patch(balances, "with_day_figures", note)
        for fees in ("0.37", "0.37", "0.74"):
            trade = msgspec.structs.replace(_FULL, fees=Decimal(fees))
            daemon.engine._broker.apply(ACCOUNT, trade, daemon.clock.seconds())
            daemon.engine.accounts[ACCOUNT].balances.order_day()
            self.assertEqual(daemon.state.balance.charges, Decimal(fees))
        self.assertEqual([each.balance.charges for each in ordered], [ZERO, Decimal("0.37")])
