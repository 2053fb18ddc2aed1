"""The events that the hubs send to the subscribers of each topic.

They are the gateway's messages in the form of the live feed.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from riskd.gateway.fields import Payload
from riskd.gateway.signalr import Invocation, encode
from riskd.gateway.targets import ACCOUNT, QUOTE
from riskd.host.timing import lasting_loop
from riskd.practice.gateway import PracticeGateway
from riskd.practice.records import Message
from riskd.practice.server.hub_conversation import DEPTH, MARKET_TRADE, Topic
from riskd.practice.server.live_events import Quirks, QuoteChanges, depth, trades

SILENT_SECONDS: Final = 10.0
"""An unchanged quote is sent again after so many seconds; some clients reconnect after 30 silent ones."""

_CHECK_SECONDS: Final = 1.0

Subscriber = Callable[[bytes], None]
"""Sends a client a record of the hub protocol."""

_log = Logger()


class EventFeed:
    """Sends events to the subscribers of their topics.

    :param clock: times what is sent later.
    :param gateway: the source of the events.
    :param random: makes the choices of the quirks.
    :ivar now: returns the time on the exchange's clock.
    """

    def __init__(
        self,
        clock: IReactorTime,
        gateway: PracticeGateway,
        random: Random,
    ) -> None:
        self._clock = clock
        self._gateway = gateway
        self._exchange = gateway.exchange
        self.now = gateway.broker_time
        self._random = random
        self._quirks = Quirks(random, self.now())
        self._quotes = QuoteChanges()
        self._subscribers: dict[Topic, dict[Subscriber, None]] = {}
        self._sent_at: dict[Topic, float] = {}
        self._loop = lasting_loop(clock, self._repeat_silent_quotes, _log)
        gateway.observe(self._receive)

    def start(self) -> None:
        """Repeat silent quotes from now on."""
        self._loop.start(_CHECK_SECONDS, now=False)

    def stop(self) -> None:
        """Stop repeating quotes, and drop all subscriptions.

        Events that are due later then reach no client.
        """
        self._loop.stop()
        self._subscribers.clear()
        self._sent_at.clear()

    # Subscriptions.

    def exists(self, topic: Topic) -> bool:
        """Return whether the account or the contract of a topic exists."""
        known = (*self._exchange.store.accounts(), *self._exchange.store.contracts())
        return topic.key is None or any(payload["id"] == topic.key for payload in known)

    def subscribe(self, subscriber: Subscriber, topic: Topic) -> None:
        """Send ``topic`` to a client from now on; quotes begin with a full one."""
        self._subscribers.setdefault(topic, {})[subscriber] = None
        # Before the first event, silence counts from the subscription.
        self._sent_at.setdefault(topic, self._clock.seconds())
        if topic.target == QUOTE:
            quote = self._full_quote(str(topic.key))
            if quote is not None:
                subscriber(encode(Invocation(QUOTE, (topic.key, self._quirks.spelled(quote)))))

    def unsubscribe(self, subscriber: Subscriber, topic: Topic) -> None:
        """Stop sending ``topic`` to a client."""
        subscribers = self._subscribers.get(topic, {})
        subscribers.pop(subscriber, None)
        if not subscribers:
            self._subscribers.pop(topic, None)
            self._sent_at.pop(topic, None)

    def unsubscribe_all(self, subscriber: Subscriber) -> None:
        """Drop all subscriptions of a client."""
        for topic in tuple(self._subscribers):
            self.unsubscribe(subscriber, topic)

    # Events.

    def _receive(self, message: Message) -> None:
        target, contract_id, payload = message
        if contract_id is None:
            self._receive_account_event(target, payload)
            return
        changes = self._quotes.update(contract_id, payload)
        random = self._random
        self._send_market(QUOTE, contract_id, lambda: self._quirks.spelled(changes))
        self._send_market(MARKET_TRADE, contract_id, lambda: trades(payload, random))
        self._send_market(DEPTH, contract_id, lambda: depth(payload, random))

    def _receive_account_event(self, target: str, payload: Payload) -> None:
        topic = Topic(target, None if target == ACCOUNT else payload["accountId"])
        event = self._quirks.account_event(target, payload)
        record = encode(Invocation(target, (event.argument,)))
        # The gateway may have delayed the event already.
        after = event.after - self._gateway.faults.position_delay_seconds
        if event.after and after > 0:
            self._clock.callLater(after, self._send, topic, record, event.times)
        else:
            # At once, because an event that is due now must not wait for the reactor's next turn.
            self._send(topic, record, event.times)

    def _send_market(
        self, target: str, contract_id: str, argument: Callable[[], Payload | list[Payload]]
    ) -> None:
        topic = Topic(target, contract_id)
        # Most quotes have no subscriber, so build an event only for one that has.
        if topic in self._subscribers:
            self._send(topic, encode(Invocation(target, (contract_id, argument()))))

    def _send(self, topic: Topic, record: bytes, times: int = 1) -> None:
        if topic in self._sent_at:
            self._sent_at[topic] = self._clock.seconds()
        # A copy, because a client that reads too slowly is cut and unsubscribes.
        for subscriber in tuple(self._subscribers.get(topic, ())):
            for _ in range(times):
                subscriber(record)

    def _repeat_silent_quotes(self) -> None:
        if self._gateway.payload_faults.are_quotes_frozen(self._clock.seconds()):
            return
        silent_since = self._clock.seconds() - SILENT_SECONDS
        for topic, sent_at in tuple(self._sent_at.items()):
            if topic.target == QUOTE and sent_at <= silent_since:
                event = self._quotes.unchanged(str(topic.key), self.now().isoformat())
                if event is not None:
                    self._send(topic, encode(Invocation(QUOTE, (topic.key, event))))

    def _full_quote(self, contract_id: str) -> Payload | None:
        # A shut market has opening quotes, which it did not publish.
        market = self._exchange.quote(contract_id)
        if self._quotes.quote(contract_id) is None and market is not None:
            symbol = self._exchange.store.contract(contract_id)["symbolId"]
            self._quotes.update(contract_id, market.payload(symbol, self.now()))
        return self._quotes.quote(contract_id)
