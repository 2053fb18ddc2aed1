"""Decide which balances of the broker agree, are late, or are payouts.

Nothing orders a balance against the trades around it: an event of the account has no stamp, may be late by
seconds, doubled, lost, or there before the trades that it includes.  So events prove nothing but agreement:

1. **An event that equals the expected balance agrees.**  One that equals an earlier expected balance is a late
   copy.  Any other one is an open question, and the account is reconciled within the next seconds.
2. **Only an answer to Account/search can disagree.**  It shows the balance of some moment between one second
   before its request (:data:`~riskd.engine.order_of_truth.SETTLED_SECONDS`) and its receipt.  If the account's
   executions did not change from a second before that request to the answer of a trade search that was sent a
   second after the figure's first receipt, the figure includes exactly the executions that riskd knows, and no
   trade can explain the difference any more.
3. **While the account is flat, such a difference is a payout or a deposit.**  While it is not, the lower of the
   two figures counts, and a sentence says so.
4. The first balance of an account is believed at once, and the trades that the first trade search lists count as
   included.  It is settled by (2), or by an event that agrees after further executions: until then another
   figure takes its place silently.

This is plain Python: the steady clock's seconds come in.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from itertools import combinations
from operator import attrgetter, is_not
from typing import Final

import msgspec

from riskd.engine.order_of_truth import SETTLED_SECONDS
from riskd.engine.tracked_account import TrackedAccount
from riskd.journal.audit_log import BALANCE
from riskd.model.account import with_day_figures
from riskd.model.balance import (
    Balance,
    Result,
    after_agreement,
    after_firm_floor,
    after_flow,
    after_result,
    result_of,
)
from riskd.model.broker import BrokerTrade
from riskd.model.ended_days import with_day_again
from riskd.model.formatting import dollars
from riskd.model.money import CENT, ZERO

_EARLIER: Final = 64
"""How many earlier expected balances are remembered, by which late copies are recognized."""

_MOST_DOUBTFUL: Final = 8
"""How many doubtful amounts are tried in all combinations."""

_NAMES_OF_DAY: Final = (
    *("trades", "risk.charges", "risk.results", "day_began"),
    *("balance.charges", "balance.entries_and_exits", "balance.high_realized"),
)
_PARTS_OF_DAY: Final = len(_NAMES_OF_DAY)
# They are replaced and never changed, so identity tells whether they are others.
_of_day: Final = attrgetter(*_NAMES_OF_DAY)


class Balances:
    """Follows one account's balance.

    :param account: the account.
    :param seconds: gives the seconds of the steady clock.
    :param report: takes a sentence for clients, about what the account's state already has.
    """

    def __init__(
        self, account: TrackedAccount, seconds: Callable[[], float], report: Callable[[str], None]
    ) -> None:
        self._account = account
        self._seconds = seconds
        self._report = report
        # When the account's executions changed last.
        self._changed_at = -math.inf
        # A figure that does not agree, when it was first received, and when the answer that confirms it was asked.
        self._figure: Decimal | None = None
        self._since = self._asked_at = -math.inf
        self._earlier: deque[Decimal] = deque(maxlen=_EARLIER)
        # Whether a complete trade search has listed what the first balance includes.
        self._has_listed = False
        # Whether a gain does not count yet; see after_result().
        self._is_lowered = False
        # What voids of unknown trades may have done to the balance.
        self._doubtful: list[Decimal] = []
        # What the day's figures follow from, and they themselves, when they were brought up to date last.
        self._ordered: tuple[object, ...] = (None,) * _PARTS_OF_DAY

    # Executions.

    def count(self, trade: BrokerTrade, *, is_event: bool) -> None:
        """Count an execution that is not voided, or the broker's last word on it."""
        risk = self._account.state.risk
        known = risk.results.get(trade.id)
        # Each search lists all trades of a day again, so this comes before anything is made of them.
        # A voided trade does not count again.
        if trade.id in risk.voided or (known is not None and known.amount == trade.net_pnl):
            return
        position = self._account.state.positions.get(trade.contract_id)
        result = result_of(trade, position, known)
        change = result.amount - (ZERO if known is None else known.amount)
        if known is None and not (is_event or self._has_listed or self._is_settled):
            # The first search lists what the first balance includes.
            change = ZERO
        self._keep(trade.id, result, change)

    def void(self, trade: BrokerTrade, *, is_event: bool) -> bool:
        """Take back an execution; return whether that changes the balance.

        Call it before the account forgets the trade.
        """
        known = self._account.state.risk.results.get(trade.id)
        if known is not None and (known.amount or known.leg is not None):
            voided = msgspec.structs.replace(known, amount=ZERO, leg=None)
            self._keep(trade.id, voided, -known.amount)
            return True
        is_unknown = known is None and trade.id not in self._account.state.risk.voided
        if is_event and is_unknown:
            # Either the balance has never included it, or it is older than all that riskd knows.
            self._changed_at = self._seconds()
            amount = trade.charges - trade.profit_and_loss
            self._doubtful = [*self._doubtful, amount][-_MOST_DOUBTFUL:]
        return False

    def _keep(self, trade_id: int, result: Result, change: Decimal) -> None:
        account = self._account
        state, now = account.state, self._seconds()
        expected = state.balance.expected
        if change and expected is not None:
            self._earlier.append(expected)
        known = state.risk.results.get(trade_id)
        if change or known is None:
            self._changed_at = now
        self._is_lowered |= change > 0 and not self._is_settled
        results = {**state.risk.results, trade_id: result}
        account.change_balance(after_result(state.balance, change), results=results)
        if not state.is_of_trading_day(result.at):
            late = result.amount if known is None else ZERO
            days = with_day_again(account.state, result.at, late)
            account.change_balance(account.state.balance, days)
        self._agree_if_expected()

    def _agree_if_expected(self) -> None:
        """Agree on a figure that was early: the executions that it includes have come."""
        balance = self._account.state.balance
        if balance.is_settled and self._figure is not None and _agrees(self._figure, balance):
            self._agree(self._figure)
        elif self._figure == balance.other:
            self._question(self._figure)

    # Figures.

    def reported(self, figure: Decimal, sent_at: float | None = None) -> None:
        """Take a balance that the broker reports.

        :param sent_at: of an answer, when its request was sent, in steady seconds.
        """
        balance, now = self._account.state.balance, self._seconds()
        is_answer = sent_at is not None
        is_first = is_answer and not balance.is_settled and not self._has_listed
        if balance.agreed is None or is_first:
            balance, self._is_lowered = after_agreement(balance, figure, is_settled=False), False
            self._change(balance)
        if _agrees(figure, balance) and (balance.is_settled or not is_answer):
            # An event may be a late copy of an earlier balance, so it ends no question that an answer has raised.
            is_proof = sent_at is not None and self._changed_at <= sent_at - SETTLED_SECONDS
            is_open = balance.other is not None or self._asked_at > -math.inf
            # It settles the first balance together with executions since: only by chance would they fit otherwise.
            is_first_proof = self._has_listed and not self._is_lowered and bool(balance.results)
            if is_proof or (not is_open if balance.is_settled else is_first_proof):
                self._agree(figure)
        elif not is_answer and (figure == balance.other or figure in self._earlier):
            return
        else:
            if figure != self._figure:
                self._question(figure)
                self._since, self._asked_at = now, -math.inf
            if sent_at is not None:
                self._asked_at = max(self._asked_at, sent_at)

    def _agree(self, figure: Decimal) -> None:
        balance = self._account.state.balance
        self._question(None)
        self._asked_at = -math.inf
        self._doubtful = []
        if balance.expected is not None and _agrees(figure, balance):
            # Fractions of a cent are kept, or they would add up.
            figure = balance.expected
        if balance.other is not None:
            self._note(f"The balance of account {self._id} is explained again: {dollars(figure)}")
        if balance.expected is not None and balance.expected != figure:
            self._earlier.append(balance.expected)
        self._change(after_agreement(balance, figure, is_settled=True))

    def searched(self, sent_at: float, *, is_complete: bool) -> None:
        """Weigh an open figure after a reconciliation whose trades are all applied.

        :param sent_at: when the trade search was sent, in steady seconds.
        :param is_complete: whether all that the broker lists was read.
        """
        figure, balance = self._figure, self._account.state.balance
        self._has_listed |= is_complete and balance.agreed is not None
        if (
            figure is None
            or self._asked_at == -math.inf
            or not is_complete
            or sent_at < self._since + SETTLED_SECONDS
            or self._changed_at > self._asked_at - SETTLED_SECONDS
        ):
            return
        difference = figure - (balance.expected or ZERO)
        if not self._is_settled or self._is_doubtful(difference):
            self._agree(figure)
        elif not self._account.state.open_positions:
            self._believe(figure, difference)
        elif balance.other != figure:
            self._change(msgspec.structs.replace(balance, other=figure))
            self._question(figure)
            self._note(
                f"Account {self._id}: the broker says {dollars(figure)}, riskd can explain "
                f"{dollars(balance.expected or ZERO)}; the lower balance counts until the account is flat"
            )

    def _is_doubtful(self, difference: Decimal) -> bool:
        """Return whether voids of unknown trades explain a difference."""
        return any(
            sum(some, ZERO) == difference
            for number in range(1, len(self._doubtful) + 1)
            for some in combinations(self._doubtful, number)
        )

    def _believe(self, figure: Decimal, difference: Decimal) -> None:
        """Take a difference for a payout or a deposit."""
        balance = self._account.state.balance
        self._question(None)
        self._asked_at = -math.inf
        if balance.expected is not None:
            self._earlier.append(balance.expected)
        self._change(after_flow(balance, figure))
        what = "payout" if difference < 0 else "deposit"
        self._note(
            f"A {what} of {dollars(abs(difference))}: account {self._id} has {dollars(figure)}"
        )

    def take_floor(self, amount: Decimal, at: datetime, sentence: str) -> None:
        """Take the firm's figure for the floor from an operator.

        :param at: the broker's time.
        :param sentence: for clients.
        """
        self._change(after_firm_floor(self._account.state.balance, amount, at))
        self._report(sentence)

    def asks(self) -> bool:
        """Return whether a reconciliation now may settle an open question."""
        now, state = self._seconds(), self._account.state
        if state.risk.unmatched and now >= self._account.unmatched_at + SETTLED_SECONDS:
            return True
        if self._figure is None or now < self._since + SETTLED_SECONDS:
            return False
        balance = state.balance
        # A first balance that agrees can wait.
        if not balance.is_settled and _agrees(self._figure, balance):
            return False
        return self._figure != balance.other or not state.open_positions

    # Answers that list much.

    def order_day(self) -> None:
        """Bring the day's charges and its highest realized P&L up to date."""
        state = self._account.state
        if state.risk.is_listing:
            return
        # Most reconciliations find no other executions, and to put all of a day in order takes long.
        if any(map(is_not, _of_day(state), self._ordered)):
            self._account.change_balance(with_day_figures(state).balance)
            self._ordered = _of_day(self._account.state)

    @contextmanager
    def listing(self, began: float) -> Iterator[None]:
        """Let limits on the net P&L wait while a reconciliation is applied.

        :param began: when its first request was sent, in steady seconds.
        """
        account = self._account
        account.note_in_memory(is_listing=True)
        try:
            yield
        finally:
            account.note_in_memory(is_listing=False)
            self.order_day()
            unmatched = account.state.risk.unmatched
            # What is left of exits that it covers is of executions that came and went unseen.
            if unmatched and account.unmatched_at <= began - SETTLED_SECONDS:
                account.note_in_memory(unmatched={})
            elif unmatched and not self._has_listed:
                # The journal may have had the trade of an exit, and not yet the position.
                ahead = {key: each for key, each in unmatched.items() if each.contracts > 0}
                account.note_in_memory(unmatched=ahead)
            account.raise_highs()

    # Helpers.

    @property
    def _is_settled(self) -> bool:
        return self._account.state.balance.is_settled

    @property
    def _id(self) -> int:
        return self._account.account_id

    def _question(self, figure: Decimal | None) -> None:
        self._figure = figure
        # The first balance is in question until it is settled, but no other one is there.
        balance = self._account.state.balance
        is_open = figure not in (None, balance.other) and not _agrees(figure, balance)
        self._account.is_balance_open = is_open

    def _change(self, balance: Balance) -> None:
        self._account.change_balance(balance)

    def _note(self, sentence: str) -> None:
        self._account.note(BALANCE, message=sentence)
        self._report(sentence)


def _agrees(figure: Decimal, balance: Balance) -> bool:
    """Return whether a figure is the expected balance, to the cent."""
    return balance.expected is not None and abs(figure - balance.expected) < CENT
