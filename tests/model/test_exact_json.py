"""JSON with exact numbers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.exact_json import JsonError, decode_json, encode_json

numbers = st.integers(-(2**63), 2**63 - 1) | st.decimals(
    -(10**12), 10**12, places=9, allow_nan=False
)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


class ExactJsonTests(SynchronousTestCase):
    """Values are read as they were written, to the last digit."""

    def test_a_fraction_keeps_its_zeros_and_a_whole_number_is_an_int(self) -> None:
        read = decode_json(b'{"price":5138.000000000,"tick":0.0000005,"size":3}')
        self.assertEqual(
            [str(read["price"]), read["tick"]], ["5138.000000000", Decimal("0.0000005")]
        )
        self.assertIs(type(read["size"]), int)

    @given(values)
    def test_a_value_is_read_as_it_was_written(self, value: Any) -> None:
        self.assertEqual(decode_json(encode_json(value)), value)

    @given(values)
    def test_other_readers_read_the_same(self, value: Any) -> None:
        self.assertEqual(json.loads(encode_json(value), parse_float=Decimal), value)

    def test_text_that_is_not_json_raises_json_error(self) -> None:
        for text in (
            b"",
            b"{",
            b"NaN",
            b"1e99999999999999999999",
            b'"\xff"',
            b'"\\ud800"',
            b"[" * 100_000,
            b"9" * 10_000,
        ):
            self.assertRaises(JsonError, decode_json, text)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_or_raise_json_error(self, text: bytes) -> None:
        try:
            decode_json(text)
        except JsonError:
            return
