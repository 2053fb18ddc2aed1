"""What ``daemon_status`` says: the gravest problem that lasts, or that the daemon is running."""

from __future__ import annotations

from typing import Final

from riskd.model.events import DRY_RUN_NOTE

_CONSEQUENCES: Final = ("gateway quotes", "feed", "reconciliation ")
"""How the sources of problems begin that mostly follow from another one.

The later ones matter more than the earlier ones, and all others matter more than these.
"""

_GATEWAY_LABELS: Final[dict[str, str]] = {"practice": "PRACTICE", "projectx": "ProjectX"}


class Problems:
    """The problems that last, one sentence for each source, and the one that was announced last."""

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}
        self._announced = ""

    def __bool__(self) -> bool:
        """Return whether there is any problem."""
        return bool(self._sentences)

    def report(self, source: str, sentence: str) -> str | None:
        """Note the problem of a source; return what is to be announced, if anything is.

        :param sentence: for a trader to read; an empty one ends the problem of that source.
        :return: the sentence of the gravest problem, an empty one if the last problem is over, or
            ``None`` if that was announced already.
        """
        if self._sentences.get(source, "") == sentence:
            return None
        self._sentences.pop(source, None)
        if sentence:
            self._sentences[source] = sentence
        # Of several that are equally grave, the latest is news.
        gravest = max(reversed(self._sentences), key=_gravity, default="")
        sentence = self._sentences.get(gravest, "")
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
    """Return what is announced when the daemon runs and has no problems.

    :param gateway_name: the kind of gateway, such as ``practice``.
    :param is_first: whether it is announced for the first time.
    """
    begun = "Daemon started successfully" if is_first else "Running again"
    note = "" if enforces else f" {DRY_RUN_NOTE}"
    return f"{begun} on the {_GATEWAY_LABELS.get(gateway_name, gateway_name)} gateway{note}"
