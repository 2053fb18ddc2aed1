"""What the journal holds, and the statements that bring it up to date.

Nothing here touches the disk: after a write that has failed, the content is what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Final

import msgspec

from riskd.journal.differences import Statement, differences, equity_statement, removal
from riskd.journal.gateway_identity import DESK
from riskd.journal.outbox import ADD_EVENT, OUTBOX_FACT, NotedEvent, rows_after
from riskd.journal.schema import STATUS_OF_ACCOUNT, as_stamp
from riskd.model.account import AccountState
from riskd.model.equity import EquityMark
from riskd.model.event_number import Number
from riskd.model.events import DaemonStatus, Status
from riskd.model.wire import encode_data

KEPT_HISTORY: Final = timedelta(days=2 * 366)
"""How long executions and the equity of each minute are kept."""

_PUT_FACT: Final = "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)"
_DROP_CLOCK_OFFSET: Final = "DELETE FROM facts WHERE name = 'clock_offset'"
_PRUNE: Final = ("DELETE FROM results WHERE at < ?", "DELETE FROM equity WHERE at < ?")


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon knows at one moment, to be written.

    :ivar now: the moment by the wall clock.
    :ivar takes_quotes: whether quotes are written; otherwise the journal keeps those that it has.
    :ivar clock_offset: the fact of that name; see :data:`riskd.journal.schema.MIGRATIONS`.
    :ivar marks: the accounts' figures; kept once a minute, while the broker's time is known.
    :ivar events: those to add to the outbox.
    :ivar lost: how many events never come to it, before these; their numbers are left out.
    """

    states: tuple[AccountState, ...]
    gateway_name: str
    now: datetime
    takes_quotes: bool = True
    clock_offset: str | None = None
    marks: tuple[EquityMark, ...] = ()
    events: tuple[NotedEvent, ...] = ()
    lost: int = 0

    @property
    def at(self) -> datetime | None:
        """The moment by the broker's clock; ``None`` while it is unknown."""
        if self.clock_offset is None:
            return None
        return self.now + timedelta(seconds=float(self.clock_offset))


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal holds.

    :ivar accounts: by account id.
    :ivar facts: those that are known; the journal may hold others, and other values of these.
    :ivar commits: the number of writes so far.
    :ivar has_clock_offset: whether ``clock_offset`` is among its facts.
    :ivar pruned_on: the day on which old rows were deleted last, by the broker's clock.
    :ivar status: the status of the daemon that is among its facts.
    :ivar marked: the latest minute whose figures it has, by account id.
    :ivar marks: the figures of the last write, for the copy.
    :ivar marks_at: the moment of these by the broker's clock.
    :ivar number: of the last event in the outbox, or before the first of this run; ``None`` without an outbox.
    """

    accounts: dict[int, AccountState]
    facts: dict[str, str]
    commits: int
    has_clock_offset: bool = False
    pruned_on: date | None = None
    status: DaemonStatus | None = None
    marked: Mapping[int, datetime] = {}
    marks: tuple[EquityMark, ...] = ()
    marks_at: datetime | None = None
    number: Number | None = None

    def known(self, state: AccountState) -> AccountState:
        """Return what the journal holds of the account of ``state``."""
        return self.accounts.get(state.account_id) or AccountState(account_id=state.account_id)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A write.

    :ivar statements: none if there is nothing to write.
    :ivar content: what the journal holds after it.
    :ivar has_all_quotes: whether it takes all quotes.
    """

    statements: list[Statement]
    content: Content
    has_all_quotes: bool


def plan_write(content: Content, present: Present) -> Plan:
    """Return the write that turns ``content`` into ``present``."""
    states, now, at = present.states, present.now, present.at
    has_all_quotes = present.takes_quotes or all(
        state.quotes == content.known(state).quotes for state in states
    )
    if not present.takes_quotes:
        states = tuple(_with_quotes_of(content.known(state), state) for state in states)
    statements = [
        statement
        for state in states
        for statement in differences(content.accounts.get(state.account_id), state)
    ]
    removed = _removed(content, present)
    if removed:
        statements += removal(removed)
    status = _status(present)
    facts = _facts(content, present, status)
    if present.clock_offset is None and content.has_clock_offset:
        # That of an earlier run says nothing of this machine's clock now.
        statements.append((_DROP_CLOCK_OFFSET, [()]))
    number = content.number
    if number is not None and present.events:
        number = number._replace(seq=number.seq + present.lost)
        statements.append((ADD_EVENT, rows_after(number, present.events, now)))
        number = number._replace(seq=number.seq + len(present.events))
        facts[OUTBOX_FACT] = str(number)
    # as_of and commits come later: alone they are no reason for a write.
    if not statements and facts.items() <= content.facts.items():
        return Plan(statements=[], content=content, has_all_quotes=has_all_quotes)
    marked, pruned_on = content.marked, content.pruned_on
    if at is not None:
        minute = at.replace(second=0, microsecond=0)
        marks = [mark for mark in present.marks if marked.get(mark.account_id) != minute]
        if marks:
            statements.append(equity_statement(marks, minute))
            marked = {**marked, **{mark.account_id: minute for mark in marks}}
        if minute.date() != pruned_on:
            pruned_on = minute.date()
            before = as_stamp(minute - KEPT_HISTORY)
            statements += [(sql, [(before,)]) for sql in _PRUNE]
    facts |= {"as_of": now.isoformat(), "commits": str(content.commits + 1)}
    statements.append((_PUT_FACT, list(facts.items() - content.facts.items())))
    kept = {key: state for key, state in content.accounts.items() if key not in removed}
    after = Content(
        accounts=kept | {state.account_id: state for state in states},
        facts=facts,
        commits=content.commits + 1,
        has_clock_offset=present.clock_offset is not None,
        pruned_on=pruned_on,
        status=status,
        marked=marked,
        marks=present.marks,
        marks_at=at,
        number=number,
    )
    return Plan(statements=statements, content=after, has_all_quotes=has_all_quotes)


def _removed(content: Content, present: Present) -> frozenset[int]:
    """Return the accounts of a desk that have left it.

    All other accounts stay in their journal, which alone knows their locks.
    """
    if present.gateway_name != DESK:
        return frozenset()
    return frozenset(content.accounts.keys() - {state.account_id for state in present.states})


def _status(present: Present) -> DaemonStatus | None:
    """Return the daemon's status; of several, that of one with a problem."""
    statuses = (state.daemon for state in present.states if state.daemon)
    if present.gateway_name != DESK:
        return next(statuses, None)
    return min(statuses, key=lambda each: each.status is Status.RUNNING, default=None)


def _facts(content: Content, present: Present, status: DaemonStatus | None) -> dict[str, str]:
    """Return the facts that are a reason for a write when they change."""
    facts = {"gateway": present.gateway_name}
    if status is not None:
        known = content.facts.get("daemon_status") if status is content.status else None
        facts["daemon_status"] = known or encode_data(status)
    if present.clock_offset is not None:
        facts["clock_offset"] = present.clock_offset
    if present.gateway_name == DESK:
        facts |= _statuses(present.states)
    return facts


def _statuses(states: Iterable[AccountState]) -> dict[str, str]:
    """Return the facts on the daemons of a desk's accounts."""
    # Many accounts share a status.
    encoded: dict[int, str] = {}
    facts = {}
    for state in states:
        if state.daemon is not None:
            key = id(state.daemon)
            if key not in encoded:
                encoded[key] = encode_data(state.daemon)
            facts[f"{STATUS_OF_ACCOUNT}{state.account_id}"] = encoded[key]
    return facts


def _with_quotes_of(known: AccountState, state: AccountState) -> AccountState:
    """Return ``state`` with the journal's quotes.

    What a position has outdated since is not among them.
    """
    quotes = known.quotes
    if state.outdated_quotes is not known.outdated_quotes:
        outdated = {
            key
            for key, quote in state.outdated_quotes.items()
            if known.outdated_quotes.get(key) != quote
        }
        newer = {key: quote for key, quote in state.quotes.items() if key in outdated}
        quotes = {key: quote for key, quote in quotes.items() if key not in outdated} | newer
    return state if quotes is state.quotes else msgspec.structs.replace(state, quotes=quotes)
