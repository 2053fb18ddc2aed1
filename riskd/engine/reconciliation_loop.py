"""When accounts are reconciled: at the start, every few seconds or minutes, and on request.

A locked account is reconciled every five seconds and any account once a minute, because an event may be
lost on the way.  While events are known to be lost, every account is reconciled every five seconds, and
its rules are evaluated only then, once: what is known in between may be wrong.

Some of the requests that the broker answers in a minute are kept for enforcement; reconciliation waits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.guarded_account import GuardedAccount
from riskd.engine.intake import errors_logged
from riskd.engine.reconcile import REQUESTS, Reconciler
from riskd.gateway.interface import GatewayError, GatewayRefusedError, IGateway
from riskd.host.timing import lasting_loop

_log = Logger()

RETRY_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 10.0)
"""How long to wait before each further try to begin; the last is repeated."""

ROUND_SECONDS: Final = 5.0
"""How often a locked account is reconciled."""

FULL_ROUND: Final = 12
"""Any account is reconciled once in this many rounds."""

_SOURCES: Final = ("begin", "reconciliation", "permission", "reading")
"""The sources of problems, before the account id, with what the broker says an account holds."""


class ReconciliationLoop:
    """Decides when each account is reconciled, and lets its risk engine evaluate the rules then.

    :param accounts: by account id.
    :param configured: the accounts that the configuration names; the others are followed only until
        they are unlocked, and given up when the broker does not know them.
    :param reconciler: reconciles an account.
    :param gateway: has room for requests, or has not.
    :param clock: times the rounds.
    :param report_problem: takes a source and a sentence; an empty sentence ends the problem of that source.
    :ivar is_feed_lost: whether the gateway's events are being lost.
    """

    def __init__(
        self,
        accounts: Mapping[int, GuardedAccount],
        configured: frozenset[int],
        reconciler: Reconciler,
        gateway: IGateway,
        clock: IReactorTime,
        report_problem: Callable[[str, str], None],
    ) -> None:
        self._accounts = accounts
        self._configured = configured
        self._reconciler = reconciler
        self._gateway = gateway
        self._clock = clock
        self._report_problem = report_problem
        self.is_feed_lost = False
        self._loop = lasting_loop(clock, self._round, _log)
        self._rounds = 0
        self._queue: list[int] = []
        self._given_up: set[int] = set()
        self._failing: set[int] = set()
        # The latest of each account; to cancel one that is done does nothing.
        self._beginning: dict[int, Deferred[None]] = {}
        self._reconciling: dict[int, Deferred[None]] = {}
        self._waiting: dict[int, list[Deferred[None]]] = {}

    def start(self) -> None:
        """Begin the rounds; the first one is in five seconds."""
        self._loop.start(ROUND_SECONDS, now=False)

    def stop(self) -> None:
        """End the rounds and all that is under way."""
        if self._loop.running:
            self._loop.stop()
        for under_way in (*self._beginning.values(), *self._reconciling.values()):
            under_way.cancel()

    # Beginning.

    def begin(self, guarded: GuardedAccount) -> Deferred[None]:
        """Reconcile an account until that succeeds, then let its risk engine begin.

        Fires when that is done, or given up.
        """
        account_id = guarded.account.account_id
        if account_id in self._beginning:
            # If it is not done, it may have missed the events that were lost since.
            self._beginning[account_id].cancel()
        begun = Deferred.fromCoroutine(self._begin(guarded))
        self._beginning[account_id] = begun
        return begun.addErrback(_log_failure, account_id)

    def cancel_beginnings(self) -> None:
        """Give up what :meth:`begin` began and has not finished."""
        for beginning in tuple(self._beginning.values()):
            beginning.cancel()

    async def _begin(self, guarded: GuardedAccount) -> None:
        account_id = guarded.account.account_id
        for attempt in itertools.count():
            try:
                await self._reconciler.reconcile(guarded)
                break
            except GatewayError as error:
                if account_id not in self._configured and isinstance(error, GatewayRefusedError):
                    _log.error("account {id} is not followed: {error}", id=account_id, error=error)
                    self._given_up.add(account_id)
                    self._end_problems(account_id, _SOURCES)
                    return
                self._report_problem(
                    f"begin {account_id}",
                    f"Nothing guards account {account_id}, the broker does not say what it holds: "
                    f"{error.why}",
                )
                wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
                await deferLater(self._clock, wait)
        self._given_up.discard(account_id)
        with errors_logged("review at the start"):
            guarded.risk_engine.begin()
        self._end_problems(account_id, ("begin", "reconciliation"))

    def _end_problems(self, account_id: int, sources: tuple[str, ...]) -> None:
        self._failing.discard(account_id)
        for source in sources:
            self._report_problem(f"{source} {account_id}", "")

    # Reconciling again.

    def _round(self) -> None:
        self._rounds += 1
        is_full_round = self._rounds % FULL_ROUND == 0
        self._queue += [each for each in self._accounts if each not in self._queue]
        # An account that is reconciled goes to the end, so that all have their turn if there is not room
        # for all of them.
        for account_id in tuple(self._queue):
            guarded = self._accounts[account_id]
            is_guarded = guarded.risk_engine.is_active or (
                self.is_feed_lost and account_id not in self._given_up
            )
            if is_guarded and (
                is_full_round or self.is_feed_lost or guarded.risk_engine.needs_reconciliation()
            ):
                if not self._gateway.has_room(REQUESTS):
                    return
                self._queue.remove(account_id)
                self._queue.append(account_id)
                self.request(guarded)

    def request(self, guarded: GuardedAccount) -> Deferred[None]:
        """Reconcile an account, or join the reconciliation that is under way.

        Fires when that is done, or when the broker does not say what the account holds.
        """
        account_id = guarded.account.account_id
        done: Deferred[None] = Deferred()
        if account_id in self._waiting:
            self._waiting[account_id].append(done)
            return done
        # Before it begins: it may be done, or requested again, within this call.
        self._waiting[account_id] = [done]

        def reconciled(_result: object) -> None:
            for waiting in self._waiting.pop(account_id):
                waiting.callback(None)

        self._reconciling[account_id] = Deferred.fromCoroutine(self._reconcile(guarded))
        self._reconciling[account_id].addErrback(_log_failure, account_id).addBoth(reconciled)
        return done

    async def _reconcile(self, guarded: GuardedAccount) -> None:
        account_id = guarded.account.account_id
        try:
            await self._reconciler.reconcile(guarded)
        except GatewayError as error:
            if account_id in self._given_up:
                # It was given up meanwhile.
                return
            if account_id not in self._failing:
                # A long outage is not a line of the log every few seconds.
                _log.warn("reconciling account {id}: {error}", id=account_id, error=error)
            self._failing.add(account_id)
            guard = "Nothing guards" if self.is_feed_lost else "Only events guard"
            self._report_problem(
                f"reconciliation {account_id}",
                f"{guard} account {account_id}, the broker does not say what it holds",
            )
            return
        self._end_problems(account_id, ("reconciliation",))
        if self.is_feed_lost:
            guarded.risk_engine.visit()
        else:
            guarded.risk_engine.review()


def _log_failure(failure: Failure, account_id: int) -> None:
    if failure.check(CancelledError) is None:
        _log.failure("reconciling account {id}: internal error", failure, id=account_id)
