"""The account to show when the trader names none.

All accounts that are offered are of one riskd, so that the number says which account is meant: of the one
that runs, or else of the one whose state was published last.
"""

from __future__ import annotations

from pathlib import Path

from riskd.journal.discovery import (
    choose_daemon,
    gateway_words,
    published_copies,
    running_daemons,
)
from trader.cli.options import Ask, Options, Say, choose_account, choose_among


def find_account(options: Options, root: Path, ask: Ask | None, say: Say) -> int | None:
    """Return the account to show, by what the trader named and what runs.

    :param root: the directory that holds the state directories of this user's daemons.
    :param ask: asks a question and returns the answer; ``None`` without a terminal.
    :param say: shows a sentence to the trader.
    :return: ``None`` if no account was chosen; ``say`` has been given the reason.
    :raises SeveralDaemonsError: several riskd run, and none of them is the obvious one.
    """
    if options.state is not None:
        return choose_account(options.state, ask, say)
    daemon = None if options.url is not None else choose_daemon(running_daemons(root))
    if daemon is not None:
        words = gateway_words(daemon.record.kind)
        return choose_among(sorted(daemon.record.accounts), f" on {words}", ask, say)
    copies = published_copies(root)
    if not copies:
        say(
            f"name an account, such as 123; no riskd runs, and there is no last known state under {root}"
        )
        return None
    snapshot = copies[0].snapshot
    words = f" on {gateway_words(snapshot.gateway_name)}"
    return choose_among(sorted(snapshot.accounts), words, ask, say)
