"""Which journal ``riskctl`` reads when no state directory is named."""

from __future__ import annotations

from pathlib import Path

from riskd.app.riskctl.finding import Say, choose
from riskd.host.directories import default_directory
from riskd.host.errors import UserError
from riskd.journal.contents import published_copies
from riskd.journal.discovery import gateway_words, running_daemons
from riskd.journal.schema import JOURNAL_NAME


def journal_directory(named: Path | None, account_id: int, say: Say) -> Path:
    """Return the state directory of an account, whether or not riskd runs.

    The parameters are those of :func:`riskd.app.riskctl.finding.daemon_directory`.

    :raises UserError: several riskd run and none is the obvious one, or no directory knows the account.
    """
    if named is not None:
        return named
    root = default_directory()
    chosen = choose(running_daemons(root), account_id, say)
    if chosen is not None and chosen.serves(account_id):
        return chosen.directory
    copies = published_copies(root, account_id)
    if not copies:
        # The only place of an earlier riskd, whose copy may be missing.
        if (root / JOURNAL_NAME).exists():
            return root
        raise UserError(
            f"no state directory in {root} knows account {account_id} (--state names another one)"
        )
    first, *others = copies
    if others:
        kind = gateway_words(first.snapshot.gateway_name)
        say(
            f"account {account_id} is in {len(copies)} state directories; this is that of {kind}, "
            f"{first.directory}, which was published last"
        )
    return first.directory
