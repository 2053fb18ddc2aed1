"""What follows when a clock becomes known, jumps, sleeps or is inexact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from riskd.engine.clocks import Clocks
from riskd.engine.guarded_account import GuardedAccount
from riskd.engine.locks_and_days import count_first_day
from riskd.engine.reconciliation import ReconciliationLoop
from riskd.gateway.interface import GatewayError, IGateway
from riskd.journal.audit_log import CLOCK

_log = Logger()


class ClockEffects:
    """Acts on the accounts when something happens to the clocks.

    :param clocks: their events are handled from now on.
    :param accounts: by account id.
    :param reconciliation: reconciles them.
    :param gateway: its answers bring the broker's time.
    :param announce_note: announces a sentence; the status stays as it is.
    """

    def __init__(
        self,
        clocks: Clocks,
        accounts: Mapping[int, GuardedAccount],
        reconciliation: ReconciliationLoop,
        gateway: IGateway,
        announce_note: Callable[[str], None],
    ) -> None:
        self._clocks = clocks
        self._accounts = accounts
        self._reconciliation = reconciliation
        self._gateway = gateway
        self._announce_note = announce_note
        clocks.became_known = self._count_days
        clocks.slept = self._slept
        clocks.jumped = self._wall_jumped
        clocks.ask_time = self._ask_time
        clocks.report = self._report

    def _count_days(self) -> None:
        """Begin to count the trading days, by the broker's time alone."""
        for each in self._accounts.values():
            schedule = each.risk_engine.rules.limits.schedule
            count_first_day(each.account, schedule, self._clocks.broker.now())

    def _slept(self) -> None:
        """Pause the rules until each account is reconciled: its state is old."""
        for each in self._accounts.values():
            # Those that are not active, or all while events are missing, wait already.
            if not self._reconciliation.is_feed_lost and each.risk_engine.is_active:
                each.risk_engine.wait()
                self._reconciliation.begin(each)

    def _wall_jumped(self) -> None:
        """Reconcile the accounts: the answers bring the broker's time."""
        for each in self._accounts.values():
            if each.risk_engine.is_active:
                self._reconciliation.request(each)

    def _ask_time(self) -> None:
        """Make a request whose answer brings the broker's time."""
        active = (number for number, each in self._accounts.items() if each.risk_engine.is_active)
        account_id = next(active, None)
        if account_id is not None and self._gateway.has_room(1):
            asked = self._gateway.search_account(account_id)
            # Without an answer, the next one brings the time as well.
            asked.addErrback(lambda failure: failure.trap(GatewayError, CancelledError))

    def _report(self, sentence: str, span: timedelta) -> None:
        """Log, journal and announce what happened to a clock."""
        _log.warn("{sentence}", sentence=sentence)
        for each in self._accounts.values():
            each.account.note(CLOCK, reason=sentence, seconds=round(span.total_seconds(), 3))
        self._announce_note(sentence)
