"""What a follower of the stream makes of its events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.events import Event, MarketQuote
from riskd.model.received import after_event, after_quotes

_MOMENT = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)

_quotes = st.builds(
    lambda contract_id, last, seconds: MarketQuote(
        contract_id=contract_id,
        bid=Decimal(1),
        ask=Decimal(2),
        last=Decimal(last),
        timestamp=_MOMENT + timedelta(seconds=seconds),
    ),
    st.sampled_from(["A", "B", "C"]),
    st.integers(1, 2),
    st.integers(0, 3),
)


class QuotesTests(SynchronousTestCase):
    """Quotes that are applied together."""

    @given(before=st.lists(_quotes, max_size=4), quotes=st.lists(_quotes, max_size=8))
    def test_they_leave_what_one_after_the_other_leaves(
        self, before: list[MarketQuote], quotes: list[MarketQuote]
    ) -> None:
        account = AccountState(account_id=123)
        for quote in before:
            account = after_event(account, Event(123, quote))
        expected = account
        for quote in quotes:
            expected = after_event(expected, Event(123, quote))
        after = after_quotes(account, quotes)
        self.assertEqual(after, expected)
        # Nothing is drawn again for what changes nothing.
        self.assertEqual(after is account, expected is account)
