"""The operator's commands, carried out on the daemon's accounts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import CommandLocator

from riskd import __version__
from riskd.control.peer import UNKNOWN_OPERATOR
from riskd.control.protocol import (
    CONFIRM_SECONDS,
    MAX_LOCK_SECONDS,
    FlattenCommand,
    FloorCommand,
    LockCommand,
    Outcome,
    Request,
    RequestRefusedError,
    RulesCommand,
    StatusCommand,
    UnlockCommand,
    WithdrawCommand,
)
from riskd.control.reporting import report_account, report_rule
from riskd.control.reports import AccountReport, FlattenReport, RulesReport, StatusReport
from riskd.engine.firm_floor import objection
from riskd.engine.interface import ConfirmedFlatten, IOperated, IOperatedAccount
from riskd.host.timing import done_within
from riskd.model.commitment import commitment_of
from riskd.model.events import DaemonStatus, Status
from riskd.model.lockouts import is_locked
from riskd.model.safe_text import printable
from riskd.rules.builtin.maximum_loss import nearest_floor

MAX_REASON: Final = 200
"""Characters of a reason; the rest of a longer one is cut off."""

MAX_AMOUNT: Final = 10**9
"""No floor has as many dollars."""


class Commands(CommandLocator):
    """Carry out and answer one operator's commands.

    An answer says what has become of the command within :data:`CONFIRM_SECONDS`: whether the change is on the disk,
    and what the broker has confirmed.

    :param operated: the accounts.
    :param clock: times that.
    :ivar operator: the user name under which actions are logged.
    """

    def __init__(self, operated: IOperated, clock: IReactorTime) -> None:
        self._operated = operated
        self._clock = clock
        self.operator = UNKNOWN_OPERATOR

    @StatusCommand.responder
    def status(self) -> Deferred[dict[str, StatusReport]]:
        """Report the daemon and all accounts.

        What is reported is on the disk, as with the rules, unless that takes long: this is how to see why.
        """
        accounts = self._operated.operated_accounts.values()
        states = [account.account_state for account in accounts]
        offset: timedelta | None = self._operated.clock_offset
        report = StatusReport(
            version=__version__,
            gateway=self._operated.gateway_name,
            dry_run=not self._operated.enforces,
            # Each account's state has the daemon's latest status.
            daemon=next((state.daemon for state in states if state.daemon is not None), None),
            accounts=tuple(self._report(each) for each in accounts),
            is_recovered=self._operated.is_recovered,
            clock_offset=None if offset is None else round(offset.total_seconds(), 3),
        )
        return self._operated.published().addCallback(lambda _: {"answer": report})

    @RulesCommand.responder
    def rules(self, request: Request) -> Deferred[dict[str, RulesReport]]:
        """Report an account's rules and how far it is from their limits.

        What is reported is on the disk, or the report says that it is not: a high may be lower after a crash, and so
        a floor.
        """
        account = self._account(request)
        reports = tuple(
            report_rule(
                rule,
                account.account_state,
                self._operated.now(),
                is_reported=account.is_reported,
            )
            for rule in account.rules
        )

        async def answer() -> dict[str, RulesReport]:
            report = RulesReport(
                account=request.account,
                rules=reports,
                is_reported=account.is_reported,
                unwritten=await self._written(),
                trouble=_trouble(account),
            )
            return {"answer": report}

        return Deferred.fromCoroutine(answer())

    @UnlockCommand.responder
    def unlock(self, request: Request) -> Deferred[dict[str, Outcome]]:
        """End all locks of an account."""
        reason, account = _one_line(request.reason), self._account(request)
        # Before that, locks of an earlier daemon are unknown, and would come back after the unlock.
        if not self._operated.is_recovered:
            raise RequestRefusedError("riskd has not read its journal yet; try again in a moment")
        return self._answer(account, was_locked=account.unlock(reason, self.operator))

    @WithdrawCommand.responder
    def withdraw(self, request: Request) -> Deferred[dict[str, Outcome]]:
        """Withdraw an unlock that waits."""
        reason, account = _one_line(request.reason), self._account(request)
        if not account.withdraw(reason, self.operator):
            raise RequestRefusedError(f"no unlock of account {request.account} waits")
        was_locked = is_locked(account.account_state, self._passed())
        return self._answer(account, was_locked=was_locked)

    @LockCommand.responder
    def lock(self, request: Request) -> Deferred[dict[str, Outcome]]:
        """Flatten an account and lock it."""
        reason, account = _one_line(request.reason), self._account(request)
        self._check_enforcing()
        until = self._end_of_lock(request)
        was_locked = is_locked(account.account_state, self._passed())
        confirmed = account.lock(reason, self.operator, until)
        return self._answer(account, confirmed, was_locked=was_locked)

    @FlattenCommand.responder
    def flatten(self, request: Request) -> Deferred[dict[str, Outcome]]:
        """Close all positions of an account and cancel its orders."""
        reason, account = _one_line(request.reason), self._account(request)
        self._check_enforcing()
        was_locked = is_locked(account.account_state, self._passed())
        confirmed = account.flatten(reason, self.operator)
        return self._answer(account, confirmed, was_locked=was_locked)

    @FloorCommand.responder
    def floor(self, request: Request) -> Deferred[dict[str, Outcome]]:
        """Take the firm's figure for the floor of an account."""
        account, amount = self._account(request), request.amount
        if amount is None or not amount.is_finite() or abs(amount) >= MAX_AMOUNT:
            raise RequestRefusedError(f"expected an amount in dollars, got {amount}")
        # What the journal knows of an earlier figure must not take the place of this one.
        if not self._operated.is_recovered:
            raise RequestRefusedError("riskd has not read its journal yet; try again in a moment")
        if self._operated.clock_offset is None:
            raise RequestRefusedError(
                "riskd does not know the broker's time yet; try again in a moment"
            )
        state = account.account_state
        was_locked = is_locked(state, self._passed())
        refusal = objection(
            state,
            account.rules,
            amount,
            is_locked=was_locked,
            is_committed=bool(commitment_of(state).terms),
            is_confirmed=request.is_confirmed,
        )
        if refusal:
            raise RequestRefusedError(refusal)
        before = nearest_floor(state, account.rules)
        confirmed = account.set_floor(amount, self.operator)
        known = None if before is None else before.amount
        return self._answer(account, confirmed, was_locked=was_locked, floor_before=known)

    def _answer(
        self,
        account: IOperatedAccount,
        confirmed: Deferred[ConfirmedFlatten] | None = None,
        **facts: Any,
    ) -> Deferred[dict[str, Outcome]]:
        """Answer once it is known what has become of a command, if that is soon.

        :param confirmed: fires when the broker has confirmed the flatten; ``None`` if none was ordered.
        :param facts: the other fields of the :class:`Outcome`.
        """

        async def outcome() -> dict[str, Outcome]:
            written = Deferred.fromCoroutine(self._written())
            flattened = await self._confirmed(account, confirmed)
            unwritten = await written
            return {
                "answer": Outcome(
                    account=self._report(account),
                    unwritten=unwritten,
                    flattened=flattened,
                    trouble=_trouble(account),
                    **facts,
                )
            }

        return Deferred.fromCoroutine(outcome())

    async def _confirmed(
        self, account: IOperatedAccount, confirmed: Deferred[ConfirmedFlatten] | None
    ) -> FlattenReport | None:
        """Return what the broker has confirmed of a flatten; ``None``: not in time."""
        if confirmed is None:
            return None
        # A floor need not flatten anything.
        is_under_way = account.account_state.risk.flattening is not None
        if confirmed.called or (
            is_under_way and await done_within(CONFIRM_SECONDS, confirmed, self._clock)
        ):
            done = await confirmed
            return FlattenReport(closed=done.closed, canceled=done.canceled)
        confirmed.addErrback(lambda failure: failure.trap(CancelledError))
        confirmed.cancel()
        return None

    async def _written(self) -> str:
        """Return why the accounts' states are not on the disk; an empty text if they are."""
        written = self._operated.make_durable()
        if await done_within(CONFIRM_SECONDS, written, self._clock):
            why_not: str = await written
            return why_not
        return f"the disk has not answered within {CONFIRM_SECONDS:g} seconds"

    def _end_of_lock(self, request: Request) -> datetime | None:
        """Return when a lock ends, in the broker's time.

        :return: ``None`` for a lock that only an operator ends.
        """
        if request.seconds is None and request.until is None:
            return None
        if self._operated.clock_offset is None:
            raise RequestRefusedError(
                "riskd does not know the broker's time yet, so a lock cannot end by itself; "
                "lock without an end, or try again in a moment"
            )
        now: datetime = self._operated.now()
        if request.seconds is not None:
            return now + timedelta(seconds=request.seconds)
        if request.until is not None and request.until <= now:
            raise RequestRefusedError("the lock would end before it begins")
        if request.until is not None and request.until - now > timedelta(seconds=MAX_LOCK_SECONDS):
            days = MAX_LOCK_SECONDS // (24 * 3600)
            raise RequestRefusedError(
                f"the lock would end on {request.until:%Y-%m-%d}: expected an end within {days} days, or none"
            )
        return request.until

    def _report(self, account: IOperatedAccount) -> AccountReport:
        return report_account(
            account.account_state,
            self._passed(),
            account.rules,
            is_reported=account.is_reported,
        )

    def _passed(self) -> datetime:
        passed: datetime = self._operated.passed()
        return passed

    def _check_enforcing(self) -> None:
        if not self._operated.enforces:
            raise RequestRefusedError(
                "this is a dry run (enforce = false): riskd closes, cancels and locks nothing"
            )

    def _account(self, request: Request) -> IOperatedAccount:
        accounts: Mapping[int, IOperatedAccount] = self._operated.operated_accounts
        if request.account not in accounts:
            raise RequestRefusedError(
                f"riskd does not follow account {request.account}, only {', '.join(map(str, accounts))}"
            )
        return accounts[request.account]


def _trouble(account: IOperatedAccount) -> str:
    """Return what is wrong with the daemon; an empty text if nothing is."""
    # Each account's state has the daemon's latest status.
    status: DaemonStatus | None = account.account_state.daemon
    return status.message if status is not None and status.status is Status.ERROR else ""


def _one_line(reason: str) -> str:
    """Return a reason as one printable line, so that it cannot forge log lines."""
    line = printable(" ".join(reason.split()))
    if not line:
        raise RequestRefusedError("a reason is missing")
    return line if len(line) <= MAX_REASON else f"{line[: MAX_REASON - 1]}…"
