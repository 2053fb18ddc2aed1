"""Begin, follow and end the reduce-only stage of one account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from riskd.model.account import AccountState, Limit
from riskd.model.reduce_only import REDUCE_ONLY, ReduceOnly, reduce_only_stage
from riskd.rules.evaluation import Decision
from riskd.rules.fills import Fills, with_order, with_positions
from riskd.rules.interface import Kind, Trigger
from riskd.rules.positions import opened_by
from riskd.rules.reduce_only import next_stage, stage_decisions

TO_RESIZE: Final = timedelta(seconds=2)
"""How long an exit may be larger than its position after a part of that was closed.

Brokers reduce or cancel the other exit of a pair when one is filled, in part or in full, and a moment passes.
"""


class ReduceOnlyStage:
    """The reduce-only stage of one account.

    :param account_id: the account.
    :param report: takes a sentence for traders when the stage begins and when it ends, once the account's
        state has the change.
    :ivar stage: the stage; ``None`` while the account may open positions.
    :ivar is_dry_run: whether the stage is only reported.
    """

    def __init__(self, account_id: int, report: Callable[[str], None]) -> None:
        self._account_id = account_id
        self._report = report
        self._asked: dict[str, str] = {}
        self.stage: ReduceOnly | None = None
        self._fills = Fills()
        self._exits: set[int] = set()
        self._outgrown: dict[int, datetime] = {}
        self.is_dry_run = False

    @property
    def limits(self) -> dict[str, Limit]:
        """The stage among the limits in force; empty if there is none."""
        return {} if self.stage is None else {REDUCE_ONLY: self.stage.limit}

    @property
    def is_idle(self) -> bool:
        """Whether there is no stage, and no rule asks for one."""
        return self.stage is None and not self._asked

    def recover(self, known: AccountState) -> bool:
        """Take over the journaled stage, unless there is one; return whether it did.

        One of a dry run held the account to nothing.
        """
        stage = reduce_only_stage(known)
        if self.stage is not None or stage is None or stage.is_dry_run is not self.is_dry_run:
            return False
        self.stage = stage
        # It lasts until these rules are evaluated.
        self._asked = {**stage.reasons, **self._asked}
        return True

    def note(self, asked: Mapping[str, str]) -> None:
        """Keep what evaluated rules ask for, by slot; an empty text asks for nothing."""
        for slot, reason in asked.items():
            if reason:
                self._asked[slot] = reason
            else:
                self._asked.pop(slot, None)

    def update(
        self,
        state: AccountState,
        trigger: Trigger,
        rule_ids: Callable[[], Mapping[str, str]],
        *,
        may_begin: bool,
    ) -> tuple[Decision, ...]:
        """Begin, follow or end the stage; return what it forbids.

        :param rule_ids: returns the rules that may ask for it, by slot.
        :param may_begin: whether it may begin: a locked account is held to more.
        """
        before = self.stage
        begins = before is None and may_begin and bool(self._asked)
        if trigger.kind is not Kind.QUOTE or begins:
            self._fills = with_positions(self._fills, state, trigger)
            self._fills = with_order(self._fills, state, trigger)
            self._follow_exits(state, trigger.now)
        if before is None and not begins:
            return ()
        rules = rule_ids()
        reasons = {rules[slot]: why for slot, why in self._asked.items() if slot in rules}
        held = {contract_id: self._fills.held(contract_id) for contract_id in self._fills.ledgers}
        self.stage = stage = next_stage(
            before, reasons, held, trigger.now, is_dry_run=self.is_dry_run
        )
        if stage is None or (trigger.kind is Kind.QUOTE and before is not None):
            return ()
        outgrown = [
            number for number, at in self._outgrown.items() if trigger.now < at + TO_RESIZE
        ]
        return tuple(stage_decisions(state, stage, self._fills.held, outgrown))

    def _follow_exits(self, state: AccountState, now: datetime) -> None:
        """Note the orders that only close, or did before their position shrank."""
        exits: set[int] = set()
        outgrown: dict[int, datetime] = {}
        for order in state.working_orders:
            held = self._fills.held(order.contract_id)
            if not opened_by(order, order.remaining, held):
                exits.add(order.id)
            elif order.id in self._exits and held * order.side.sign < 0:
                exits.add(order.id)
                outgrown[order.id] = self._outgrown.get(order.id, now)
        self._exits, self._outgrown = exits, outgrown

    def wake_at(self, now: datetime) -> datetime | None:
        """Return when to look again; ``None``: at the next event.

        Then an exit has been too large for too long, or a fill that no position shows no longer counts.
        """
        if self.stage is None:
            return None
        ends = [at + TO_RESIZE for at in self._outgrown.values()]
        ends += self._fills.counted_until()
        return min((end for end in ends if now < end), default=None)

    def report_change(self, before: ReduceOnly | None) -> None:
        """Report that the stage has begun or ended since ``before``, if it has."""
        stage = self.stage
        if stage is not None and before is None:
            self._report(
                f"Account {self._account_id} may only reduce its positions: {stage.reason} "
                f"({stage.rule_id})"
            )
        elif stage is None and before is not None:
            self._report(f"Account {self._account_id} may open positions again")
