"""What the hubs are told: every message of the gateway, by the live feed's habits, to whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.gateway.interface import Payload
from riskd.gateway.signalr import Invocation, encode
from riskd.practice.exchange import Message, quote_payload
from riskd.practice.gateway import PracticeGateway
from riskd.practice.server import market_events
from riskd.practice.server.hub_conversation import Topic
from riskd.practice.server.quirks import Habits

QUIET_SECONDS: Final = 10.0
"""A contract that does not change is told again after so long; some clients reconnect after 30 seconds."""

_LOOK_SECONDS: Final = 1.0

QUOTE: Final = "GatewayQuote"
TRADE: Final = "GatewayTrade"
DEPTH: Final = "GatewayDepth"
ACCOUNT: Final = "GatewayUserAccount"

_log = Logger()


class Hearer(Protocol):
    """Somebody who is told of topics."""

    def send(self, record: bytes) -> None:
        """Take a record of the hub protocol."""


class Feed:
    """Tells topics to whoever has joined them.

    :param clock: waits for what is told later.
    :param gateway: whose messages are told.
    :param now: gives the time of day, aware.
    :param random: the dice of the habits.
    """

    def __init__(
        self,
        clock: IReactorTime,
        gateway: PracticeGateway,
        now: Callable[[], datetime],
        random: Random,
    ) -> None:
        self._clock = clock
        self._exchange = gateway.exchange
        self._now = now
        self._random = random
        self._habits = Habits(random, now())
        self._book = market_events.QuoteBook()
        self._audience: dict[Topic, dict[Hearer, None]] = {}
        self._told_at: dict[Topic, float] = {}
        self._later: set[IDelayedCall] = set()
        self._loop = LoopingCall(self._break_silences)
        self._loop.clock = clock
        gateway.observe(self._hear)

    def start(self) -> None:
        """Break silences from now on."""
        if not self._loop.running:
            self._loop.start(_LOOK_SECONDS, now=False).addErrback(_stopped_by_error)

    def stop(self) -> None:
        """Break silences no more, and tell nothing of what is still to be told."""
        if self._loop.running:
            self._loop.stop()
        while self._later:
            self._later.pop().cancel()

    # Who hears what.

    def exists(self, topic: Topic) -> bool:
        """Tell whether there is the account or the contract that a topic is of."""
        if isinstance(topic.key, int):
            known = self._exchange.accounts()
        else:
            known = self._exchange.contracts()
        return topic.key is None or any(payload["id"] == topic.key for payload in known)

    def join(self, hearer: Hearer, topic: Topic) -> None:
        """Tell ``hearer`` of ``topic`` from now on, beginning with the whole quote if it is market_events."""
        self._audience.setdefault(topic, {})[hearer] = None
        self._told_at.setdefault(topic, self._clock.seconds())
        if topic.target == QUOTE:
            quote = self._quote(str(topic.key))
            if quote is not None:
                hearer.send(encode(Invocation(QUOTE, (topic.key, self._habits.spelled(quote)))))

    def leave(self, hearer: Hearer, topic: Topic) -> None:
        """Tell ``hearer`` of ``topic`` no more."""
        hearers = self._audience.get(topic, {})
        hearers.pop(hearer, None)
        if not hearers:
            self._audience.pop(topic, None)
            self._told_at.pop(topic, None)

    def leave_all(self, hearer: Hearer) -> None:
        """Tell ``hearer`` nothing more."""
        for topic in tuple(self._audience):
            self.leave(hearer, topic)

    # What is told.

    def _hear(self, message: Message) -> None:
        if message.contract_id is None:
            self._hear_of_user(message.target, message.payload)
        else:
            self._hear_of_market(message.contract_id, message.payload)

    def _hear_of_user(self, target: str, payload: Payload) -> None:
        topic = Topic(target, None if target == ACCOUNT else payload["accountId"])
        telling = self._habits.user_event(target, payload)
        record = encode(Invocation(target, (telling.argument,)))
        if not telling.after:
            self._tell(topic, record, telling.times)
            return

        def tell() -> None:
            self._later.discard(call)
            self._tell(topic, record, telling.times)

        call = self._clock.callLater(telling.after, tell)
        self._later.add(call)

    def _hear_of_market(self, contract_id: str, payload: Payload) -> None:
        changes = self._book.update(contract_id, payload)
        self._tell_market(QUOTE, contract_id, lambda: self._habits.spelled(changes))
        self._tell_market(TRADE, contract_id, lambda: market_events.trades(payload, self._random))
        self._tell_market(DEPTH, contract_id, lambda: market_events.depth(payload, self._random))

    def _tell_market(
        self, target: str, contract_id: str, argument: Callable[[], Payload | list[Payload]]
    ) -> None:
        topic = Topic(target, contract_id)
        # Hardly anybody asks for all that moves.
        if topic in self._audience:
            self._tell(topic, encode(Invocation(target, (contract_id, argument()))))

    def _tell(self, topic: Topic, record: bytes, times: int = 1) -> None:
        if topic in self._told_at:
            self._told_at[topic] = self._clock.seconds()
        for hearer in tuple(self._audience.get(topic, ())):
            for _ in range(times):
                hearer.send(record)

    def _break_silences(self) -> None:
        silent_since = self._clock.seconds() - QUIET_SECONDS
        for topic, told_at in tuple(self._told_at.items()):
            if topic.target == QUOTE and told_at <= silent_since:
                again = self._book.again(str(topic.key), self._now().isoformat())
                if again is not None:
                    self._tell(topic, encode(Invocation(QUOTE, (topic.key, again))))

    def _quote(self, contract_id: str) -> Payload | None:
        """Return a contract's whole quote; a shut market has one, too, but tells nothing of it."""
        market = self._exchange.quote(contract_id)
        if self._book.quote(contract_id) is None and market is not None:
            contract = self._exchange.contract(contract_id)
            self._book.update(
                contract_id, quote_payload(contract["symbolId"], market, self._now())
            )
        return self._book.quote(contract_id)


def _stopped_by_error(failure: Failure) -> None:
    _log.failure("the hubs do not break silences any more", failure=failure)
