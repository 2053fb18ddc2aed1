"""A long answer, read piece by piece.

Decoded at once, a list of megabytes would hold the reactor for a fifth of a second and take ten times its size.

This module is pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from riskd.gateway.fields import Payload
from riskd.model.exact_json import NOT_JSON, JsonError, decode_json

LONG_BYTES: Final = 256 * 1024
"""A shorter answer is decoded at once, in a few milliseconds."""

MAX_PIECE_BYTES: Final = 32 * 1024
"""The longest field, and the longest object in a list."""

MAX_FIELDS: Final = 64

_TEXT: Final = rb'"(?:[^"\\]++|\\.)*+"'


def _within(nested: bytes) -> bytes:
    """Return the pattern of what brackets enclose, with ``nested`` in them."""
    return rb'(?:[^\]\[{}"]++|' + _TEXT + rb"|[\[{]" + nested + rb"[\]}])*+"


_INSIDE: Final = _within(_within(_within(rb'(?:[^\]\[{}"]++|' + _TEXT + rb")*+")))
_BLANK: Final = rb"[ \t\r\n]*+"

# These find where a piece ends; whether it is JSON, its decoder says.
_NAME: Final = re.compile(_BLANK + rb"[{,]" + _BLANK + rb"(" + _TEXT + rb")" + _BLANK + rb":")
_VALUE: Final = re.compile(
    _BLANK + rb"(" + _TEXT + rb"|\{" + _INSIDE + rb'\}|[^\]\[{},"]++)', re.DOTALL
)
_OBJECT: Final = rb"\{" + _INSIDE + rb"\}"
_OBJECTS: Final = re.compile(
    _BLANK
    + rb"([\[,])("
    + _BLANK
    + _OBJECT
    + rb"(?:"
    + _BLANK
    + rb","
    + _BLANK
    + _OBJECT
    + rb"){0,99}+)",
    re.DOTALL,
)
_LIST_END: Final = re.compile(_BLANK + rb"\]")
_EMPTY_LIST: Final = re.compile(_BLANK + rb"\[" + _BLANK + rb"\]")
_LIST: Final = re.compile(_BLANK + rb"\[")
_END: Final = re.compile(_BLANK + rb"\}" + _BLANK)


class _Key(msgspec.Struct):
    """The fields by which the rest of a list is known."""

    id: int | None = None
    contract_id: str | None = msgspec.field(name="contractId", default=None)


_keys_decoder = msgspec.json.Decoder(list[_Key])


class LongList:
    """A list of objects in a long answer.

    :param body: the answer.
    :param at: where the list begins.
    :ivar end: where it ends, once :meth:`find_end` is done.
    """

    def __init__(self, body: bytes, at: int) -> None:
        self._body = body
        self.end = at
        # Where each piece begins and ends, of up to a hundred objects.
        self._pieces: list[tuple[int, int]] = []

    def find_end(self) -> Iterator[None]:
        """Find the end of the list, one piece at each step.

        :raises JsonError: it is no list of small objects.
        """
        body, at, expected = self._body, self.end, b"["
        if empty := _EMPTY_LIST.match(body, at):
            self.end = empty.end()
            return
        while (found := _OBJECTS.match(body, at, at + MAX_PIECE_BYTES)) and found[1] == expected:
            self._pieces.append(found.span(2))
            at, expected = found.end(), b","
            yield
        end = _LIST_END.match(body, at)
        if end is None or expected == b"[":
            raise JsonError(f"what is at byte {at} is no list of small objects")
        self.end = end.end()

    def payloads(self, most: int) -> Iterator[Payload]:
        """Yield the objects of the list.

        :param most: of those after so many, only id and contract id, a few more aside.
        :raises JsonError: one of them is no JSON.
        """
        number = 0
        for begin, end in self._pieces:
            text = b"[%s]" % self._body[begin:end]
            objects = decode_json(text) if number < most else _keys_of(text)
            number += len(objects)
            yield from objects


def _keys_of(text: bytes) -> list[Payload]:
    try:
        keys = _keys_decoder.decode(text)
    except msgspec.ValidationError:
        return decode_json(text)  # type: ignore[no-any-return]  # an array of objects
    except NOT_JSON as error:
        raise JsonError(str(error)) from None
    return [{"id": key.id, "contractId": key.contract_id} for key in keys]


class LongAnswer:
    """Reads the fields of a long answer.

    :ivar fields: those that were read; the lists among them as :class:`LongList`.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.fields: dict[str, Any] = {}

    def read(self) -> Iterator[None]:
        """Read a piece at each step.

        :raises JsonError: the answer is no JSON object, or has more than a few fields, or a field that is
            neither small nor a list of small objects.
        """
        body, at = self._body, 0
        for _ in range(MAX_FIELDS):
            name = _NAME.match(body, at, at + MAX_PIECE_BYTES)
            if name is None or (name[0].lstrip()[:1] == b"{") is not (at == 0):
                break
            at = name.end()
            if _LIST.match(body, at):
                found = LongList(body, at)
                yield from found.find_end()
                self.fields[decode_json(name[1])] = found
                at = found.end
            else:
                value = _VALUE.match(body, at, at + MAX_PIECE_BYTES)
                if value is None:
                    raise JsonError(f"the field at byte {at} is too long or nested too deeply")
                self.fields[decode_json(name[1])] = decode_json(value[1])
                at = value.end()
            yield
        if not _END.fullmatch(body, at):
            raise JsonError(f"what is at byte {at} is no field of an object")
