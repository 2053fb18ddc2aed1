"""What of an account's earlier settings stays in force because of its commitment.

Earlier and new settings are both evaluated until the wait is over; of what has one value at a time, such as the
daily reset, the earliest stays.  All of it is in the journal (:mod:`riskd.model.commitment`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from riskd.config.known_settings import DAY_NAME, OWN_NAME
from riskd.config.settings import AccountSettings, Settings
from riskd.engine.limits_in_force import LimitsInForce, settings_of_limits
from riskd.engine.loosening import is_looser, loosened_settings, rule_in_force, term_of
from riskd.model.account import AccountState
from riskd.model.commitment import (
    ACCOUNT,
    COMMITMENT_KEY,
    NO_COMMITMENT,
    UNLOCK,
    Commitment,
    Wait,
    commitment_of,
    end_of_day_after,
    end_of_wait,
)
from riskd.model.settings_changes import RULE_PREFIX, words_of
from riskd.model.trading_day import ResetSchedule
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import IRule

MOST_OF_A_RULE: Final = 8
"""How many earlier settings of one rule wait at a time; of more, the last of them waits anew."""

AT_A_START: Final = ("enforce", "gateway", ACCOUNT)
"""What takes effect at the next start only."""

_SINGLE: Final = (DAY_NAME, "gateway")
"""What has one value at a time: of several earlier ones the first stays, until the last change has waited."""


class Changes(NamedTuple):
    """What a change of settings does to what waits.

    :ivar begun: the names of the settings that wait because of it.
    :ivar withdrawn: the names of those that do not wait any more.
    """

    begun: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()

    def words(self, name: str) -> str:
        """Return what it does to the settings of a name, in a clause, if anything."""
        if name in self.begun:
            return "this loosens, and waits"
        return "what waited is withdrawn" if name in self.withdrawn else ""


class CommittedSettings:
    """The commitment of one account.

    :param catalogue: all rules there are, by key.
    :ivar commitment: the terms, and what waits.
    :ivar recovered: what the settings have done to it that were read while no daemon ran.
    """

    def __init__(self, catalogue: Mapping[str, IRule]) -> None:
        self._catalogue = catalogue
        self.commitment = NO_COMMITMENT
        self.recovered = Changes()

    def recover(
        self, known: AccountState, asked: Mapping[str, str], now: datetime, operator: str
    ) -> None:
        """Take over what waits; what was loosened while riskd did not run waits, too.

        :param known: the state in the journal or, while that cannot be read, in the published copy.
        :param asked: the settings of the account, as JSON by name; of one that is not configured those that are
            not about single accounts.
        :param operator: the user who owns the settings.
        """
        found = commitment_of(known)
        self._take_over(found)
        before = known.risk.settings
        if not before:
            before = settings_of_copy(known)
        if OWN_NAME not in asked:
            if not self.commitment.terms:
                return
            asked = {**{key: before[key] for key in before if key != OWN_NAME}, **asked}
        self.recovered = self.change(before, asked, now, operator)

    def _take_over(self, found: Commitment) -> None:
        # The daemon has been started with what was only waiting for that.
        waits = [each for each in found.waits if not (each.is_over and each.name != ACCOUNT)]
        keys = {(each.name, each.old) for each in waits}
        waits += [each for each in self.commitment.waits if (each.name, each.old) not in keys]
        self.commitment = msgspec.structs.replace(found, waits=tuple(waits))

    def change(
        self,
        before: Mapping[str, str],
        after: Mapping[str, str],
        now: datetime,
        operator: str,
    ) -> Changes:
        """Take over new settings; what is looser waits.

        :param before: the settings until now, as JSON by name.
        """
        terms, sentences = self.commitment.terms, words_of(before, after)
        withdrawn = []
        waits: list[Wait] = []
        for each in self.commitment.waits:
            if self._is_withdrawn(each, after):
                withdrawn.append(each.name)
            else:
                waits.append(each)
        begun = []
        for name in loosened_settings(before, after, self._catalogue) if terms else ():
            if name in _SINGLE and name in withdrawn:
                # What it replaces was never in force.
                continue
            begun.append(name)
            old = term_of(before[name]) if name == COMMITMENT_KEY else before[name]
            waits = _with_wait(
                waits,
                Wait(
                    name=name,
                    old=old,
                    asked_at=now,
                    sentence=sentences.get(name, name),
                    operator=operator,
                ),
            )
        enforces = after.get("enforce") != "false" or any(each.name == "enforce" for each in waits)
        self.commitment = Commitment(
            loosen_after=term_of(after.get(COMMITMENT_KEY, "null")),
            is_dry_run=not enforces,
            waits=tuple(waits),
        )
        return Changes(tuple(begun), tuple(dict.fromkeys(withdrawn)))

    def _is_withdrawn(self, wait: Wait, after: Mapping[str, str]) -> bool:
        if wait.name in (UNLOCK, ACCOUNT):
            return wait.name == ACCOUNT and OWN_NAME in after
        old = wait.old
        if wait.name == COMMITMENT_KEY:
            old = _commitment_json(old)
        return not is_looser(wait.name, old, after.get(wait.name), self._catalogue)

    def ask(self, name: str, old: str, sentence: str, now: datetime, operator: str) -> bool:
        """Let something else wait; return whether it does: there is a commitment.

        What waits already waits no longer because of it.
        """
        if not self.commitment.terms:
            return False
        if not self.commitment.waiting(name):
            wait = Wait(name=name, old=old, asked_at=now, sentence=sentence, operator=operator)
            self._replace((*self.commitment.waits, wait))
        return True

    def withdraw(self, name: str) -> tuple[Wait, ...]:
        """Withdraw what waits by a name, and return it."""
        withdrawn = self.commitment.waiting(name)
        self._replace(each for each in self.commitment.waits if each.name != name)
        return withdrawn

    def end(self, asked: LimitsInForce, now: datetime) -> tuple[Wait, ...]:
        """End the waits whose time is over, and return them.

        :param asked: the limits of the settings.
        :param now: the broker's time.
        """
        if not self.commitment.waits:
            return ()
        schedule, terms = self._schedule(asked), self.commitment.terms
        waits: list[Wait] = []
        ended: list[Wait] = []
        for each in self.commitment.waits:
            wait = each if each.until is not None else _begun(each, terms, now, schedule)
            if wait.is_over or not _may_end(wait, asked.schedule, schedule, now):
                waits.append(wait)
                continue
            ended.append(wait)
            if wait.name in AT_A_START:
                waits.append(msgspec.structs.replace(wait, is_over=True))
        self._replace(waits)
        return tuple(ended)

    def in_force(self, asked: LimitsInForce) -> LimitsInForce:
        """Return the limits of the settings, and the earlier ones still in force."""
        waits = self.commitment.waits
        if not waits:
            return asked
        held = [
            rule_in_force(each.name, each.old, each.number, self._catalogue)
            for each in waits
            if each.name.startswith(RULE_PREFIX)
        ]
        rules = sorted(
            (*asked.rules, *(each for each in held if each is not None)),
            key=lambda one: one.rule.rule_id,
        )
        is_strict = asked.is_strict or bool(self.commitment.waiting("strict_mode"))
        return LimitsInForce(tuple(rules), is_strict, self._schedule(asked))

    def _schedule(self, asked: LimitsInForce) -> ResetSchedule:
        for each in self.commitment.waiting(DAY_NAME):
            try:
                return msgspec.json.decode(each.old, type=ResetSchedule)
            except (msgspec.MsgspecError, ValueError):
                continue
        return asked.schedule

    def _replace(self, waits: Iterable[Wait]) -> None:
        self.commitment = msgspec.structs.replace(self.commitment, waits=tuple(waits))


def _commitment_json(loosen_after: str) -> str:
    """Return a commitment among the known settings."""
    value = {"loosen_after": loosen_after} if loosen_after else None
    return msgspec.json.encode(value).decode()


def settings_of_copy(known: AccountState) -> dict[str, str]:
    """Return the settings that the published copy has.

    They are the limits, and what a commitment keeps.

    :return: as :func:`riskd.config.known_settings.known_settings` does; empty if nothing is known.
    """
    settings, commitment = settings_of_limits(known.limits), commitment_of(known)
    if settings and commitment.terms:
        settings[COMMITMENT_KEY] = _commitment_json(commitment.loosen_after)
        settings["enforce"] = "false" if commitment.is_dry_run else "true"
    return settings


def enforcing_settings(settings: Settings, known: Iterable[AccountState]) -> Settings:
    """Return settings that enforce, if a commitment lets a dry run wait.

    Whether the wait is over, a running riskd has found by the broker's time, and journaled.

    :param known: the accounts in the journal or, if that cannot be read, in the published copy.
    """
    if settings.enforce or not any(_keeps_enforcing(each) for each in known):
        return settings
    return msgspec.structs.replace(settings, enforce=True, is_kept_enforcing=True)


def _keeps_enforcing(known: AccountState) -> bool:
    commitment = commitment_of(known)
    if waits := commitment.waiting("enforce"):
        return not all(each.is_over for each in waits)
    return bool(commitment.terms) and not commitment.is_dry_run


def is_kept(known: AccountState) -> bool:
    """Return whether a commitment keeps an account that is not configured any more."""
    commitment = commitment_of(known)
    return bool(commitment.terms) and not any(each.is_over for each in commitment.waiting(ACCOUNT))


def earlier_settings(known: AccountState, catalogue: Mapping[str, IRule]) -> AccountSettings:
    """Return the settings of an account by what is known of its last ones."""
    settings = known.risk.settings or settings_of_limits(known.limits)
    held = [
        rule_in_force(name, text, 1, catalogue)
        for name, text in settings.items()
        if name.startswith(RULE_PREFIX)
    ]
    rules = (RuleInForce(each.rule, each.settings) for each in held if each is not None)
    schedule = ResetSchedule()
    # What cannot be read must not keep the rest of the journal from being recovered.
    with suppress(msgspec.MsgspecError, ValueError):
        if DAY_NAME in settings:
            schedule = msgspec.json.decode(settings[DAY_NAME], type=ResetSchedule)
    return AccountSettings(
        id=known.account_id,
        schedule=schedule,
        rules=tuple(sorted(rules, key=lambda one: one.rule.rule_id)),
    )


def _with_wait(waits: list[Wait], wait: Wait) -> list[Wait]:
    """Return waits with another one."""
    same = [each for each in waits if each.name == wait.name]
    equal = [each for each in same if each.old == wait.old]
    if wait.name in _SINGLE and same:
        # What was asked for before was never in force.
        again = same[0]
    elif equal or len(same) >= MOST_OF_A_RULE:
        again = (equal or same)[-1]
    else:
        again = None
    if again is not None:
        # Earlier settings stand in for those of the change, and wait anew.
        changes: dict[str, Any] = {
            name: getattr(wait, name) for name in ("asked_at", "sentence", "operator")
        }
        anew = msgspec.structs.replace(again, until=None, is_over=False, **changes)
        return [anew if each is again else each for each in waits]
    taken = {each.number for each in same}
    number = next(each for each in range(2, MOST_OF_A_RULE + 3) if each not in taken)
    return [*waits, msgspec.structs.replace(wait, number=number)]


def _begun(wait: Wait, terms: Iterable[str], now: datetime, schedule: ResetSchedule) -> Wait:
    """Return a wait whose end is known, because the broker's time is."""
    until = end_of_wait(terms, now, schedule)
    if wait.name == DAY_NAME:
        # The day that goes on then ends as it was to end.
        until = end_of_day_after(until, schedule)
    return msgspec.structs.replace(wait, asked_at=now, until=until)


def _may_end(wait: Wait, asked: ResetSchedule, schedule: ResetSchedule, now: datetime) -> bool:
    if wait.until is None or wait.until > now:
        return False
    # Where the new reset is a little later, the day of the old one must not begin again.
    return wait.name != DAY_NAME or asked.day_key(now) == schedule.day_key(now)
