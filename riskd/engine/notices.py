"""Announce sentences about what the published copy already has.

Clients read the copy again when a ``daemon_status`` comes.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from riskd.journal.interface import IJournal
from riskd.model.formatting import counted

_log = Logger()


def announce_published(journal: IJournal, announce: Callable[[], None], what: str) -> None:
    """Announce something once the published copy has it.

    :param what: for the log, should that fail: ``a notice``.
    """
    written = journal.make_durable()
    written.addCallback(lambda _: journal.published())
    written.addCallback(lambda _: announce())
    written.addErrback(
        lambda failure: _log.failure("announcing {what}: internal error", failure, what=what)
    )


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
            announce_published(self._journal, self._announce_all, "a notice")

    def _announce_all(self) -> None:
        sentences, self._sentences = self._sentences, []
        more = len(sentences) - 1
        note = f" ({counted(more, f'more {self._name}')})" if more else ""
        self._announce(f"{sentences[0]}{note}")
