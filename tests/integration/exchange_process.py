"""Practice exchanges in a process of their own, with a network server, controlled by a test.

Run as ``python -m tests.integration.exchange_process ACCOUNT``.  It answers each line of standard input, a JSON list
of a name and arguments, with a line of JSON.  ``begin`` opens a new exchange, which knows nothing of the one before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from riskd.config.settings import Faults
from riskd.model.exact_json import decode_json, encode_json
from riskd.practice.gateway import PracticeGateway
from riskd.practice.server.site import PracticeSite, practice_site


class Led(LineOnlyReceiver):
    """Carry out a test's commands."""

    delimiter = b"\n"

    def __init__(self, account_id: int) -> None:
        self._account = account_id
        self._ahead = timedelta(0)
        self._gateway: PracticeGateway
        self._site: PracticeSite
        self._port: Any

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def lineReceived(self, line: bytes) -> None:
        name, *arguments = decode_json(line)
        act: Callable[..., Any] = getattr(self, f"do_{name}")
        result = act(*arguments)
        if not isinstance(result, Deferred):
            self.sendLine(encode_json(result))
            return
        result.addErrback(_refusal).addCallback(encode_json).addCallback(self.sendLine)

    def connectionLost(self, reason: object = None) -> None:
        if reactor.running:
            reactor.stop()

    # The commands.

    def do_begin(self, ahead: Decimal) -> int:
        """Open an exchange whose clock is so many seconds ahead; return the port of its server."""
        self.do_set_ahead(ahead)
        faults = Faults(opening_half_again=True)
        self._gateway = PracticeGateway(
            reactor, self.now, {self._account: ()}, is_open=False, faults=faults
        )
        self._site = practice_site(reactor, self._gateway)
        self._gateway.start()
        self._port = reactor.listenTCP(0, self._site, interface="127.0.0.1")
        port: int = self._port.getHost().port
        return port

    def do_end(self) -> None:
        """Close the exchange; its clients need not be there to say goodbye."""
        self._gateway.stop()
        self._port.stopListening()
        self._site.close_hubs()

    def do_set_ahead(self, seconds: Decimal) -> None:
        self._ahead = timedelta(seconds=float(seconds))

    def do_move(self, contract_id: str, last: str) -> None:
        self._gateway.move_market(contract_id, Decimal(last))

    def do_set_can_trade(self, may_trade: bool) -> None:
        self._gateway.set_can_trade(self._account, may_trade)

    def do_place(self, order: Any) -> Deferred[Any]:
        return self._gateway.place_order(self._account, order)

    def do_cancel(self, order_id: int) -> Deferred[Any]:
        return self._gateway.cancel_order(self._account, order_id)

    def do_positions(self) -> Any:
        return self._gateway.exchange.store.open_positions(self._account)

    def do_working(self) -> Any:
        return self._gateway.exchange.store.open_orders(self._account)

    def do_orders(self) -> Any:
        long_ago = datetime(2000, 1, 1, tzinfo=UTC)
        return self._gateway.exchange.store.orders(self._account, long_ago)

    def do_trades(self) -> Any:
        long_ago = datetime(2000, 1, 1, tzinfo=UTC)
        return self._gateway.exchange.store.trades(self._account, long_ago)


def _refusal(failure: Failure) -> str:
    return failure.getErrorMessage()


if __name__ == "__main__":
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    StandardIO(Led(int(sys.argv[1])))
    reactor.run()
