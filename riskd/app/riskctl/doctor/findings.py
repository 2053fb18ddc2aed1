"""What a check finds: a verdict, a sentence, and the command that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from enum import IntEnum
from os import PathLike, fspath

import msgspec

from riskd.app.riskctl.programs import runnable
from riskd.model.safe_text import printable


class Verdict(IntEnum):
    """How bad a finding is; the worst one is the exit status of the program.

    A note is about what cannot be checked here.
    """

    OK = 0
    NOTE = -1
    WARNING = 1
    WRONG = 2


_LABELS = {
    Verdict.OK: "ok",
    Verdict.NOTE: "note",
    Verdict.WARNING: "warning",
    Verdict.WRONG: "WRONG",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found.

    :ivar what: what was checked.
    :ivar says: the finding.
    :ivar mend: a command for a shell; empty where nothing is to be mended, or no command can.
    """

    what: str
    verdict: Verdict
    says: str
    mend: str = ""

    @property
    def lines(self) -> Iterator[str]:
        """The finding as lines for a terminal."""
        yield printable(f"{_LABELS[self.verdict]:8} {self.what}: {self.says}")
        if self.mend:
            yield printable(f"{'':8} $ {runnable(self.mend)}")


def ok(what: str, says: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(what=what, verdict=Verdict.OK, says=says)


def note(what: str, says: str) -> Finding:
    """Return the finding that something cannot be checked."""
    return Finding(what=what, verdict=Verdict.NOTE, says=says)


def warning(what: str, says: str, mend: str = "") -> Finding:
    """Return a finding that may lead to trouble."""
    return Finding(what=what, verdict=Verdict.WARNING, says=says, mend=mend)


def wrong(what: str, says: str, mend: str = "") -> Finding:
    """Return a finding with which riskd does not guard."""
    return Finding(what=what, verdict=Verdict.WRONG, says=says, mend=mend)


def worst(findings: Iterable[Finding]) -> int:
    """Return the exit status for findings."""
    return max((max(each.verdict, Verdict.OK) for each in findings), default=Verdict.OK)


def quoted(path: PathLike[str] | str) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(fspath(path))
