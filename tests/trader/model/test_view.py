"""How far a view can be trusted, and the open P&L that the age of quotes allows."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, apply
from riskd.model.events import DaemonStatus, Status
from riskd.testing import make_event
from tests.support.console import BEGIN, MNQ, account_after, at
from trader.model.view import (
    Source,
    View,
    is_current,
    is_empty,
    is_fresh,
    is_stopping,
    open_pnl,
    unknown_reason,
    unrealized_pnl,
)

EMPTY = View(account=AccountState(account_id=123), source=Source.LIVE)


def status(state: Status) -> DaemonStatus:
    """Return a status of the daemon."""
    data = make_event("daemon_status", {"status": str(state), "message": ""}).data
    assert isinstance(data, DaemonStatus)
    return data


MES = "CON.F.US.MES.U25"


def live(state: AccountState) -> View:
    """Return a live view of the account."""
    return View(account=state, source=Source.LIVE)


POSITION = ("GatewayUserPosition", {"contractId": MNQ, "size": 1, "averagePrice": 21000})
QUOTE = ("MarketQuote", {"contractId": MNQ, "last": 21001, "timestamp": at(0)})


class CurrentTests(SynchronousTestCase):
    """Whether the numbers are the broker's now."""

    def test_only_a_live_view_is_current(self) -> None:
        for source in Source:
            view = msgspec.structs.replace(EMPTY, source=source)
            self.assertEqual(is_current(view), source is Source.LIVE)

    def test_with_a_daemon_error_a_view_is_current_once_the_broker_has_sent_data(self) -> None:
        view = msgspec.structs.replace(EMPTY, daemon=status(Status.ERROR))
        self.assertFalse(is_current(view))
        self.assertTrue(is_current(msgspec.structs.replace(view, has_broker_data=True)))

    def test_only_a_stopping_daemon_is_stopping(self) -> None:
        self.assertEqual(
            [is_stopping(status(state)) for state in (Status.RUNNING, Status.STOPPING)],
            [False, True],
        )


class UnknownReasonTests(SynchronousTestCase):
    """Why positions, orders and trades are unknown."""

    def reason(self, **changes: object) -> str:
        return unknown_reason(msgspec.structs.replace(EMPTY, **changes))

    def test_without_a_connection_or_a_file_they_are_unknown(self) -> None:
        self.assertEqual(self.reason(source=Source.NOTHING), "not connected yet")

    def test_an_empty_account_is_flat_only_with_a_daemon_that_runs(self) -> None:
        self.assertEqual(self.reason(), "no broker data yet")
        self.assertEqual(self.reason(daemon=status(Status.ERROR)), "the daemon has an error")
        self.assertEqual(self.reason(daemon=status(Status.RUNNING)), "")

    def test_an_account_of_events_alone_is_known_as_far_as_it_goes(self) -> None:
        self.assertEqual(self.reason(events_only_since=BEGIN), "")

    def test_an_account_with_a_trade_is_known(self) -> None:
        account = apply(EMPTY.account, make_event("GatewayUserTrade", {}))
        self.assertTrue(is_empty(EMPTY.account))
        self.assertFalse(is_empty(account))
        self.assertEqual(self.reason(account=account), "")


class StalenessTests(SynchronousTestCase):
    """A quote is fresh for 5 s, and counts for 30 s of a live market."""

    def test_a_quote_is_fresh_for_five_seconds(self) -> None:
        state = account_after(QUOTE)
        for seconds, expected in ((0, True), (5, True), (5.001, False)):
            self.assertEqual(is_fresh(state, MNQ, BEGIN + timedelta(seconds=seconds)), expected)
        self.assertFalse(is_fresh(state, MES, BEGIN))

    def test_open_pnl_is_unknown_after_thirty_seconds_without_a_quote(self) -> None:
        state = account_after(POSITION, QUOTE)
        (position,) = state.open_positions
        for seconds, amount, unknown in ((30, 2, ""), (31, None, "no quote for 31 s")):
            pnl = open_pnl(live(state), position, BEGIN + timedelta(seconds=seconds))
            self.assertEqual((pnl.amount, pnl.unknown), (amount, unknown))

    def test_without_a_connection_the_last_known_quote_counts(self) -> None:
        state = account_after(POSITION, QUOTE)
        (position,) = state.open_positions
        view = View(account=state, source=Source.LAST_KNOWN)
        pnl = open_pnl(view, position, BEGIN + timedelta(hours=1))
        self.assertEqual(pnl.amount, 2)

    def test_one_unknown_position_makes_the_sum_unknown(self) -> None:
        state = account_after(POSITION, QUOTE)
        self.assertEqual(unrealized_pnl(live(state), BEGIN).amount, 2)
        state = apply(state, make_event("GatewayUserPosition", {"contractId": MES}))
        pnl = unrealized_pnl(live(state), BEGIN)
        self.assertEqual((pnl.amount, pnl.unknown), (None, "no quote yet"))
