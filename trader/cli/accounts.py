"""The account to show when the trader names none.

All accounts that are offered are of one riskd, so that the number says which account is meant: of the one
that runs, or else of the one whose state was published last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from riskd.journal.contents import published_copies
from riskd.journal.discovery import (
    choose_daemon,
    gateway_words,
    running_daemons,
)
from riskd.journal.reader import StateFileError, read_published
from trader.cli.options import Options

Ask = Callable[[str], str]
Say = Callable[[str], object]


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
        problem = f"there is no last known state under {root}"
        if options.url is None:
            problem = f"no riskd runs, and {problem}"
        say(f"name an account, such as 123; {problem}")
        return None
    snapshot = copies[0].snapshot
    words = f" on {gateway_words(snapshot.gateway_name)}"
    return choose_among(sorted(snapshot.accounts), words, ask, say)


def choose_account(state: Path, ask: Ask | None, say: Say) -> int | None:
    """Return the state file's account; if it has several, the one the trader chooses.

    :param ask: asks a question and returns the answer; ``None`` without a terminal.
    :param say: shows a sentence to the trader.
    :return: ``None`` if no account was chosen; ``say`` has been given the reason.
    """
    try:
        known = sorted(read_published(state).accounts)
    except StateFileError as error:
        say(f"name an account, such as 123; {error}")
        return None
    return choose_among(known, "", ask, say)


def choose_among(known: Collection[int], where: str, ask: Ask | None, say: Say) -> int | None:
    """Return one of ``known``; the parameters are those of :func:`choose_account`.

    :param where: follows the accounts in a sentence.
    """
    if len(known) == 1:
        return next(iter(known))
    names = [str(account) for account in known]
    if not known or ask is None:
        listed = ", ".join(names) or "none"
        say(f"name an account, such as 123; the state file knows {listed}{where}")
        return None
    say(f"accounts{where}: {', '.join(names)}")
    try:
        answer = ask("account: ").strip()
    except (EOFError, KeyboardInterrupt):
        return None
    if answer in names:
        return int(answer)
    say(f"{answer!r} is none of them")
    return None
