"""Batches of frames, and the backlog of a congested client."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.broadcast.frames import MAX_BATCH_BYTES, Backlog, Frame, in_batches


class BatchTests(SynchronousTestCase):
    """Frames in lists of limited size."""

    @given(st.lists(st.integers(1, 1030), max_size=300))
    def test_batches_have_all_frames_in_order_and_are_limited(self, sizes: list[int]) -> None:
        frames = [Frame(struct.pack("!H", size) * size, None) for size in sizes]
        batches = in_batches(frames)
        self.assertEqual([frame for batch in batches for frame in batch], frames)
        lengths = [sum(len(frame.data) for frame in batch) for batch in batches]
        for length in lengths:
            self.assertTrue(0 < length <= MAX_BATCH_BYTES)
        # No two that could have been one.
        for length, following in zip(lengths, batches[1:], strict=False):
            self.assertGreater(length + len(following[0].data), MAX_BATCH_BYTES)


class BacklogTests(SynchronousTestCase):
    """Frames in, frames out."""

    @given(
        st.lists(st.tuples(st.binary(min_size=1, max_size=50), st.integers(0, 4)), max_size=50),
        st.integers(50, 200),
    )
    def test_frames_come_out_in_order_with_the_latest_quotes_last_and_the_size_is_right(
        self, kept: list[tuple[bytes, int]], limit: int
    ) -> None:
        backlog = Backlog()
        for data, kind in kept:
            backlog.add(Frame(data, (123, f"CON.{kind}") if kind else None))
        taken: list[bytes] = []
        while backlog.size:
            size = backlog.size
            some = backlog.take(limit)
            self.assertTrue(0 < sum(map(len, some)) <= limit)
            self.assertEqual(backlog.size, size - sum(map(len, some)))
            taken += some
        self.assertEqual(backlog.take(limit), [])
        lasting = [data for data, kind in kept if not kind]
        self.assertEqual(taken[: len(lasting)], lasting)
        latest = {kind: data for data, kind in kept if kind}
        self.assertEqual(sorted(taken[len(lasting) :]), sorted(latest.values()))
