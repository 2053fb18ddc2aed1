"""What riskd logs in with."""

from __future__ import annotations

from typing import NamedTuple


class CredentialsError(Exception):
    """There is nothing to log in with; the text says why, in a sentence."""


class Secret:
    """A text that shows itself to nobody who does not ask for it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class Credentials(NamedTuple):
    """A user and the API key."""

    user_name: str
    api_key: Secret
