"""Write the protocol as an AsyncAPI 3 document, from the types of the events.

Run this after a change of the events, of their examples in docs/protocol.md, or of riskd's version:

    python -m contrib.asyncapi > docs/asyncapi.yaml
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from msgspec import inspect as types

from riskd import __version__
from riskd.broadcast.gathering import LONGEST_MS, QUOTE_INTERVAL
from riskd.journal.discovery import USUAL_PORT
from riskd.model.events import EVENT_TYPES, DaemonStatus, Event, EventData, Identifier
from riskd.model.wire import MAX_MESSAGE_BYTES

Schema = dict[str, Any]

PROTOCOL: Final = Path(__file__).parents[1] / "docs" / "protocol.md"

_QUERY: Final[Schema] = {
    "type": "object",
    "properties": {
        QUOTE_INTERVAL: {
            "type": "integer",
            "minimum": 1,
            "maximum": LONGEST_MS,
            "description": "Milliseconds between quotes: the latest of each contract and account are sent together."
            "  All other events are sent at once.",
        }
    },
}

_EXAMPLE = re.compile(r"```json\n(.*?)```", re.DOTALL)
_FIELD = re.compile(r"^:ivar (\w+): (.*?)(?=^:|\Z)", re.DOTALL | re.MULTILINE)


def document() -> Schema:
    """Return the whole document, its keys in the order in which it is read."""
    examples = {
        example["type"]: example
        for example in map(json.loads, _EXAMPLE.findall(PROTOCOL.read_text(encoding="utf-8")))
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "riskd",
            "version": __version__,
            "description": "The events of futures accounts, as a guard of these accounts broadcasts them.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": f"localhost:{USUAL_PORT}",
                "pathname": "/",
                "protocol": "ws",
                "description": "The daemon on this machine; its option --port sets another port.",
            }
        },
        "channels": {
            "stream": {
                "address": "/",
                "description": (
                    "Every client receives every event from its handshake on, and sends nothing. It must"
                    " ignore types and keys that it does not know. docs/protocol.md says the rest."
                ),
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in EVENT_TYPES
                },
                "bindings": {"ws": {"method": "GET", "query": _QUERY}},
            }
        },
        "operations": {
            "broadcast": {
                "action": "send",
                "channel": {"$ref": "#/channels/stream"},
                "messages": [
                    {"$ref": f"#/channels/stream/messages/{name}"} for name in EVENT_TYPES
                ],
            }
        },
        "components": {
            "messages": {
                name: message(name, kind, examples[name]) for name, kind in EVENT_TYPES.items()
            },
            "schemas": {kind.__name__: struct_schema(kind) for kind in EVENT_TYPES.values()},
        },
    }


def message(name: str, kind: type[EventData], example: Schema) -> Schema:
    """Return the message of an event: the envelope, and where the schema of its data is."""
    account = {"type": "null"} if kind is DaemonStatus else schema(types.type_info(Identifier))
    return {
        "name": name,
        "summary": sentences(kind),
        "description": f"A text message shorter than {MAX_MESSAGE_BYTES} bytes.",
        "payload": {
            "type": "object",
            "required": ["type", "account_id", "data"],
            "properties": {
                "type": {"const": name},
                "account_id": account | {"description": sentences_of_fields(Event)["account_id"]},
                "data": {"$ref": f"#/components/schemas/{kind.__name__}"},
            },
        },
        "examples": [{"payload": example}],
    }


def struct_schema(kind: type[msgspec.Struct]) -> Schema:
    """Return the schema of a struct, with what its docstring says of each field."""
    words = sentences_of_fields(kind)
    info = types.type_info(kind)
    assert isinstance(info, types.StructType)  # noqa: S101  # for mypy
    properties: Schema = {}
    for field in info.fields:
        found = schema(field.type)
        # What the docstring says of an enumeration or an object stands before what its own says.
        both = " ".join(filter(None, [words[field.name], found.pop("description", "")]))
        properties[field.encode_name] = {"description": both} | found
    return {
        "type": "object",
        "description": sentences(kind),
        "required": [field.encode_name for field in info.fields if field.required],
        "properties": properties,
    }


def schema(kind: types.Type) -> Schema:
    """Return the JSON schema of a field's type.

    msgspec's own schema has strings for decimals; on the wire they are numbers.
    """
    match kind:
        case types.Metadata():
            return schema(kind.type) | (kind.extra_json_schema or {})
        case types.UnionType(types=(other, types.NoneType())):
            found = schema(other)
            return found | {"type": [found["type"], "null"]}
        case types.StructType():
            return struct_schema(kind.cls)
        case types.EnumType():
            return _enumeration(kind.cls)
    limits = {"minimum": "ge", "maximum": "le", "pattern": "pattern"}
    present = {key: getattr(kind, name, None) for key, name in limits.items()}
    return _SIMPLE[type(kind)] | {
        key: limit for key, limit in present.items() if limit is not None
    }


_SIMPLE: Final[dict[type[types.Type], Schema]] = {
    types.BoolType: {"type": "boolean"},
    types.DateTimeType: {"type": "string", "format": "date-time"},
    types.DecimalType: {"type": "number"},
    types.IntType: {"type": "integer"},
    types.StrType: {"type": "string"},
}


def _enumeration(kind: type[Enum]) -> Schema:
    """Return the schema of an enumeration; numbers come with their names."""
    values = [member.value for member in kind]
    if not issubclass(kind, IntEnum):
        return {"type": "string", "enum": values}
    return {
        "type": "integer",
        "description": ", ".join(f"{member.value}: {member.name}" for member in kind) + ".",
        "enum": values,
        "x-enum-varnames": [member.name for member in kind],
    }


def sentences(kind: type) -> str:
    """Return what the docstring of ``kind`` says, without its fields."""
    return _plain((inspect.getdoc(kind) or "").partition("\n:ivar")[0])


def sentences_of_fields(kind: type) -> dict[str, str]:
    """Return what the docstring of ``kind`` says of each field, as sentences."""
    found = _FIELD.findall(inspect.getdoc(kind) or "")
    return {name: _plain(words[:1].upper() + words[1:]) for name, words in found}


def _plain(text: str) -> str:
    """Return a docstring's text in words of the wire, on one line, without markup."""
    text = re.sub(r":class:`\w+`", lambda role: _wire_name(role[0][8:-1]), text)
    return " ".join(text.replace("``None``", "null").replace("``", "`").split())


def _wire_name(class_name: str) -> str:
    return next(name for name, kind in EVENT_TYPES.items() if kind.__name__ == class_name)


def text() -> str:
    """Return the document as YAML."""
    heading = "# Made by contrib/asyncapi.py; do not edit.\n"
    return heading + yaml.safe_dump(document(), sort_keys=False, width=99, allow_unicode=True)


if __name__ == "__main__":
    sys.stdout.write(text())
