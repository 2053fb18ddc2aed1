"""Delivering the exchange's messages, in the order in which they happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from twisted.logger import Logger

from riskd.gateway.interface import IGatewayListener
from riskd.practice.records import Message

_log = Logger()


class EventDelivery:
    """Delivers messages to the gateway's listener and, right after it, to observers.

    :ivar is_running: whether the gateway runs; a stopped one discards messages.
    """

    def __init__(self) -> None:
        self.is_running = False
        self._listener: IGatewayListener | None = None
        self._observers: list[Callable[[Message], None]] = []
        self._queue: deque[Message] = deque()
        self._is_delivering = False

    def start(self, listener: IGatewayListener | None) -> None:
        """Deliver messages from now on; earlier ones are discarded."""
        self.is_running = True
        self._listener = listener
        self._queue.clear()

    def observe(self, observer: Callable[[Message], None]) -> None:
        """Call ``observer`` with each message; if it fails, the failure is logged."""
        self._observers.append(observer)

    def deliver(self, messages: Iterable[Message]) -> None:
        """Deliver messages, after those that are still to be delivered."""
        self._queue.extend(messages)
        # A listener may act on a message, which leads back here.  The messages that follow from its act
        # wait their turn: delivered at once, they would overtake what happened before.
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._queue:
                self._deliver_one(self._queue.popleft())
        finally:
            self._is_delivering = False

    def _deliver_one(self, message: Message) -> None:
        target, contract_id, payload = message
        # A listener may stop the gateway in the middle of a delivery.
        if not self.is_running:
            return
        if self._listener is not None:
            if contract_id is None:
                self._listener.user_event(target, payload)
            else:
                self._listener.market_event(target, contract_id, payload)
        for observer in self._observers:
            try:
                observer(message)
            except Exception:  # noqa: BLE001  # one failing observer must not silence the others
                _log.failure("an observer of the practice gateway failed")
