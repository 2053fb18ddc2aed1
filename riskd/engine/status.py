"""The message of ``daemon_status``: the gravest problem, or that riskd runs."""

from __future__ import annotations

from typing import Final

from riskd.model.events import DRY_RUN_NOTE

_CONSEQUENCES: Final = ("clock", "gateway quotes", "feed", "reconciliation ")
"""How the sources begin whose problems mostly follow from another one, or leave the rules right.

The least grave comes first.

The problems of all other sources are graver.
"""

_GATEWAY_LABELS: Final[dict[str, str]] = {"practice": "PRACTICE", "projectx": "ProjectX"}


class Problems:
    """The open problems, one sentence a source, and the one announced last."""

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}
        self._announced = ""

    def __bool__(self) -> bool:
        """Return whether there is any problem."""
        return bool(self._sentences)

    @property
    def gravest(self) -> str:
        """The sentence of the gravest problem; empty if there is none.

        Of equally grave problems, it is the latest.
        """
        source = max(reversed(self._sentences), key=_gravity, default="")
        return self._sentences.get(source, "")

    def report(self, source: str, sentence: str) -> str | None:
        """Open, change or end the problem of a source; return the sentence to announce.

        :param sentence: for a trader to read; an empty one ends the problem of that source.
        :return: the sentence of the gravest problem; an empty one if the last problem has ended;
            ``None`` if that sentence was announced already.
        """
        if self._sentences.get(source, "") == sentence:
            return None
        self._sentences.pop(source, None)
        if sentence:
            self._sentences[source] = sentence
        sentence = self.gravest
        if sentence == self._announced:
            return None
        self._announced = sentence
        return sentence


def _gravity(source: str) -> int:
    for gravity, beginning in enumerate(_CONSEQUENCES):
        if source.startswith(beginning):
            return gravity
    return len(_CONSEQUENCES)


def running_message(gateway_name: str, *, is_first: bool, enforces: bool) -> str:
    """Return the message of ``daemon_status`` while there is no problem.

    :param gateway_name: the kind of gateway, such as ``practice``.
    :param is_first: whether this daemon announces RUNNING for the first time.
    """
    begun = "Daemon started successfully" if is_first else "Running again"
    note = "" if enforces else f" {DRY_RUN_NOTE}"
    return f"{begun} on the {_GATEWAY_LABELS.get(gateway_name, gateway_name)} gateway{note}"
