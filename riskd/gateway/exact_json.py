"""JSON with whole numbers as ``int`` and fractions as ``Decimal``, both ways."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec


class JsonError(ValueError):
    """A text is not JSON, or holds a number that is too large to compute with."""


NOT_JSON: Final = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
"""The errors of a ``msgspec`` decoder about text that is not JSON, or nested too deeply, or about huge numbers."""

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


def decode_json(text: bytes) -> Any:
    """Return the value of a JSON text.

    :raises JsonError: it is not JSON in UTF-8, is nested too deeply, or has a huge number.
    """
    try:
        return _decoder.decode(text)
    except NOT_JSON as error:
        raise JsonError(str(error)) from None


def encode_json(value: Any) -> bytes:
    """Return ``value`` as compact JSON."""
    return _encoder.encode(value)
