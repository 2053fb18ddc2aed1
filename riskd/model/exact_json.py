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

# The encoder's own method: each broadcast event goes through it.
encode_json: Final = msgspec.json.Encoder(decimal_format="number").encode
"""Return a value as compact JSON in UTF-8."""


def decode_json(text: bytes | str | msgspec.Raw) -> Any:
    """Return the value of a JSON text.

    :raises JsonError: it is not JSON in UTF-8, is nested too deeply, or has a huge number.
    """
    try:
        return _decoder.decode(text)
    except NOT_JSON as error:
        raise JsonError(str(error)) from None
