"""Batches of frames."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.broadcast.frames import MAX_BATCH_BYTES, Frame, in_batches


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
