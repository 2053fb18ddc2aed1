"""Enforcement actions: what each of them says on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.engine.enforcement.actions import flatten_action, rejection_action, stop_action
from riskd.model.account import Flattening
from riskd.model.events import Action, LockoutSet, OrderSide
from riskd.model.wire import encode_data
from riskd.rules.interface import PlaceStop, RejectOrder

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)


def lock(rule_id: str, seconds: int | None) -> LockoutSet:
    until = None if seconds is None else NOW + timedelta(seconds=seconds)
    return LockoutSet(reason="why", locked_until=until, rule_id=rule_id, locked_at=NOW)


def flatten(
    keep: dict[str, int] | None = None,
    action: Action = Action.CLOSE_ALL_POSITIONS,
    locks: tuple[LockoutSet, ...] = (),
) -> Flattening:
    return Flattening(
        action=action, rule_id="RULE-001", reason="why", begun=NOW, keep=keep, locks=locks
    )


class FlattenTests(SynchronousTestCase):
    def details(self, plan: Flattening) -> str:
        action = flatten_action(plan, success=True, closed=2, canceled=1, now=NOW)
        return encode_data(action).partition('"details":')[2]

    def test_details_carry_the_contract_or_the_lock(self) -> None:
        counts = '"positions_closed":2,"orders_canceled":1'
        self.assertEqual(self.details(flatten()), f"{{{counts}}}}}")
        self.assertEqual(self.details(flatten({"A": 1})), f'{{{counts},"contractId":"A"}}}}')
        cooldown = flatten(None, Action.COOLDOWN, (lock("RULE-007", 300),))
        self.assertEqual(self.details(cooldown), f'{{{counts},"cooldown_seconds":300}}}}')
        day = flatten(None, Action.CLOSE_ALL_AND_LOCKOUT, (lock("RULE-003", 9000),))
        self.assertEqual(
            self.details(day), f'{{{counts},"locked_until":"2026-11-23T20:30:00Z"}}}}'
        )
        permanent = flatten(None, Action.CLOSE_ALL_AND_LOCKOUT, (lock("a", 5), lock("b", None)))
        self.assertEqual(self.details(permanent), f'{{{counts},"locked_until":null}}}}')


class OrderTests(SynchronousTestCase):
    def test_a_rejection_names_the_order(self) -> None:
        command = RejectOrder(reason="No stop", order_id=7)
        action = rejection_action("RULE-008", command, success=True, canceled=1, now=NOW)
        self.assertEqual((action.action, action.success), (Action.REJECT_ORDER, True))
        self.assertEqual((action.details.order_id, action.details.orders_canceled), (7, 1))

    def test_a_stop_is_placed_when_the_broker_accepted_an_order(self) -> None:
        command = PlaceStop(
            reason="r", contract_id="C", side=OrderSide.SELL, size=2, stop_price=Decimal(5)
        )
        for order_id, success, named in ((7, True, '"order_id":7'), (None, False, "")):
            action = stop_action("RULE-012", command, order_id, NOW)
            self.assertEqual((action.action, action.success), (Action.AUTO_STOP_LOSS, success))
            self.assertEqual((action.details.size, action.details.stop_price), (2, Decimal(5)))
            self.assertIn(named, encode_data(action))
