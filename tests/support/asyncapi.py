"""Check documents against AsyncAPI's own schema, and messages against the protocol's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft7Validator

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
SCHEMA: Final = Path(__file__).parents[1] / "third_party" / "asyncapi" / "3.0.0.json"


def errors_of_document(document: Any) -> list[str]:
    """Return what is wrong with an AsyncAPI document."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return [error.message for error in Draft7Validator(schema).iter_errors(document)]


def errors_of_message(message: bytes | str) -> list[str]:
    """Return what is wrong with a message by ``docs/asyncapi.yaml``; its keys must all be described."""
    content = json.loads(message)
    validator = _validators()[content["type"]]
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(content)]
    return errors or [f"{path} is not described" for path in _unknown(content, validator.schema)]


@cache
def _validators() -> dict[str, Draft7Validator]:
    """Return a validator for each message, by its name."""
    components = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))["components"]
    validators = {}
    for name, described in components["messages"].items():
        payload = described["payload"]
        data = components["schemas"][payload["properties"]["data"]["$ref"].rpartition("/")[2]]
        payload["properties"]["data"] = data
        validators[name] = Draft7Validator(payload)
    return validators


def _unknown(content: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of each key that ``schema`` does not describe."""
    for key, value in content.items():
        if key not in schema["properties"]:
            yield path + key
        elif isinstance(value, dict):
            yield from _unknown(value, schema["properties"][key], f"{path}{key}.")
