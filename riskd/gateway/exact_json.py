"""JSON whose whole numbers are ``int`` and whose fractions are ``Decimal``, both ways."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec


class JsonError(ValueError):
    """Some text is no JSON, or holds a number that nobody can reckon with."""


NOT_JSON: Final = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
"""What a decoder of ``msgspec`` raises for text that is no JSON, is nested too deeply, or has a number without measure."""

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


def decode_json(text: bytes) -> Any:
    """Return what ``text`` says.

    :raises JsonError: it is no JSON in UTF-8, is nested too deeply, or has a number without measure.
    """
    try:
        return _decoder.decode(text)
    except NOT_JSON as error:
        raise JsonError(str(error)) from None


def encode_json(value: Any) -> bytes:
    """Return ``value`` as compact JSON."""
    return _encoder.encode(value)
