"""Pings every 20 seconds, and which answers keep a client connected."""

from __future__ import annotations

from riskd.broadcast.cuts import Cut
from riskd.broadcast.heartbeat import GROUP
from tests.support.broadcast import BroadcastTestCase
from tests.support.websocket_frames import PING, PONG, client_frame


class HeartbeatTests(BroadcastTestCase):
    """Pings, every 20 seconds."""

    def advance(self, seconds: float) -> None:
        self.clock.pump([0.2] * round(seconds / 0.2))

    def test_a_client_that_answers_pings_stays(self) -> None:
        peer = self.join()
        for _ in range(4):
            self.advance(20.4)
            ((opcode, payload),) = peer.frames()
            self.assertEqual(opcode, PING)
            peer.send(client_frame(PONG, payload))
        self.assertFalse(peer.is_gone)

    def test_a_client_that_answers_no_ping_is_closed_within_40_seconds(self) -> None:
        peer = self.join()
        self.advance(19)
        self.assertEqual(peer.take(), b"")
        self.advance(19)
        self.assertFalse(peer.is_gone)
        self.advance(2.4)
        self.assertTrue(peer.is_gone)
        self.assertEqual(self.factory.statistics.clients, 0)

    def test_frames_other_than_a_pong_do_not_count(self) -> None:
        peer = self.join()
        # The second ping goes out at 20 s; traffic in its place would put the end off to 60 s.
        for _ in range(205):
            self.advance(0.2)
            peer.send(client_frame(PING, b"me too"))
        self.assertTrue(peer.is_gone)

    def test_only_the_pong_to_the_latest_ping_counts(self) -> None:
        peer = self.join()
        for _ in range(41):
            self.advance(1)
            peer.send(client_frame(PONG, b"guessed"))
        self.assertTrue(peer.is_gone)
        self.assertEqual(self.factory.statistics.cut, {Cut.NO_PONG: 1})

    def test_the_pings_of_many_clients_are_spread_over_twenty_seconds(self) -> None:
        peers = [self.join() for _ in range(400)]
        pinged = []
        for _ in range(200):
            self.clock.advance(0.1)
            pinged.append(sum(bool(peer.take()) for peer in peers))
        self.assertEqual([each for each in pinged if each], [GROUP] * 8)
        quiet = "".join(" x"[bool(each)] for each in pinged).split("x")
        self.assertLess(max(map(len, quiet)), 60)

    def test_after_a_stall_every_client_has_time_to_answer(self) -> None:
        peers = [self.join() for _ in range(50)]
        self.clock.advance(60)
        for _ in range(150):
            for peer in peers:
                for _opcode, payload in peer.frames():
                    peer.send(client_frame(PONG, payload))
            self.clock.advance(0.1)
        self.assertEqual(self.factory.statistics.clients, 50)

    def test_a_free_place_in_a_group_is_used_again(self) -> None:
        peers = [self.join() for _ in range(2 * GROUP)]
        for peer in peers[: GROUP - 1]:
            peer.transport.loseConnection()
        late = [self.join() for _ in range(GROUP - 1)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.advance(20.4)
        for peer in (*peers[GROUP - 1 :], *late):
            self.assertEqual([opcode for opcode, _ in peer.frames()], [PING])

    def test_without_clients_there_is_no_timer(self) -> None:
        peer = self.join()
        self.assertNotEqual(self.clock.getDelayedCalls(), [])
        peer.transport.loseConnection()
        self.assertEqual(self.clock.getDelayedCalls(), [])
