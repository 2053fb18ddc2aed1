"""``docs/asyncapi.yaml`` is current, an AsyncAPI document, and true of every event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import yaml
from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from contrib.asyncapi import sentences_of_fields, text
from riskd.model.events import EVENT_TYPES, EnforcementDetails, Event, includes_type
from riskd.model.wire import encode
from tests.support.asyncapi import DOCUMENT, errors_of_document, errors_of_message
from tests.support.strategies import events

KINDS = (*EVENT_TYPES.values(), EnforcementDetails)
MESSAGES = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))["components"]["messages"]


def altered(message: Any) -> Iterator[Any]:
    """Yield ``message`` with each of its values in turn as an array, which no field is."""
    for key, value in message.items():
        yield {**message, key: []}
        if isinstance(value, dict):
            for inner in altered(value):
                yield {**message, key: inner}


class DocumentTests(SynchronousTestCase):
    """The file."""

    def test_it_is_what_the_command_writes(self) -> None:
        self.assertEqual(
            DOCUMENT.read_text(encoding="utf-8"),
            text(),
            "python -m contrib.asyncapi > docs/asyncapi.yaml",
        )

    def test_it_is_valid_by_the_schema_of_asyncapi(self) -> None:
        document = yaml.safe_load(text())
        self.assertEqual(errors_of_document(document), [])
        document["operations"]["broadcast"]["action"] = "shout"
        self.assertNotEqual(errors_of_document(document), [])

    def test_it_has_a_message_for_each_event(self) -> None:
        self.assertEqual(list(MESSAGES), list(EVENT_TYPES))

    def test_each_field_is_described(self) -> None:
        for kind in (*KINDS, Event):
            names = {field.name for field in msgspec.structs.fields(kind)}
            self.assertEqual(set(sentences_of_fields(kind)), names, kind)

    def test_each_amount_and_price_has_a_unit_and_is_a_number(self) -> None:
        found = yaml.safe_load(text())["components"]["schemas"]
        schemas = {kind: found[kind.__name__] for kind in EVENT_TYPES.values()}
        schemas[EnforcementDetails] = found["EnforcementAction"]["properties"]["details"]
        for kind, schema in schemas.items():
            for field in msgspec.structs.fields(kind):
                if includes_type(field.type, Decimal):
                    described = schema["properties"][field.encode_name]
                    self.assertIn("number", described["type"])
                    self.assertIn(described["x-unit"], ("USD", "points"), field)


class MessageTests(SynchronousTestCase):
    """The schemas, and what riskd sends."""

    @given(events)
    def test_every_event_is_valid(self, event: Event) -> None:
        self.assertEqual(errors_of_message(encode(event)), [])

    def test_each_example_is_valid(self) -> None:
        for described in MESSAGES.values():
            (example,) = described["examples"]
            self.assertEqual(errors_of_message(json.dumps(example["payload"])), [])

    def test_a_wrong_value_of_any_field_is_not_valid(self) -> None:
        for name, described in MESSAGES.items():
            (example,) = described["examples"]
            for message in altered(example["payload"]):
                if isinstance(message["type"], str):
                    self.assertNotEqual(errors_of_message(json.dumps(message)), [], name)

    def test_a_key_that_is_not_described_is_an_error(self) -> None:
        (example,) = MESSAGES["enforcement_action"]["examples"]
        payload = json.loads(json.dumps(example["payload"]))
        payload["data"]["details"]["more"] = 1
        self.assertEqual(
            errors_of_message(json.dumps(payload)), ["data.details.more is not described"]
        )
