"""Announce sentences about what the published copy already has.

Clients read the copy again when a ``daemon_status`` comes.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from riskd.journal.interface import IJournal
from riskd.model.formatting import counted

_log = Logger()


class Notices:
    """Announces notices once the published copy has what they are about.

    Several that come while the copy is written are one announcement.

    :param journal: publishes the copy.
    :param announce: takes the sentence.
    :param name: what one of them is called.
    """

    def __init__(
        self, journal: IJournal, announce: Callable[[str], None], name: str = "notice"
    ) -> None:
        self._journal = journal
        self._announce = announce
        self._name = name
        self._sentences: list[str] = []

    def report(self, sentence: str) -> None:
        """Announce what the account's state already has."""
        _log.warn("{sentence}", sentence=sentence)
        self._sentences.append(sentence)
        if len(self._sentences) == 1:
            written = self._journal.make_durable()
            written.addCallback(lambda _: self._journal.published())
            written.addCallback(lambda _: self._announce_all())
            written.addErrback(
                lambda failure: _log.failure("announcing a notice: internal error", failure)
            )

    def _announce_all(self) -> None:
        sentences, self._sentences = self._sentences, []
        more = len(sentences) - 1
        note = f" ({counted(more, f'more {self._name}')})" if more else ""
        self._announce(f"{sentences[0]}{note}")
