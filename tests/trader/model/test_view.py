"""How far a view can be trusted."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, apply
from riskd.model.events import DaemonStatus, Status
from riskd.testing import make_event
from tests.support.console import BEGIN
from trader.model.view import Source, View, is_current, is_empty, is_stopping, unknown_reason

EMPTY = View(account=AccountState(account_id=123), source=Source.LIVE)


def status(state: Status) -> DaemonStatus:
    """Return a status of the daemon."""
    data = make_event("daemon_status", {"status": str(state), "message": ""}).data
    assert isinstance(data, DaemonStatus)
    return data


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
