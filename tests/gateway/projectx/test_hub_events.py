"""Every shape in which the hubs wrap events."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.fields import Payload
from riskd.gateway.projectx.hub_events import is_logout, quote_events, user_events
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


def events_of(target: str, *arguments: Any) -> list[tuple[str, Payload]]:
    return list(user_events(Invocation(target, arguments)))


def quotes_of(*arguments: Any, target: str = "GatewayQuote") -> list[tuple[str, Payload]]:
    return list(quote_events(Invocation(target, arguments)))


class UserEventTests(SynchronousTestCase):
    """Events of accounts."""

    def test_wrapped_bare_and_listed_events_are_the_same(self) -> None:
        event = ("GatewayUserPosition", POSITION)
        for argument in (
            POSITION,
            {"action": 1, "data": POSITION},
            {"action": 0, "data": POSITION},
            [POSITION],
            [{"action": 1, "data": POSITION}],
            {"action": 1, "data": [POSITION]},
        ):
            self.assertEqual(events_of("GatewayUserPosition", argument), [event])

    def test_several_events_keep_their_order(self) -> None:
        other = {**POSITION, "id": 2}
        self.assertEqual(
            [
                payload["id"]
                for _, payload in events_of(
                    "GatewayUserPosition", [{"action": 1, "data": POSITION}, other], POSITION
                )
            ],
            [1, 2, 1],
        )

    def test_names_are_matched_without_case_and_given_as_documented(self) -> None:
        for name in (
            "GatewayUserAccount",
            "GatewayUserPosition",
            "GatewayUserOrder",
            "GatewayUserTrade",
        ):
            for spelled in (name, name.lower(), name.upper()):
                self.assertEqual(events_of(spelled, {"id": 1}), [(name, {"id": 1})])

    def test_a_deleted_position_has_size_0(self) -> None:
        for argument in (
            {"action": 2, "data": POSITION},
            {"action": Decimal(2), "data": [POSITION]},
            [{"action": 2, "data": POSITION}],
        ):
            ((_, payload),) = events_of("GatewayUserPosition", argument)
            self.assertEqual(payload, {**POSITION, "size": 0})
        self.assertEqual(POSITION["size"], 2)

    def test_a_deleted_order_is_unchanged(self) -> None:
        order = {"id": 7, "status": 3, "size": 1}
        ((_, payload),) = events_of("GatewayUserOrder", {"action": 2, "data": order})
        self.assertEqual(payload, order)

    def test_a_bare_payload_may_have_a_field_named_as_in_the_wrapper(self) -> None:
        for payload in ({"action": 1, "id": 3}, {"data": {}, "id": 3}, {"action": 1, "data": 5}):
            self.assertEqual(
                events_of("GatewayUserOrder", payload), [("GatewayUserOrder", payload)]
            )

    def test_other_targets_give_no_user_events(self) -> None:
        for target in ("GatewayQuote", "GatewayLogout", "GatewayUser", ""):
            self.assertEqual(events_of(target, POSITION), [])

    def test_arguments_that_are_not_payloads_are_ignored(self) -> None:
        self.assertEqual(events_of("GatewayUserOrder", None, 5, "text", [], [[None]]), [])
        self.assertEqual(events_of("GatewayUserOrder"), [])


class QuoteEventTests(SynchronousTestCase):
    """Events of markets."""

    def test_the_first_argument_is_the_contract(self) -> None:
        quote = {"symbol": "F.US.MNQ", "lastPrice": Decimal("21000.25")}
        self.assertEqual(quotes_of(MNQ, quote), [(MNQ, quote)])
        self.assertEqual(quotes_of(MNQ, quote, target="gatewayquote"), [(MNQ, quote)])

    def test_a_list_gives_several_quotes(self) -> None:
        self.assertEqual(
            quotes_of(MNQ, [{"bestBid": 1}, {"bestAsk": 2}]),
            [(MNQ, {"bestBid": 1}), (MNQ, {"bestAsk": 2})],
        )

    def test_without_a_contract_there_is_no_quote(self) -> None:
        for arguments in ((), ({"lastPrice": 1},), (None, {"lastPrice": 1}), (5, {}), ([MNQ], {})):
            self.assertEqual(quotes_of(*arguments), [])

    def test_trades_and_depth_are_not_quotes(self) -> None:
        for target in ("GatewayTrade", "GatewayDepth", "GatewayUserTrade"):
            self.assertEqual(quotes_of(MNQ, {"price": 1}, target=target), [])


class PropertyTests(SynchronousTestCase):
    """Any JSON."""

    @given(targets, st.lists(json_values, max_size=3))
    def test_any_arguments_give_payloads_or_nothing(
        self, target: str, arguments: list[Any]
    ) -> None:
        invocation = Invocation(target, tuple(arguments))
        for _, payload in (*user_events(invocation), *quote_events(invocation)):
            self.assertIsInstance(payload, dict)

    @given(st.integers(0, 60), st.booleans())
    def test_any_nesting_is_read_without_an_error(self, depth: int, is_wrapped: bool) -> None:
        argument: Any = POSITION
        for _ in range(depth * 50):
            argument = {"action": 1, "data": argument} if is_wrapped else [argument]
        invocation = Invocation("GatewayUserPosition", (argument,))
        self.assertTrue(len(list(user_events(invocation))) <= 1)

    @given(targets, st.lists(json_values, max_size=3))
    def test_arguments_are_not_modified(self, target: str, arguments: list[Any]) -> None:
        before = repr(arguments)
        list(user_events(Invocation(target, tuple(arguments))))
        self.assertEqual(repr(arguments), before)


class LogoutTests(SynchronousTestCase):
    """The broker ends the token."""

    def test_a_logout_is_known_by_its_name_alone(self) -> None:
        for target in ("GatewayLogout", "gatewaylogout", "GATEWAYLOGOUT"):
            self.assertTrue(is_logout(Invocation(target, ())))
            self.assertTrue(is_logout(Invocation(target, ("expired", {}))))
        for target in ("GatewayUserAccount", "Logout", "GatewayLogoutSoon", ""):
            self.assertFalse(is_logout(Invocation(target, ())))
