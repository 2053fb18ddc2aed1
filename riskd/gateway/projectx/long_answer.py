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

MAX_PIECE_BYTES: Final = 16 * 1024
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
_ROW: Final = re.compile(_BLANK + rb"([\[,])" + _BLANK + rb"(\{" + _INSIDE + rb"\})", re.DOTALL)
_LIST_END: Final = re.compile(_BLANK + rb"\]")
_EMPTY_LIST: Final = re.compile(_BLANK + rb"\[" + _BLANK + rb"\]")
_LIST: Final = re.compile(_BLANK + rb"\[")
_END: Final = re.compile(_BLANK + rb"\}" + _BLANK)


class _Key(msgspec.Struct):
    """The fields by which the rest of a list is known."""

    id: int | None = None
    contract_id: str | None = msgspec.field(name="contractId", default=None)


class LongList:
    """A list of objects in a long answer.

    :param body: the answer.
    :param at: where the list begins.
    """

    def __init__(self, body: bytes, at: int) -> None:
        self._body = body
        self._at = self._end = at

    def find_end(self) -> Iterator[None]:
        """Find the end of the list, one object at each step; :attr:`end` has it.

        :raises JsonError: it is no list of small objects.
        """
        for _row in self._rows():
            yield

    @property
    def end(self) -> int:
        """Where the list ends, once :meth:`find_end` is done."""
        return self._end

    def _rows(self) -> Iterator[bytes]:
        body, at, expected = self._body, self._at, b"["
        if empty := _EMPTY_LIST.match(body, at):
            self._end = empty.end()
            return
        while (row := _ROW.match(body, at, at + MAX_PIECE_BYTES)) and row[1] == expected:
            at, expected = row.end(), b","
            yield row[2]
        end = _LIST_END.match(body, at)
        if end is None or expected == b"[":
            raise JsonError(f"what is at byte {at} is no list of small objects")
        self._end = end.end()

    def payloads(self, most: int) -> Iterator[Payload]:
        """Yield the objects of the list.

        :param most: of those after so many, only id and contract id.
        :raises JsonError: one of them is no JSON.
        """
        for number, row in enumerate(self._rows()):
            yield decode_json(row) if number < most else _key_of(row)


def _key_of(row: bytes) -> Payload:
    try:
        key = msgspec.json.decode(row, type=_Key)
    except msgspec.ValidationError:
        return {}
    except NOT_JSON as error:
        raise JsonError(str(error)) from None
    return {"id": key.id, "contractId": key.contract_id}


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
