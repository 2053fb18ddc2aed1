"""How far the server's stream was read."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.position import READ_AGAIN, Position, first_to_read, read_position, write_position
from tests.support.directories import temporary_directory

FAR = 10 * READ_AGAIN


class PositionTests(SynchronousTestCase):
    def test_a_position_comes_back(self) -> None:
        directory = temporary_directory(self)
        self.assertIsNone(read_position(directory))
        position = Position(stream="2026-11-30", sequence=7)
        write_position(directory, position)
        self.assertEqual(read_position(directory), position)
        (file,) = directory.iterdir()
        for wrong in (b"", b"{}", b"[" * 4096, b'{"stream":"x","sequence":"y"}'):
            file.write_bytes(wrong)
            self.assertIsNone(read_position(directory))

    def test_reading_goes_on_with_some_messages_again(self) -> None:
        known = Position(stream="a", sequence=FAR)
        self.assertEqual(first_to_read(known, "a", FAR + 5), FAR + 1 - READ_AGAIN)
        self.assertEqual(first_to_read(Position(stream="a", sequence=5), "a", 9), 1)

    def test_a_server_that_has_lost_messages_is_read_from_its_end(self) -> None:
        known = Position(stream="a", sequence=2 * FAR)
        self.assertEqual(first_to_read(known, "a", FAR), FAR + 1 - READ_AGAIN)

    def test_another_stream_is_read_from_its_beginning(self) -> None:
        self.assertEqual(first_to_read(Position(stream="a", sequence=FAR), "b", FAR), 1)

    def test_a_first_start_reads_little_of_what_is_older(self) -> None:
        self.assertEqual(first_to_read(None, "a", FAR), FAR + 1 - READ_AGAIN)
        self.assertEqual(first_to_read(None, "a", 0), 1)
