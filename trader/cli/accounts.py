"""Check that there is something to show when the trader names no account.

Then all accounts of one riskd are shown: of the one that runs, or else of the one whose state was published last.
They are never those of two, since a number may be one account on PRACTICE and another at a broker.
"""

from __future__ import annotations

from pathlib import Path

from riskd.journal.contents import published_copies
from riskd.journal.discovery import choose_daemon, running_daemons
from riskd.journal.reader import StateFileError, read_published
from trader.cli.options import Options


def why_no_account(options: Options, root: Path) -> str:
    """Return why no account can be shown, in a sentence; empty if one may be.

    :param root: the directory that holds the state directories of this user's daemons.
    :raises SeveralDaemonsError: several riskd run, and none of them is the obvious one.
    """
    if options.url is not None:
        # The riskd there says which accounts it follows.
        return ""
    if options.state is not None:
        return _why_not_readable(options.state)
    if choose_daemon(running_daemons(root)) is not None or published_copies(root):
        return ""
    return (
        f"no riskd runs, and there is no last known state under {root}; "
        "start one with riskctl init and twistd -n riskd"
    )


def _why_not_readable(state: Path) -> str:
    try:
        read_published(state)
    except StateFileError as error:
        return str(error)
    return ""
