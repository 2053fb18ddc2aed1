"""The steps that a hub takes for what a client sends."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.server.hub_conversation import (
    MARKET_HUB,
    USER_HUB,
    Conversation,
    End,
    Send,
    Step,
    Streams,
    Subscribe,
    Topic,
    Unsubscribe,
    WatchSilence,
)

HELLO = b'{"protocol":"json","version":1}\x1e'
ACCOUNT, MNQ = 123, "CON.F.US.MNQ.M26"


class ConversationDriver:
    """A conversation, after its handshake unless ``hello`` is empty."""

    def __init__(self, streams: Streams = USER_HUB, hello: bytes = HELLO) -> None:
        self.conversation = Conversation(streams, lambda topic: topic.key in (None, ACCOUNT, MNQ))
        if hello:
            assert self.conversation.receive(hello) == [Send(b"{}\x1e")]

    def say(self, **fields: Any) -> list[Step]:
        return self.conversation.receive(json.dumps(fields).encode() + b"\x1e")

    def invoke(self, target: str, *arguments: Any, name: str | None = "1") -> list[Step]:
        fields = {"type": 1, "target": target, "arguments": list(arguments)}
        return self.say(**fields, **({} if name is None else {"invocationId": name}))


def done(name: str = "1") -> Send:
    return Send(f'{{"type":3,"invocationId":"{name}","result":0}}\x1e'.encode())


def error_of(steps: list[Step]) -> str:
    """Return the error of a completion that is the only step."""
    (step,) = steps
    assert isinstance(step, Send)
    completion = json.loads(step.record[:-1])
    assert (completion["type"], completion["invocationId"]) == (3, "1")
    return str(completion["error"])


class HandshakeTests(SynchronousTestCase):
    def test_any_version_of_json_is_accepted(self) -> None:
        for version in (b"0", b"1", b"2"):
            ConversationDriver(hello=b'{"protocol":"json","version":' + version + b"}\x1e")

    def test_another_encoding_ends_the_conversation(self) -> None:
        driver = ConversationDriver(hello=b"")
        refused, end = driver.say(protocol="messagepack", version=1)
        assert isinstance(refused, Send)
        self.assertIn("only json", json.loads(refused.record[:-1])["error"])
        self.assertEqual((end, driver.conversation.has_begun), (End(), False))

    def test_records_in_the_bytes_of_the_handshake_are_received(self) -> None:
        driver = ConversationDriver(hello=b"")
        ping = b'{"type":6}\x1e'
        self.assertEqual(
            driver.conversation.receive(HELLO + ping), [Send(b"{}\x1e"), WatchSilence()]
        )

    def test_bytes_may_arrive_in_any_pieces(self) -> None:
        driver = ConversationDriver(hello=b"")
        steps = [
            step
            for i in range(len(HELLO))
            for step in driver.conversation.receive(HELLO[i : i + 1])
        ]
        self.assertEqual(steps, [Send(b"{}\x1e")])


class MethodTests(SynchronousTestCase):
    def test_every_stream_can_be_subscribed_and_unsubscribed(self) -> None:
        for streams, subject, arguments, topic in (
            (USER_HUB, "Accounts", (), Topic("GatewayUserAccount")),
            (USER_HUB, "Orders", (ACCOUNT,), Topic("GatewayUserOrder", ACCOUNT)),
            (USER_HUB, "Positions", (ACCOUNT,), Topic("GatewayUserPosition", ACCOUNT)),
            (USER_HUB, "Trades", (ACCOUNT,), Topic("GatewayUserTrade", ACCOUNT)),
            (MARKET_HUB, "ContractQuotes", (MNQ,), Topic("GatewayQuote", MNQ)),
            (MARKET_HUB, "ContractTrades", (MNQ,), Topic("GatewayTrade", MNQ)),
            (MARKET_HUB, "ContractMarketDepth", (MNQ,), Topic("GatewayDepth", MNQ)),
        ):
            driver = ConversationDriver(streams)
            # The completion comes first: no event overtakes it.
            joined = driver.invoke(f"Subscribe{subject}", *arguments)
            self.assertEqual(joined, [done(), Subscribe(topic)])
            left = driver.invoke(f"Unsubscribe{subject}", *arguments, name="2")
            self.assertEqual(left, [done("2"), Unsubscribe(topic)])

    def test_an_invocation_without_an_id_gets_no_completion(self) -> None:
        driver = ConversationDriver()
        joined = driver.invoke("SubscribeOrders", ACCOUNT, name=None)
        self.assertEqual(joined, [Subscribe(Topic("GatewayUserOrder", ACCOUNT))])
        for target in ("Heartbeat", "SubscribeNothing"):
            self.assertEqual(driver.invoke(target, name=None), [])

    def test_unknown_methods_and_other_cases_are_errors(self) -> None:
        driver = ConversationDriver()
        for target in ("Heartbeat", "subscribeOrders", "SubscribeContractQuotes", "", "Orders"):
            self.assertIn("Unknown hub method", error_of(driver.invoke(target, ACCOUNT)))

    def test_an_unknown_account_or_contract_cannot_be_subscribed(self) -> None:
        self.assertIn("there is no 9", error_of(ConversationDriver().invoke("SubscribeTrades", 9)))
        quotes = ConversationDriver(MARKET_HUB).invoke("SubscribeContractQuotes", "CON.F.US.X.M26")
        self.assertIn("CON.F.US.X.M26", error_of(quotes))

    def test_arguments_must_be_as_documented(self) -> None:
        for streams, target, arguments in (
            (USER_HUB, "SubscribeOrders", ()),
            (USER_HUB, "SubscribeOrders", ("123",)),
            (USER_HUB, "SubscribeOrders", (True,)),
            (USER_HUB, "SubscribeOrders", (123.5,)),
            (USER_HUB, "SubscribeOrders", (123, 456)),
            (USER_HUB, "SubscribeOrders", ([],)),
            (USER_HUB, "SubscribeAccounts", (123,)),
            (MARKET_HUB, "SubscribeContractQuotes", (5,)),
            (MARKET_HUB, "SubscribeContractQuotes", (None,)),
        ):
            self.assertIn(target, error_of(ConversationDriver(streams).invoke(target, *arguments)))


class EndTests(SynchronousTestCase):
    def test_a_close_record_ends_the_conversation(self) -> None:
        self.assertEqual(ConversationDriver().say(type=7), [End()])

    def test_a_record_that_is_no_message_ends_it_with_a_reason(self) -> None:
        for record in (b"x", b"[]", b"{}", b'{"type":1}', b"\xff"):
            refused, end = ConversationDriver().conversation.receive(record + b"\x1e")
            assert isinstance(refused, Send)
            farewell = json.loads(refused.record[:-1])
            self.assertEqual((farewell["type"], end), (7, End()))
            self.assertTrue(farewell["error"])

    def test_records_before_a_bad_one_are_carried_out(self) -> None:
        driver = ConversationDriver()
        steps = driver.conversation.receive(b'{"type":6}\x1ex\x1e')
        self.assertEqual((steps[0], steps[-1]), (WatchSilence(), End()))

    def test_other_kinds_of_messages_are_ignored(self) -> None:
        for kind in (2, 4, 5, 8, 9):
            self.assertEqual(ConversationDriver().say(type=kind), [])
        self.assertEqual(ConversationDriver().say(type=3, invocationId="1"), [])

    def test_a_logged_out_client_may_only_unsubscribe(self) -> None:
        driver = ConversationDriver()
        (step,) = driver.conversation.log_out()
        self.assertEqual(step, Send(b'{"type":1,"target":"GatewayLogout","arguments":[]}\x1e'))
        self.assertIn("session has ended", error_of(driver.invoke("SubscribeOrders", ACCOUNT)))
        topic = Topic("GatewayUserOrder", ACCOUNT)
        self.assertEqual(driver.invoke("UnsubscribeOrders", ACCOUNT), [done(), Unsubscribe(topic)])

    @given(st.lists(st.binary(max_size=60), max_size=8))
    def test_any_bytes_are_received_without_an_error(self, pieces: list[bytes]) -> None:
        driver = ConversationDriver()
        for piece in pieces:
            driver.conversation.receive(piece)
