"""Long answers, read piece by piece."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.long_answer import MAX_FIELDS, MAX_PIECE_BYTES, LongAnswer, LongList
from riskd.model.exact_json import JsonError, decode_json

texts = st.text(st.sampled_from('abc[]{}",:\\\x1fé\n '), max_size=6)
scalars = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | texts
nested = st.lists(st.dictionaries(texts, scalars, max_size=2) | scalars, max_size=3)
rows = st.dictionaries(texts, scalars | nested, max_size=4)
answers = st.dictionaries(
    texts, scalars | st.dictionaries(texts, scalars) | st.lists(rows, max_size=4), min_size=1
)


def read(body: bytes, most: int = 10**9) -> dict[str, Any]:
    answer = LongAnswer(body)
    for _ in answer.read():
        pass
    return {
        name: list(each.payloads(most)) if isinstance(each, LongList) else each
        for name, each in answer.fields.items()
    }


class LongAnswerTests(SynchronousTestCase):
    """What is read is what a decoder of the whole would return."""

    @given(answers, st.sampled_from([None, 1, "\t"]), st.booleans())
    def test_any_answer_of_small_pieces_is_read(
        self, answer: dict[str, Any], indent: Any, is_ascii: bool
    ) -> None:
        body = json.dumps(answer, indent=indent, ensure_ascii=is_ascii).encode()
        self.assertEqual(read(body), decode_json(body))

    @given(answers, st.integers(0, 200), st.binary(max_size=2))
    def test_damage_is_read_as_a_decoder_does_or_is_an_error(
        self, answer: dict[str, Any], place: int, damage: bytes
    ) -> None:
        body = json.dumps(answer).encode()
        body = body[:place] + damage + body[place + 1 :]
        try:
            found = read(body)
        except JsonError:
            return
        self.assertEqual(found, decode_json(body))

    def test_what_is_too_long_too_deep_or_endless_is_an_error(self) -> None:
        long = b'"' + b"x" * MAX_PIECE_BYTES + b'"'
        for body in (
            b"[" * 5_000_000,
            b'{"a":' * 1_000_000,
            b'{"a":[{' * 1_000_000,
            b'{"a":' + long + b"}",
            b'{"a":[{"b":' + long + b"}]}",
            b"{" + b",".join(b'"%d":1' % number for number in range(MAX_FIELDS + 1)) + b"}",
            b'{"a":[1,2]}',
            b'{"a":[{}{}]}',
            b'{"a":[{},]}',
            b'{"a":[,{}]}',
            b'{"a":1}{"a":1}',
        ):
            self.assertRaises(JsonError, read, body)

    def test_of_the_rest_of_a_list_only_the_keys_are_read(self) -> None:
        listed = [{"id": number, "contractId": f"C{number}", "size": 1} for number in range(350)]
        listed[250]["id"] = "x"
        found = read(json.dumps({"positions": listed}).encode(), 90)["positions"]
        self.assertEqual(found[:90], listed[:90])
        self.assertEqual(found[150], {"id": 150, "contractId": "C150"})
        # A key that cannot be read keeps none beside it from being read.
        self.assertEqual([each["id"] for each in found], [each["id"] for each in listed])

    def test_each_step_is_a_piece(self) -> None:
        body = json.dumps({"orders": [{"id": number} for number in range(1000)]}).encode()
        answer = LongAnswer(body)
        self.assertEqual(sum(1 for _ in answer.read()), 11)
