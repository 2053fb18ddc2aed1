"""A practice exchange as its ledger shows it to another process."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.targets import POSITION
from riskd.practice.broker import LEDGER_NAME
from riskd.practice.gateway import PracticeGateway
from tests.support.directories import temporary_directory
from tests.support.exchange_oracle import ExchangeOracle
from tests.support.followed_exchange import FollowedExchange
from tests.support.practice_daemon import ACCOUNT, ES, M2K, MNQ, MONDAY_NOON


class FollowedExchangeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = temporary_directory(self)
        self.ledger = self.directory / LEDGER_NAME
        self.start()
        self.followed = FollowedExchange(self.directory, [ACCOUNT], MONDAY_NOON.date())
        self.changes()

    def start(self) -> None:
        self.gateway = PracticeGateway(
            Clock(), lambda: MONDAY_NOON, {ACCOUNT: ()}, is_open=False, ledger=self.directory
        )
        self.gateway.start()
        self.addCleanup(self.gateway.stop)

    def buy(self, side: int = 0) -> None:
        order = {"contractId": MNQ, "type": 2, "side": side, "size": 1}
        self.successResultOf(self.gateway.place_order(ACCOUNT, order))

    def changes(self) -> list[str]:
        return [message.target for message in self.followed.changes()]

    def held(self) -> list[int]:
        return [each["size"] for each in self.followed.store.open_positions(ACCOUNT)]

    def test_each_change_comes_once(self) -> None:
        self.buy()
        self.assertEqual((self.changes().count(POSITION), self.held()), (1, [1]))
        self.assertEqual(self.changes(), [])

    def test_each_change_has_a_version(self) -> None:
        versions = [self.followed.version]
        for act in (self.buy, lambda: None, self.gateway.stop, self.start):
            act()
            self.changes()
            versions.append(self.followed.version)
        first, bought, waited, stopped, replaced = versions
        self.assertEqual(len({first, bought, replaced}), 3)
        self.assertEqual(bought, waited)
        self.assertEqual(bought, stopped)

    def test_a_restart_brings_no_change_and_loses_none(self) -> None:
        self.buy()
        self.gateway.stop()
        self.start()
        self.assertEqual((self.changes(), self.held()), ([], [1]))
        self.buy()
        self.assertEqual((self.changes().count(POSITION), self.held()), (1, [2]))

    def test_what_is_being_written_is_read_when_it_is_whole(self) -> None:
        before = self.ledger.read_bytes()
        self.buy()
        whole = self.ledger.read_bytes()
        for end in range(len(before), len(whole) - 1, 50):
            self.ledger.write_bytes(whole[:end])
            self.assertEqual(self.changes(), [])
        self.ledger.write_bytes(whole)
        self.assertEqual((self.changes().count(POSITION), self.held()), (1, [1]))

    def test_its_oracle_knows_that_a_trade_was_corrected(self) -> None:
        oracle = ExchangeOracle(
            self.followed, ACCOUNT, lambda: MONDAY_NOON, frozenset(), limited=ES, blocked=M2K
        )
        self.buy()
        self.buy(side=1)
        self.changes()
        oracle.look()
        (trade,) = oracle.trades()
        before = oracle.corrected_at
        self.gateway.void_trade(ACCOUNT, trade.id)
        self.changes()
        oracle.look()
        self.assertEqual(oracle.trades(), [])
        self.assertGreater(oracle.corrected_at, before)
