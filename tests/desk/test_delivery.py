"""How the events that came to a client are compared with an outbox."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.event_number import Number
from tests.support.desk_delivery import Delivery, console_connections, delivery
from tests.support.desk_machines import Told, told


def event(number: int) -> Told:
    return told("GatewayUserTrade", 123, {"id": number})


def numbered(*seqs: int) -> list[tuple[Number, Told]]:
    return [(Number(1, seq), event(seq)) for seq in seqs]


WANTED = numbered(1, 2, 3, 4, 5)


class DeliveryTests(SynchronousTestCase):
    def compared(self, *connections: tuple[int | None, Sequence[int]]) -> Delivery:
        """Compare; of each connection, what the copy knew and what came."""
        came = [
            (None if known is None else {123: Number(1, known)}, [event(each) for each in events])
            for known, events in connections
        ]
        return delivery(WANTED, came, 123)

    def test_all_in_order_over_one_connection(self) -> None:
        self.assertEqual(self.compared((0, (1, 2, 3, 4, 5))), Delivery(live=5))

    def test_what_is_missed_between_connections_must_be_in_the_copy(self) -> None:
        self.assertEqual(self.compared((0, (1, 2)), (3, (4, 5))), Delivery(live=4, copied=1))
        self.assertEqual(self.compared((0, (1, 2)), (2, (4, 5))), Delivery(live=4, lost=1))

    def test_what_the_copy_has_may_come_live_as_well(self) -> None:
        self.assertEqual(self.compared((0, (1, 2)), (4, (3, 4, 5))), Delivery(live=5))

    def test_a_connection_without_events_may_have_all_in_its_copy(self) -> None:
        self.assertEqual(self.compared((2, ()), (5, ())), Delivery(copied=5))
        self.assertEqual(self.compared((2, ()), (4, ())), Delivery(copied=4, lost=1))
        self.assertEqual(self.compared((0, (1, 2)), (1, ()), (5, ())), Delivery(2, 3))

    def test_within_a_connection_nothing_may_be_left_out(self) -> None:
        self.assertEqual(self.compared((5, (1, 2, 4, 5))), Delivery(live=4, lost=1))
        self.assertEqual(self.compared((5, (1, 2, 3, 4))), Delivery(live=4, lost=1))

    def test_what_comes_twice_or_late_or_from_nowhere(self) -> None:
        self.assertEqual(self.compared((0, (1, 2, 2, 3, 4, 5))), Delivery(live=5, doubled=1))
        self.assertEqual(self.compared((0, (1, 3, 2, 4, 5))), Delivery(live=4, lost=1, doubled=1))
        self.assertEqual(self.compared((0, (1, 2)), (5, (2, 3, 4, 5))), Delivery(5, doubled=1))
        self.assertEqual(self.compared((0, (1, 2, 3, 4, 5, 6))), Delivery(live=5, doubled=1))

    def test_a_console_may_have_found_anything_in_the_copy(self) -> None:
        self.assertEqual(self.compared((None, (1,)), (None, (4, 5))), Delivery(3, copied=2))
        self.assertEqual(self.compared((None, (1,)), (None, ())), Delivery(1, copied=4))
        self.assertEqual(self.compared((None, (1, 3, 4, 5))), Delivery(live=4, lost=1))

    def test_the_lines_of_a_console(self) -> None:
        trade = '{"type":"GatewayUserTrade","account_id":123,"data":{"id":1}}'
        lines = [
            '{"type":"connection_status","account_id":null,"data":{"connected":false}}',
            '{"type":"connection_status","account_id":null,"data":{"connected":true}}',
            '{"type":"connection_status","account_id":null,"data":{"connected":false}}',
            '{"type":"connection_status","account_id":null,"data":{"connected":true}}',
            '{"type":"daemon_status","account_id":null,"data":{}}',
            trade,
            trade.replace("GatewayUserTrade", "MarketQuote"),
        ]
        first, second = console_connections(lines)
        self.assertEqual(first.of(123), [])
        self.assertEqual(second.of(123), [event(1)])
