"""What the engine asks of its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from zope.interface import Interface

from riskd.journal.store import Recovery
from riskd.model.account import AccountState
from riskd.model.events import Event


class IJournal(Interface):
    """The daemon's memory on disk.  None of its Deferreds ever fails."""

    def recover(
        account_ids: Iterable[int],
        states: Callable[[], Iterable[AccountState]],
        found: Callable[[Recovery], None],
        report: Callable[[str], None],
    ) -> Deferred[None]:
        """Open the journal; fires once it is in use, or once a first attempt has failed.

        :param account_ids: the accounts that the daemon follows.
        :param states: returns the states to write, at each write.
        :param found: receives the journal's content once it is open, possibly after later attempts.
        :param report: receives each problem as a sentence, and an empty text when it is over.
        """

    def read_copy() -> Deferred[dict[int, AccountState]]:
        """Fires with the accounts in the published copy; with none if it cannot be read."""

    def changed(*, only_quotes: bool = False) -> None:
        """Schedule a write and a publication, because states have changed."""

    def note_event(event: Event) -> None:
        """Add an event to the outbox, in the commit that writes its effect.

        Without an outbox it does nothing.  Quotes do not come here.
        """

    def make_durable() -> Deferred[str]:
        """Write the states now.

        Fires once they are on disk, with an empty text, or once the write has failed, with the reason.
        """

    def published() -> Deferred[None]:
        """Fires once the published copy holds all that was broadcast before this call.

        It fires after a second at the latest.
        """
