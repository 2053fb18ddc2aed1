"""One account on the practice exchange under rules, and a broker that hangs, fails or loses events."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import NO_FAULTS, Faults
from riskd.engine.reconciliation import ROUND_SECONDS
from riskd.gateway.interface import GatewayRefusedError
from riskd.model.events import Action, DaemonStatus, Status
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    MNQ,
    MONDAY_NOON,
    SELL,
    PracticeDaemon,
)

RULES = """
[rules.max_contracts]
limit = 4
[rules.max_contracts_per_instrument]
limits = { ES = 2 }
unknown_symbol_action = "allow_unlimited"
[rules.daily_realized_loss]
loss_limit = 500
[rules.cooldown_after_loss]
loss_threshold = 100
cooldown_seconds = 60
[rules.auth_loss_guard]
[rules.symbol_blocks]
blocked_symbols = ["MES"]
"""

FAULTS = st.sampled_from(
    [
        NO_FAULTS,
        Faults(refuse=0.5),
        Faults(pending=0.5),
        Faults(unanswered=0.5),
        Faults(lost_requests=0.5),
        Faults(failed_reads=0.4),
        Faults(slow_seconds=3.0),
        Faults(fill_while_cancelled=0.7),
        Faults(lost_events=0.4),
        Faults(lost_events=0.8),
        Faults(doubled_events=0.5),
        Faults(opening_half_again=True),
        Faults(partial_fills=0.7),
        Faults(lost_events=0.2, unanswered=0.2, pending=0.2, failed_reads=0.2, slow_seconds=1.0),
    ]
)


COOLDOWN = """
[rules.cooldown_after_loss]
loss_threshold = 100
cooldown_seconds = 60
"""

DAILY_LOSS = """
[rules.daily_realized_loss]
loss_limit = 500
"""

MAX_CONTRACTS = """
[rules.max_contracts]
limit = 2
"""

NO_M2K = """
[rules.symbol_blocks]
blocked_symbols = ["M2K"]
"""

Answer = Callable[..., Deferred[Any]]

OTHER_ACCOUNT = 456

FEED_LOST = "The broker's events are missing since 18:00:00: the connection was lost"

ONE_ROUND = ROUND_SECONDS + 1
"""Seconds: long enough for a round of reconciliation and the enforcement that follows."""

LONG_PAUSE = COOLDOWN.replace("cooldown_seconds = 60", "cooldown_seconds = 3600")


def never(*_arguments: object, **_more: object) -> Deferred[Any]:
    return Deferred()


def refused(request: str, code: int) -> Answer:
    def answer(*_arguments: object, **_more: object) -> Deferred[Any]:
        return fail(GatewayRefusedError(request, code, "not today"))

    return answer


def only_for(wanted: object, answer: Answer, real: Answer) -> Answer:
    """Return a function that calls ``answer`` if an argument is ``wanted``, and ``real`` otherwise."""

    def choose(*arguments: object, **more: object) -> Deferred[Any]:
        return (answer if wanted in arguments else real)(*arguments, **more)

    return choose


class GuardTestCase(SynchronousTestCase):
    config = ""
    begins = MONDAY_NOON

    def setUp(self) -> None:
        self.daemon = PracticeDaemon(self.config, now=self.begins)
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")

    def lose(self, points: int, size: int = 1) -> None:
        """Buy, let the market fall, and sell."""
        self.daemon.trade(BUY, size)
        self.daemon.move(MNQ, str(21000 - points))
        self.daemon.trade(SELL, size)
        self.daemon.move(MNQ, "21000")
        # What was opened and closed in an instant may not have reached the broker's searches yet.
        self.daemon.advance(0.25)


class NetLimitTestCase(GuardTestCase):
    """An account whose limits count open P&L and balances."""

    @property
    def brokers(self) -> Decimal:
        found: Decimal = self.daemon.gateway.exchange.store.account(ACCOUNT)["balance"]
        return found

    def fall(self, *lasts: str) -> None:
        for last in lasts:
            self.daemon.move(MNQ, last)
            self.daemon.advance(0.5)

    def pass_a_day(self) -> None:
        """Let the daily reset, five hours after the start, come and go."""
        self.daemon.stopped_for(hours=24)
        self.daemon.advance(2)

    def assert_flat_and_locked(self, rule_id: str) -> None:
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual([lock.rule_id for lock in self.daemon.locks], [rule_id])
        self.assertEqual(
            [each.action for each in self.daemon.actions], [Action.CLOSE_ALL_AND_LOCKOUT]
        )


class BrokerTestCase(GuardTestCase):
    def answer(self, method: str, answer: Answer, wanted: object = None) -> MonkeyPatcher:
        """Replace the broker's answer, or only that about ``wanted``; return a patcher that undoes it."""
        gateway = self.daemon.gateway
        if wanted is not None:
            answer = only_for(wanted, answer, getattr(gateway, method))
        patch: MonkeyPatcher = self.patch(gateway, method, answer)
        return patch

    def statuses(self) -> list[Status]:
        return [told.status for told in self.daemon.news(DaemonStatus)]

    def message(self) -> str:
        """The latest message of ``daemon_status``."""
        told: DaemonStatus = self.daemon.news(DaemonStatus)[-1]
        return told.message

    def flatten(self) -> None:
        self.daemon.engine.accounts[ACCOUNT].flatten("enough", "trader")

    def lock_and_kill(self) -> None:
        self.lose(125, 2)
        self.daemon.kill()
        self.daemon.told.clear()

    def trade_again(self) -> None:
        self.daemon.move(MNQ, "21000")
        self.daemon.trade(BUY, 1)


class FeedTestCase(GuardTestCase):
    def lose_feed(self) -> None:
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.engine.feed_lost(FEED_LOST)

    def restore_feed(self) -> None:
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.engine.feed_restored()

    def statuses(self) -> list[tuple[Status, str]]:
        return [(told.status, told.message) for told in self.daemon.news(DaemonStatus)]
