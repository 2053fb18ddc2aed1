"""The accounts of a desk."""

from __future__ import annotations

import random
from functools import reduce

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk import desk_accounts
from riskd.desk.desk_accounts import RECORD, DeskAccounts
from riskd.desk.messages import MessageError
from riskd.model.account import AccountState, with_risk
from riskd.model.event_number import Number
from riskd.model.events import DaemonStatus, Event, MarketQuote
from riskd.model.received import after_event, in_order_of_arrival
from riskd.testing import make_event
from tests.support.journal import full_state
from tests.support.strategies import histories

ANNA, BEN = "anna", "ben"


def with_event(account: AccountState, event: Event) -> AccountState:
    """Return the account as the daemon has it after an event."""
    return after_event(account, in_order_of_arrival(account, event))


def trade(number: int, account_id: int = 123) -> Event:
    """Return a trade of the day."""
    at = "2025-01-17T12:00:00Z"
    return make_event(
        "GatewayUserTrade",
        {
            "id": number,
            "accountId": account_id,
            "profitAndLoss": -number,
            "executionTime": at,
            "timestamp": at,
        },
    )


def nothing(_instance: str) -> None:
    """Stand in for the status of an instance."""


class MergeTests(SynchronousTestCase):
    """States and events give the daemon's account, whatever the order in which the states come."""

    @given(histories(), st.integers(), st.booleans())
    def test_an_account_is_the_latest_state_and_the_events_after_it(
        self, history: list[Event], seed: int, is_restarted: bool
    ) -> None:
        events = [
            each for each in history if not isinstance(each.data, DaemonStatus | MarketQuote)
        ]
        begin = AccountState(account_id=123)
        states = [begin]
        for event in events:
            states.append(with_event(states[-1], event))
        rng = random.Random(seed)
        accounts = DeskAccounts()
        accounts.take_state(ANNA, begin, Number(1, 0))
        for seq, event in enumerate(events, 1):
            for number in rng.sample(range(len(states)), rng.randint(0, 2)):
                accounts.take_state(ANNA, states[number], Number(1, number))
            self.assertTrue(accounts.receive(ANNA, Number(1, seq), event))
            if is_restarted and rng.random() < 0.3:
                stored = accounts.stored(nothing)
                accounts = DeskAccounts()
                accounts.recover(stored)
        (account,) = accounts.stored(nothing)
        self.assertEqual(with_risk(account, settings={}), states[-1])
        self.assertEqual(accounts.known(ANNA), Number(1, len(events)))

    def test_a_state_that_is_ahead_counts_at_once_and_its_events_once(self) -> None:
        events = [trade(number) for number in (1, 2, 3)]
        accounts = DeskAccounts()
        accounts.take_state(ANNA, AccountState(account_id=123), Number(1, 0))
        accounts.receive(ANNA, Number(1, 1), events[0])
        ahead = reduce(with_event, events, AccountState(account_id=123))
        accounts.take_state(ANNA, ahead, Number(1, 3))
        self.assertEqual(accounts.stored(nothing)[0].trade_count, 3)
        # They are broadcast all the same.
        self.assertTrue(accounts.receive(ANNA, Number(1, 2), events[1]))
        self.assertTrue(accounts.receive(ANNA, Number(1, 3), events[2]))
        self.assertEqual(accounts.stored(nothing)[0].trade_count, 3)

    def test_events_before_the_first_state_are_no_news(self) -> None:
        accounts = DeskAccounts()
        accounts.take_state(ANNA, AccountState(account_id=123), Number(1, 5))
        self.assertFalse(accounts.receive(ANNA, Number(1, 5), trade(1)))
        self.assertTrue(accounts.receive(ANNA, Number(1, 6), trade(2)))
        self.assertEqual(accounts.stored(nothing)[0].trade_count, 1)

    def test_a_state_replaces_what_no_event_has(self) -> None:
        accounts = DeskAccounts()
        accounts.take_state(ANNA, AccountState(account_id=123), Number(1, 5))
        accounts.take_state(ANNA, full_state(), Number(1, 5))
        account = accounts.stored(nothing)[0]
        self.assertEqual(account.balance, full_state().balance)
        self.assertEqual(account.limits, full_state().limits)

    def test_quotes_outlive_a_state_unless_it_has_later_ones(self) -> None:
        accounts = DeskAccounts()
        accounts.take_state(ANNA, AccountState(account_id=123), Number(1, 5))

        def quote(second: int) -> MarketQuote:
            data = make_event("MarketQuote", {"timestamp": f"2025-01-17T12:00:0{second}Z"}).data
            assert isinstance(data, MarketQuote)
            return data

        def shown() -> MarketQuote:
            return next(iter(accounts.stored(nothing)[0].quotes.values()))

        self.assertTrue(accounts.receive_quote(ANNA, 123, quote(5)))
        self.assertFalse(accounts.receive_quote(ANNA, 123, quote(5)))
        contract_id = quote(5).contract_id
        for second, expected in ((4, 5), (6, 6)):
            state = AccountState(account_id=123, quotes={contract_id: quote(second)})
            accounts.take_state(ANNA, state, Number(1, 5))
            self.assertEqual(shown(), quote(expected))

    def test_a_state_that_lacks_forgotten_events_is_not_used(self) -> None:
        self.patch(desk_accounts, "MOST_KEPT", 2)
        accounts = DeskAccounts()
        accounts.take_state(ANNA, AccountState(account_id=123), Number(1, 0))
        for seq in (1, 2, 3):
            accounts.receive(ANNA, Number(1, seq), trade(seq))
        self.assertFalse(accounts.take_state(ANNA, AccountState(account_id=123), Number(1, 0)))
        self.assertEqual(accounts.stored(nothing)[0].trade_count, 3)
        one = with_event(AccountState(account_id=123), trade(1))
        self.assertTrue(accounts.take_state(ANNA, one, Number(1, 1)))
        self.assertEqual(accounts.stored(nothing)[0].trade_count, 3)


class OwnerTests(SynchronousTestCase):
    """An account number is that of one instance."""

    def setUp(self) -> None:
        self.accounts = DeskAccounts()
        self.accounts.take_state(ANNA, full_state(), Number(1, 5))

    def refused(self, accounts: DeskAccounts) -> None:
        other = AccountState(account_id=123)
        for refuse in (
            lambda: accounts.take_state(BEN, other, Number(9, 9)),
            lambda: accounts.receive(BEN, Number(9, 9), trade(1)),
        ):
            sentence = str(self.assertRaises(MessageError, refuse))
            self.assertIn(
                "account 123 of ben is left out: anna has an account of this number", sentence
            )
        data = make_event("MarketQuote", {}).data
        assert isinstance(data, MarketQuote)
        self.assertFalse(accounts.receive_quote(BEN, 123, data))
        (account,) = accounts.stored(nothing)
        self.assertEqual(account.trades, full_state().trades)
        self.assertEqual(accounts.of_instance(BEN), [])

    def test_the_first_keeps_it(self) -> None:
        self.refused(self.accounts)

    def test_the_first_keeps_it_over_a_restart(self) -> None:
        again = DeskAccounts()
        again.recover(self.accounts.stored(nothing))
        self.assertEqual(again.of_instance(ANNA), [123])
        self.refused(again)

    def test_no_instance_fills_the_desk(self) -> None:
        self.patch(desk_accounts, "MOST_ACCOUNTS", 2)
        for number in (1, 2):
            self.accounts.take_state(BEN, AccountState(account_id=number), Number(1, 1))
        one_more = AccountState(account_id=3)
        refused = self.assertRaises(
            MessageError, self.accounts.take_state, BEN, one_more, Number(1, 1)
        )
        self.assertIn("account 3 of ben is left out", str(refused))

    def test_the_first_description_of_a_contract_counts(self) -> None:
        ((key, contract),) = full_state().contracts.items()
        wrong = msgspec.structs.replace(contract, tick_value=contract.tick_value * 1000)

        def contracts() -> list[object]:
            return [each.contracts[key] for each in self.accounts.stored(nothing)]

        bens = AccountState(account_id=456, contracts={key: wrong})
        self.accounts.take_state(BEN, bens, Number(1, 1))
        self.assertEqual(contracts(), [contract, contract])
        # Whose it is may correct it.
        corrected = msgspec.structs.replace(full_state(), contracts={key: wrong})
        self.accounts.take_state(ANNA, corrected, Number(1, 6))
        self.assertEqual(contracts()[0], wrong)


class RestartTests(SynchronousTestCase):
    """What the journal has is enough to go on."""

    def test_the_numbers_come_back(self) -> None:
        accounts = DeskAccounts()
        accounts.take_state(ANNA, AccountState(account_id=1), Number(1, 9))
        accounts.take_state(ANNA, AccountState(account_id=2), Number(1, 3))
        accounts.receive(ANNA, Number(1, 4), trade(1, account_id=2))
        accounts.note_delivered(ANNA, Number(1, 5))
        again = DeskAccounts()
        again.recover(accounts.stored(nothing))
        self.assertEqual(again.delivered(ANNA), Number(1, 5))
        self.assertEqual(again.known(ANNA), Number(1, 9))
        self.assertEqual(again.stored(nothing), accounts.stored(nothing))
        # The older state of the server lacks an event that is not kept any more.
        self.assertFalse(again.take_state(ANNA, AccountState(account_id=2), Number(1, 3)))
        self.assertEqual(again.stored(nothing)[1].trade_count, 1)

    def test_an_account_without_a_record_is_left_out(self) -> None:
        accounts = DeskAccounts()
        wrong = with_risk(AccountState(account_id=2), settings={RECORD: "{}"})
        accounts.recover([AccountState(account_id=1), wrong])
        self.assertEqual(accounts.ids, ())

    def test_what_has_not_changed_is_the_same_object(self) -> None:
        accounts = DeskAccounts()
        accounts.take_state(ANNA, full_state(), Number(1, 9))
        accounts.take_state(BEN, AccountState(account_id=2), Number(1, 9))
        first, second = accounts.stored(nothing)
        accounts.receive(BEN, Number(1, 10), trade(1, account_id=2))
        self.assertIs(accounts.stored(nothing)[0], first)
        self.assertIsNot(accounts.stored(nothing)[1], second)

    def test_numbers_begin_anew(self) -> None:
        accounts = DeskAccounts()
        accounts.take_state(ANNA, full_state(), Number(7, 9))
        accounts.begin_anew(ANNA)
        self.assertEqual((accounts.delivered(ANNA), accounts.known(ANNA)), (None, None))
        self.assertTrue(accounts.take_state(ANNA, AccountState(account_id=123), Number(1, 1)))
        self.assertEqual(accounts.stored(nothing)[0].trades, {})
