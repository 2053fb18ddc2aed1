"""The live feed's events: every shape in which the broker wraps them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.payloads import (
    QuoteEvent,
    UserEvent,
    is_logout,
    quote_events,
    user_events,
)
from riskd.gateway.signalr import Invocation

MNQ = "CON.F.US.MNQ.U25"
POSITION = {"id": 1, "accountId": 123, "contractId": MNQ, "type": 1, "size": 2}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["action", "data", "id", "size"]) | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
targets = st.sampled_from(
    ["GatewayUserPosition", "GatewayUserOrder", "GATEWAYUSERTRADE", "GatewayQuote", "GatewayDepth"]
)


def told(target: str, *arguments: Any) -> list[UserEvent]:
    return list(user_events(Invocation(target, arguments)))


def quoted(*arguments: Any, target: str = "GatewayQuote") -> list[QuoteEvent]:
    return list(quote_events(Invocation(target, arguments)))


class UserEventTests(SynchronousTestCase):
    """Events of accounts."""

    def test_wrapped_bare_or_in_a_list(self) -> None:
        event = UserEvent("GatewayUserPosition", POSITION)
        for argument in (
            POSITION,
            {"action": 1, "data": POSITION},
            {"action": 0, "data": POSITION},
            [POSITION],
            [{"action": 1, "data": POSITION}],
            {"action": 1, "data": [POSITION]},
        ):
            self.assertEqual(told("GatewayUserPosition", argument), [event])

    def test_several_are_told_in_their_order(self) -> None:
        other = {**POSITION, "id": 2}
        self.assertEqual(
            [
                event.payload["id"]
                for event in told(
                    "GatewayUserPosition", [{"action": 1, "data": POSITION}, other], POSITION
                )
            ],
            [1, 2, 1],
        )

    def test_names_are_matched_without_case_and_told_as_documented(self) -> None:
        for name in (
            "GatewayUserAccount",
            "GatewayUserPosition",
            "GatewayUserOrder",
            "GatewayUserTrade",
        ):
            for spelled in (name, name.lower(), name.upper()):
                self.assertEqual(told(spelled, {"id": 1}), [UserEvent(name, {"id": 1})])

    def test_a_deleted_position_is_closed_whatever_it_says(self) -> None:
        for argument in (
            {"action": 2, "data": POSITION},
            {"action": Decimal(2), "data": [POSITION]},
            [{"action": 2, "data": POSITION}],
        ):
            (event,) = told("GatewayUserPosition", argument)
            self.assertEqual(event.payload, {**POSITION, "size": 0})
        self.assertEqual(POSITION["size"], 2)

    def test_a_deleted_order_is_told_as_it_is(self) -> None:
        order = {"id": 7, "status": 3, "size": 1}
        (event,) = told("GatewayUserOrder", {"action": 2, "data": order})
        self.assertEqual(event.payload, order)

    def test_a_payload_of_its_own_may_have_a_field_of_that_name(self) -> None:
        for payload in ({"action": 1, "id": 3}, {"data": {}, "id": 3}, {"action": 1, "data": 5}):
            self.assertEqual(
                told("GatewayUserOrder", payload), [UserEvent("GatewayUserOrder", payload)]
            )

    def test_another_target_tells_nothing_of_accounts(self) -> None:
        for target in ("GatewayQuote", "GatewayLogout", "GatewayUser", ""):
            self.assertEqual(told(target, POSITION), [])

    def test_what_is_no_payload_is_passed_over(self) -> None:
        self.assertEqual(told("GatewayUserOrder", None, 5, "text", [], [[None]]), [])
        self.assertEqual(told("GatewayUserOrder"), [])


class QuoteEventTests(SynchronousTestCase):
    """Events of markets."""

    def test_the_first_argument_is_the_contract(self) -> None:
        quote = {"symbol": "F.US.MNQ", "lastPrice": Decimal("21000.25")}
        self.assertEqual(quoted(MNQ, quote), [QuoteEvent(MNQ, quote)])
        self.assertEqual(quoted(MNQ, quote, target="gatewayquote"), [QuoteEvent(MNQ, quote)])

    def test_several_come_in_a_list(self) -> None:
        self.assertEqual(
            quoted(MNQ, [{"bestBid": 1}, {"bestAsk": 2}]),
            [QuoteEvent(MNQ, {"bestBid": 1}), QuoteEvent(MNQ, {"bestAsk": 2})],
        )

    def test_without_a_contract_there_is_no_quote(self) -> None:
        for arguments in ((), ({"lastPrice": 1},), (None, {"lastPrice": 1}), (5, {}), ([MNQ], {})):
            self.assertEqual(quoted(*arguments), [])

    def test_trades_and_depth_are_no_quotes(self) -> None:
        for target in ("GatewayTrade", "GatewayDepth", "GatewayUserTrade"):
            self.assertEqual(quoted(MNQ, {"price": 1}, target=target), [])


class AnythingTests(SynchronousTestCase):
    """Whatever JSON comes."""

    @given(targets, st.lists(json_values, max_size=3))
    def test_no_arguments_raise_or_are_told_as_anything_but_payloads(
        self, target: str, arguments: list[Any]
    ) -> None:
        invocation = Invocation(target, tuple(arguments))
        for event in (*user_events(invocation), *quote_events(invocation)):
            self.assertIsInstance(event.payload, dict)

    @given(st.integers(0, 60), st.booleans())
    def test_no_nesting_raises(self, depth: int, is_wrapped: bool) -> None:
        argument: Any = POSITION
        for _ in range(depth * 50):
            argument = {"action": 1, "data": argument} if is_wrapped else [argument]
        invocation = Invocation("GatewayUserPosition", (argument,))
        self.assertTrue(len(list(user_events(invocation))) <= 1)

    @given(targets, st.lists(json_values, max_size=3))
    def test_what_comes_is_left_as_it_is(self, target: str, arguments: list[Any]) -> None:
        before = repr(arguments)
        list(user_events(Invocation(target, tuple(arguments))))
        self.assertEqual(repr(arguments), before)


class LogoutTests(SynchronousTestCase):
    """The end of the token."""

    def test_it_is_known_by_its_name_alone(self) -> None:
        for target in ("GatewayLogout", "gatewaylogout", "GATEWAYLOGOUT"):
            self.assertTrue(is_logout(Invocation(target, ())))
            self.assertTrue(is_logout(Invocation(target, ("expired", {}))))
        for target in ("GatewayUserAccount", "Logout", "GatewayLogoutSoon", ""):
            self.assertFalse(is_logout(Invocation(target, ())))
