"""What the pipeline asks of its journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.internet.defer import Deferred

    from riskd.journal.store import Recovery
    from riskd.model.account import AccountState


class IJournal(Interface):
    """What survives the daemon; no Deferred of it ever fails."""

    def recover(
        account_ids: Iterable[int],
        states: Callable[[], Iterable[AccountState]],
        found: Callable[[Recovery], None],
        report: Callable[[str], None],
    ) -> Deferred[None]:
        """Open the journal; fire when it is in use, or when it cannot be opened now.

        :param account_ids: the accounts that are followed.
        :param states: gives the states that are to be written, whenever the journal writes.
        :param found: told what the journal knows, once it can be opened; that may be later.
        :param report: told of trouble in a sentence, and with an empty one that it is over.
        """

    def read_copy() -> Deferred[dict[int, AccountState]]:
        """Fire with what the published copy says of each account; with nothing if it cannot be read."""

    def changed(*, only_quotes: bool = False) -> None:
        """Take note that the states have changed; they will be written and published in time."""

    def make_durable() -> Deferred[None]:
        """Write the states now; fire when they are on the disk, or when they cannot be written now."""

    def published() -> Deferred[None]:
        """Fire when the published copy holds all that was broadcast before this call, or a second later."""
