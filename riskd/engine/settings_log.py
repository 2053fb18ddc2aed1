"""Journal and report changes of settings, also those made while no daemon ran.

The journal keeps the settings that each account was configured with last.  What the file has is compared with
them at the start, once the journal is open, and at each reload.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from twisted.logger import Logger

from riskd.config.known_settings import (
    ACCOUNTS_NAME,
    COMMON_NAMES,
    DAY_NAME,
    kept_ids,
    known_settings,
)
from riskd.config.settings import Settings
from riskd.engine.committed_settings import Changes, settings_of_copy
from riskd.engine.guarded_account import GuardedAccount
from riskd.engine.notices import announce_published
from riskd.journal.audit_log import SETTINGS
from riskd.journal.interface import IJournal
from riskd.model.account import AccountState, LogEntry, with_risk
from riskd.model.events import to_milliseconds
from riskd.model.exact_json import encode_json
from riskd.model.settings_changes import (
    RULE_PREFIX,
    Difference,
    SettingsChange,
    differences,
    sentence_of,
)
from riskd.rules.interface import IRule

_log = Logger()

_LIMITS: Final = (DAY_NAME, "strict_mode")
"""The names of limits that are no rules."""


class SettingsLog:
    """Journals and reports the changes of all accounts' settings.

    :param journal: has each change on the disk before it is announced.
    :param catalogue: all rules there are, by key.
    :param announce: announces a change beside the daemon's status; returns whether there is a status yet.
    :ivar left: what the journal has of accounts that are neither configured nor followed any more.
    """

    def __init__(
        self,
        journal: IJournal,
        catalogue: Mapping[str, IRule],
        announce: Callable[[SettingsChange], bool],
    ) -> None:
        self._journal = journal
        self._catalogue = catalogue
        self._announce = announce
        self._unannounced: list[SettingsChange] = []
        self.left: list[AccountState] = []

    def recovered(
        self,
        settings: Settings,
        known: Mapping[int, AccountState],
        accounts: Mapping[int, GuardedAccount],
        now: datetime,
    ) -> None:
        """Compare the settings with those in the journal.

        :param known: the accounts in the journal.
        :param accounts: those that riskd follows.
        """
        journaled = [each.risk.settings for each in known.values() if each.risk.settings]
        ids = kept_ids(journaled)
        earlier = {**journaled[0], **ids} if journaled else {}
        present = known_settings(settings)
        kept = _kept(present, accounts)
        common = {name: earlier[name] for name in COMMON_NAMES if name in earlier}
        for account_id, after in present.items():
            found = known.get(account_id)
            # What is not about single accounts may have changed for a new one, too.
            before: Mapping[str, str] = common
            names: Collection[str] | None = common
            if found is not None and found.risk.settings:
                before = dict(sorted({**ids, **found.risk.settings}.items()))
                # Where the ids are lost, those in the file are no news.
                names = None if ids else {*before, *after} - {ACCOUNTS_NAME}
            elif found is not None:
                # Only the limits are known: an earlier riskd wrote the journal, or it was damaged.
                before = settings_of_copy(found)
                names = _names_of_limits(before, after)
            guarded = accounts[account_id]
            guarded.account.change_risk(settings=kept[account_id])
            committed = guarded.risk_engine.rules.committed
            effect = committed.recovered
            if found is None:
                effect = committed.change({}, after, now, "")
            self._compare(settings, guarded, before, after, now, effect, names)
        for account_id, state in known.items():
            if account_id not in present and state.risk.settings:
                self._leave(settings, state, accounts.get(account_id), now)

    def reloaded(
        self, settings: Settings, accounts: Mapping[int, GuardedAccount], now: datetime
    ) -> None:
        """Compare new settings with those of each account."""
        ids = kept_ids(each.account.state.risk.settings for each in accounts.values())
        present = known_settings(settings)
        all_kept = _kept(present, accounts)
        for account_id, kept in all_kept.items():
            guarded, after = accounts[account_id], present[account_id]
            known = guarded.account.state.risk.settings
            before = {**ids, **known} if known else {}
            guarded.account.change_risk(settings=kept)
            effect = guarded.risk_engine.rules.committed.change(
                before, after, now, settings.operator
            )
            self._compare(settings, guarded, before, after, now, effect)
        for account_id, guarded in accounts.items():
            known = guarded.account.state.risk.settings
            if all_kept and account_id not in all_kept and ACCOUNTS_NAME in known:
                # Another account keeps the ids that there are now.
                guarded.account.change_risk(settings=_own(known))

    def _compare(
        self,
        settings: Settings,
        guarded: GuardedAccount,
        before: Mapping[str, str],
        after: Mapping[str, str],
        now: datetime,
        effect: Changes,
        names: Collection[str] | None = None,
    ) -> None:
        """Journal and report what has changed of an account's settings.

        :param effect: what that does to what waits.
        :param names: what is compared; ``None``: all.
        """
        account_id = guarded.account.account_id
        found = [
            each
            for each in (differences(before, after) if before else ())
            if names is None or each.key in names
        ]
        for each in found:
            guarded.account.note(SETTINGS, **self._entry(each, settings.operator))
        rules = guarded.risk_engine.rules
        changes = [
            SettingsChange(
                to_milliseconds(now),
                sentence_of(
                    _named(each),
                    None if each.key in COMMON_NAMES else account_id,
                    settings.operator,
                    effect.words(each.key),
                ),
            )
            for each in found
        ]
        if changes:
            rules.note_changes(changes)
            self.report(changes)

    def _leave(
        self,
        settings: Settings,
        state: AccountState,
        followed: GuardedAccount | None,
        now: datetime,
    ) -> None:
        """Journal that an account is not configured any more."""
        gone = Difference(key=f"account {state.account_id}", before=True, after=None)
        entry = self._entry(gone, settings.operator)
        if followed is not None:
            followed.account.note(SETTINGS, **entry)
            followed.account.change_risk(settings={})
            return
        line = LogEntry(now, SETTINGS, encode_json(entry).decode())
        self.left.append(with_risk(state, settings={}, log=(line,)))

    def _entry(self, found: Difference, operator: str) -> dict[str, Any]:
        """Return a change as the log has it."""
        named = _named(found)
        rule = self._catalogue.get(named.key) if named.key != found.key else None
        return {
            "rule_id": None if rule is None else rule.rule_id,
            "key": named.key,
            "before": named.before,
            "after": named.after,
            "operator": operator,
        }

    def report(self, changes: Iterable[SettingsChange]) -> None:
        """Announce changes, each once, when the published copy has them."""
        news = [each for each in changes if each not in self._unannounced]
        for each in news:
            _log.warn("{sentence}", sentence=each.sentence)
        self._unannounced += news
        announce_published(self._journal, self.announce, "changed settings")

    def announce(self) -> None:
        """Announce what is not announced yet; before the daemon's first status it waits."""
        waiting, self._unannounced = self._unannounced, []
        for number, change in enumerate(waiting):
            if not self._announce(change):
                self._unannounced = waiting[number:] + self._unannounced
                return


def _kept(
    settings: Mapping[int, Mapping[str, str]], accounts: Collection[int]
) -> dict[int, Mapping[str, str]]:
    """Return what each account keeps of its settings; one alone keeps the ids."""
    kept: dict[int, Mapping[str, str]] = {}
    for account_id in filter(accounts.__contains__, settings):
        known = settings[account_id]
        kept[account_id] = _own(known) if kept else known
    return kept


def _own(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings without the ids of all accounts."""
    return {name: text for name, text in settings.items() if name != ACCOUNTS_NAME}


def _named(found: Difference) -> Difference:
    """Return a difference with the key by which the configuration names it."""
    return Difference(
        key=found.key.removeprefix(RULE_PREFIX), before=found.before, after=found.after
    )


def _names_of_limits(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Return the names of what limits an account, and of all that is known before."""
    return {*before, *(name for name in after if name.startswith(RULE_PREFIX)), *_LIMITS}
