"""Compare what several configurations would have enforced first on each day.

Only the first action counts: after it, the trader would have traded differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

from riskd.config.settings import Settings
from riskd.model.account import AccountState
from riskd.model.compared_days import ComparedDay, FirstEnforced
from riskd.model.equity import net_pnl
from riskd.recording.format import Recording, RecordingError
from riskd.recording.what_if import Enforced, HypotheticalDays
from riskd.rules.interface import IRule


class Played(NamedTuple):
    """What recordings have shown of days and accounts.

    :ivar nets: the net P&L, and when the recording began that it is from.
    :ivar first: the first enforcement under each configuration, by its number.
    """

    nets: dict[tuple[date, int], tuple[datetime, Decimal]]
    first: dict[tuple[date, int], dict[int, FirstEnforced]]


class DayComparison:
    """Compares configurations on the trading days of recordings.

    :param configurations: the settings to compare; the first that guards an account says when its days end.
    :param catalogue: all rules, by key.
    :ivar played: what the recordings have shown so far.
    """

    def __init__(self, configurations: Sequence[Settings], catalogue: Mapping[str, IRule]) -> None:
        self._configurations = configurations
        self._catalogue = catalogue
        self._guarded = [{each.id for each in one.accounts} for one in configurations]
        self.played = Played({}, {})

    def merge(self, played: Played) -> None:
        """Add what was played elsewhere of a further recording.

        Each begins anew, so several can be played at once.
        """
        for (day, account_id), (begun, net) in played.nets.items():
            self._note_net(day, begun, account_id, net)
        for key, first in played.first.items():
            for number, enforced in first.items():
                self._note_first(key, number, enforced)

    def add(self, recording: Recording) -> None:
        """Play a recording under each configuration.

        :raises RecordingError: it is damaged, or lacks an account; what was played before counts.
        """
        hypothetical = [
            HypotheticalDays(recording, each, self._catalogue) for each in self._configurations
        ]
        # By account, the first that guards it.
        deciding = {
            account_id: days
            for days, guarded in reversed([*zip(hypothetical, self._guarded, strict=True)])
            for account_id in guarded
        }
        last: dict[int, AccountState] = {}
        begun = recording.header.at
        try:
            for turn in recording.turns():
                for number, days in enumerate(hypothetical):
                    for enforced in days.play(turn):
                        self._note(number, enforced)
                for account_id, days in deciding.items():
                    state = days.state(account_id)
                    self._note_end(begun, last.get(account_id), state)
                    last[account_id] = state
        except RecordingError:
            # A whole recording of the day knows more.
            begun = datetime.min.replace(tzinfo=UTC)
            raise
        finally:
            for state in last.values():
                if state.risk.day_key is not None:
                    self._note_net(state.risk.day_key, begun, state.account_id, net_pnl(state))

    def _note_end(self, begun: datetime, before: AccountState | None, state: AccountState) -> None:
        """Note the day that has ended between two states, if one has."""
        ended = None if before is None else before.risk.day_key
        if ended is not None and ended != state.risk.day_key and ended in state.days:
            self._note_net(ended, begun, state.account_id, state.days[ended].net)

    def _note_net(self, day: date, begun: datetime, account_id: int, net: Decimal) -> None:
        # Of two recordings of a day, the later one knows more.
        known = self.played.nets.get((day, account_id))
        if known is None or known[0] <= begun:
            self.played.nets[day, account_id] = begun, net

    def _note(self, number: int, enforced: Enforced) -> None:
        decided, action = enforced.decided, enforced.action
        if decided is None or decided.day is None:
            return
        first = FirstEnforced(
            at=action.timestamp,
            rule_id=action.rule_id,
            reason=action.reason,
            net_pnl=decided.net_pnl,
        )
        self._note_first((decided.day, enforced.account_id), number, first)

    def _note_first(self, key: tuple[date, int], number: int, enforced: FirstEnforced) -> None:
        known = self.played.first.setdefault(key, {})
        if number not in known or enforced.at < known[number].at:
            known[number] = enforced

    @property
    def days(self) -> list[ComparedDay]:
        """The trading days, oldest first."""
        return [
            ComparedDay(
                day=day,
                account=account_id,
                net_pnl=net,
                first={
                    number: self.played.first.get((day, account_id), {}).get(number)
                    for number, guarded in enumerate(self._guarded)
                    if account_id in guarded
                },
            )
            for (day, account_id), (_, net) in sorted(self.played.nets.items())
        ]
