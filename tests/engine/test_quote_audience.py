"""Which accounts are told of a quote, and what it costs the others."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import Mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import AccountSettings, Settings
from riskd.engine.quote_audience import QuoteAudience
from riskd.engine.tracked_account import TrackedAccount
from riskd.model.contracts import Contract
from riskd.model.events import OrderState
from tests import examples
from tests.support import rules
from tests.support.scripted_gateway import ES, MCL, MNQ, EngineTestCase, position, quote

CONTRACTS: Final = (MNQ, ES, MCL)

_accounts, _contracts = st.sampled_from((123, 456)), st.sampled_from(CONTRACTS)
_steps = st.one_of(
    st.tuples(st.just("position"), _accounts, _contracts, st.integers(0, 2)),
    st.tuples(st.just("order"), _accounts, _contracts, st.sampled_from(OrderState)),
    st.tuples(st.just("contract"), _accounts, _contracts, st.sampled_from(["XZ5", "ESH5"])),
    st.tuples(st.just("watch"), _accounts, st.lists(st.sampled_from(["MNQ", "ES", "X"]))),
    st.tuples(st.just("vanish"), _accounts),
    st.tuples(st.just("recover"), _accounts, _accounts),
)


class AllAccountsTests(SynchronousTestCase):
    """The audience is that of accounts which are all asked anew."""

    @settings(max_examples=examples(40))
    @given(st.lists(_steps, max_size=12))
    def test_whoever_is_told_is_whoever_wants_it(self, steps: list[tuple[Any, ...]]) -> None:
        accounts: dict[int, Any] = {}
        audience = QuoteAudience(accounts)
        for step in [("follow", 123), *steps[:2], ("follow", 456), *steps[2:]]:
            kind, account_id, *what = step
            if kind == "follow":
                self.follow(accounts, audience, account_id)
            elif account_id in accounts:
                self.act(accounts, kind, accounts[account_id].account, *what)
            for contract_id in CONTRACTS:
                wanting = [
                    each for each in accounts.values() if each.account.wants_quotes(contract_id)
                ]
                self.assertEqual([*audience.of(contract_id)], wanting, step)

    def follow(self, accounts: dict[int, Any], audience: QuoteAudience, account_id: int) -> None:
        account = TrackedAccount(
            account_id, ["MNQ"], Mock(), lambda _event: None, lambda: rules.NOON, lambda: 0.0
        )
        account.wants_changed = lambda: audience.changed(account_id)
        accounts[account_id] = SimpleNamespace(account=account)
        audience.changed(account_id)

    def act(
        self, accounts: dict[int, Any], kind: str, account: TrackedAccount, *what: Any
    ) -> None:
        if kind == "position":
            account.update(rules.position(*what).data)
        elif kind == "order":
            contract_id, state = what
            number = CONTRACTS.index(contract_id)
            account.update(rules.order(number, contract_id, state=state).data)
        elif kind == "contract":
            contract_id, name = what
            account.add_contract(
                Contract(id=contract_id, name=name, tick_size=Decimal(1), tick_value=Decimal(1))
            )
        elif kind == "watch":
            account.watch_for(*what)
        elif kind == "vanish":
            for held in account.state.open_positions:
                account.close_vanished(held, 0)
            for working in account.state.working_orders:
                account.end_vanished(working, 0)
        elif what[0] in accounts:
            account.recover(accounts[what[0]].account.state)


class QuoteAudienceTests(EngineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.start()

    def quote(self, contract_id: str, last: int) -> None:
        self.payloads.market_event("GatewayQuote", contract_id, quote(last))

    def last(self, account_id: int) -> Decimal | None:
        known = self.engine.accounts[account_id].account.state.quotes.get(ES)
        return None if known is None else known.last

    def test_a_quote_looks_at_no_account_that_does_not_want_it(self) -> None:
        self.user("GatewayUserPosition", position(1, ES))
        self.quote(ES, 6000)

        def wants(_account: TrackedAccount, contract_id: str) -> bool:
            raise AssertionError(contract_id)

        self.patch(TrackedAccount, "wants_quotes", wants)
        # Whoever looks at it fails, and that is logged.
        del self.engine.accounts[456].account.state
        self.take()
        for last in range(6001, 6004):
            self.quote(ES, last)
        self.user("GatewayUserPosition", position(2, ES))
        self.quote(ES, 6004)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(len(self.take()), 5)

    def test_an_account_that_enters_later_has_the_latest_quote_and_is_told_the_next(self) -> None:
        self.user("GatewayUserPosition", position(1, ES))
        self.quote(ES, 6000)
        self.assertEqual((self.last(123), self.last(456)), (6000, None))
        self.user("GatewayUserPosition", position(1, ES, 456))
        first, later = (each.account.state.quotes for each in self.engine.accounts.values())
        self.assertIs(later[ES], first[ES])
        self.quote(ES, 6001)
        self.user("GatewayUserPosition", position(0, ES, 456))
        self.quote(ES, 6002)
        self.assertEqual((self.last(123), self.last(456)), (6002, 6001))

    def test_a_reload_changes_who_watches(self) -> None:
        self.quote(MNQ, 21000)
        accounts = (AccountSettings(id=123), AccountSettings(id=456, watch=("MNQ",)))
        self.engine.reload(Settings(accounts=accounts))
        self.told.clear()
        self.quote(MNQ, 21001)
        self.assertEqual([each.account_id for each in self.told if each.account_id], [456])
