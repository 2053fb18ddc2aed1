"""JSON whose whole numbers are ``int`` and whose fractions are ``Decimal``, both ways."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec


class JsonError(ValueError):
    """Some text is no JSON, or holds a number that nobody can reckon with."""


_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


def decode_json(text: bytes) -> Any:
    """Return what ``text`` says.

    :raises JsonError: it is no JSON in UTF-8, is nested too deeply, or has a number without measure.
    """
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
        raise JsonError(str(error)) from None


def encode_json(value: Any) -> bytes:
    """Return ``value`` as compact JSON."""
    return _encoder.encode(value)
