"""Random trading, faults, restarts and clock jumps, and what must hold after every step.

riskd cannot force a broker that refuses its requests.  So the time for which a locked account may hold a
position is counted only while the broker has no faults.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from riskd.config.settings import Faults
from riskd.model.events import (
    Action,
    DailyReset,
    EnforcementAction,
    Event,
    LockoutCleared,
    LockoutSet,
)
from riskd.model.lockouts import is_in_force, is_locked
from riskd.model.wire import decode_data
from tests.support.guarded_account import FAULTS, QUIET, RULES
from tests.support.practice_daemon import ACCOUNT, BUY, ES, MNQ, MONDAY_NOON, SELL, PracticeDaemon

LOSS_LIMIT = Decimal(500)
MES = "CON.F.US.MES.Z26"

PATIENCE = timedelta(seconds=5 + 5 + 4)
"""The longest wait between two tries, one round of reconciliation, and the first tries."""

LIFTED = ("RULE-003", "RULE-006", "RULE-007", "RULE-010")
"""The rules whose locks may end early."""

SETTLING_SECONDS = 75
"""Long enough for reconciliation to find everything that was lost."""

CONTRACTS = st.sampled_from([MNQ, MNQ, ES, MES])
PRICES = {MNQ: 21000, ES: 5800, MES: 5800}


class RandomTrading(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.daemon = PracticeDaemon(RULES)
        for contract_id, price in PRICES.items():
            self.daemon.move(contract_id, str(price))
        self.seen = 0
        self.ends: dict[str, LockoutSet] = {}
        self.breaches: dict[str, int] = {}
        self.exposed_since: datetime | None = None
        self.was_freed = False

    def teardown(self) -> None:
        if hasattr(self, "daemon"):
            try:
                self.settle()
                self.locks_hold()
            finally:
                self.daemon.close()

    # What traders, brokers and machines do.

    @rule(side=st.sampled_from([BUY, SELL]), size=st.integers(1, 5), contract_id=CONTRACTS)
    def trade_at_the_market(self, side: int, size: int, contract_id: str) -> None:
        self.place(contract_id, {"type": 2, "side": int(side), "size": size})

    @rule(
        side=st.sampled_from([BUY, SELL]),
        size=st.integers(1, 3),
        points=st.integers(-60, 60),
        contract_id=CONTRACTS,
    )
    def trade_at_a_limit(self, side: int, size: int, points: int, contract_id: str) -> None:
        price = Decimal(PRICES[contract_id] + points)
        self.place(contract_id, {"type": 1, "side": int(side), "size": size, "limitPrice": price})

    @rule(size=st.integers(1, 4), points=st.integers(-90, 30), faults=FAULTS)
    def make_a_round_trip(self, size: int, points: int, faults: Faults) -> None:
        """Open, move the market, and close: most losses are made like this."""
        self.daemon.gateway.faults = faults
        self.place(MNQ, {"type": 2, "side": int(BUY), "size": size})
        self.move(points, MNQ)
        self.place(MNQ, {"type": 2, "side": int(SELL), "size": size})
        self.move(0, MNQ)

    @rule(points=st.integers(-60, 60), contract_id=CONTRACTS)
    def move(self, points: int, contract_id: str) -> None:
        self.daemon.move(contract_id, str(PRICES[contract_id] + points))

    @rule(seconds=st.sampled_from([0.25, 0.5, 1, 5, 20, 61]))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule(faults=FAULTS)
    def break_something(self, faults: Faults) -> None:
        self.daemon.gateway.faults = faults

    @rule(may_trade=st.booleans())
    def restrict(self, may_trade: bool) -> None:
        self.daemon.gateway.set_can_trade(ACCOUNT, may_trade)

    @rule()
    def kill(self) -> None:
        self.daemon.kill()
        self.start_again()

    @rule(hours=st.sampled_from([0.001, 0.5, 7, 30, 75]))
    def jump(self, hours: float) -> None:
        """Let the machine sleep: only its clock goes on."""
        self.daemon.stopped_for(hours=hours)
        self.pass_time(1)

    @rule()
    @precondition(lambda self: self.daemon.state.trades)
    def void(self) -> None:
        trade_id = next(reversed(self.daemon.state.trades))
        known = {payload["id"]: payload for payload in self.broker_trades()}
        if trade_id in known and not known[trade_id]["voided"]:
            self.daemon.gateway.void_trade(ACCOUNT, trade_id)

    @rule()
    def settle(self) -> None:
        """Once all is quiet, riskd knows what the broker knows."""
        self.quieten()
        daemon = self.daemon
        assert daemon.state.realized_pnl == self.broker_pnl()
        held = {
            position.contract_id: position.size * (1 if position.type == 1 else -1)
            for position in daemon.state.open_positions
        }
        assert held == daemon.held
        assert sorted(daemon.state.orders) == sorted(daemon.working)
        assert abs(sum(map(abs, held.values()))) <= 4
        assert MES not in held
        assert abs(held.get(ES, 0)) <= 2
        if self.broker_pnl() <= -LOSS_LIMIT and not self.was_freed:
            assert "RULE-003" in daemon.state.lockouts

    # Helpers.

    def place(self, contract_id: str, order: dict[str, object]) -> None:
        placed = self.daemon.gateway.place_order(ACCOUNT, {"contractId": contract_id, **order})
        placed.addErrback(lambda _refused: None)

    def start_again(self) -> None:
        """Restart on a broker that answers; a start without answers is tested elsewhere."""
        faults, self.daemon.gateway.faults = self.daemon.gateway.faults, QUIET
        self.daemon.restart()
        for contract_id, price in PRICES.items():
            self.daemon.move(contract_id, str(price))
        self.daemon.gateway.faults = faults

    def quieten(self) -> None:
        self.daemon.gateway.faults = QUIET
        for contract_id in PRICES:
            # What is left of an order that was filled in part waits for a quote.
            quote = self.daemon.gateway.exchange.quote(contract_id)
            self.daemon.move(contract_id, str(quote.last))
        self.pass_time(SETTLING_SECONDS)

    def pass_time(self, seconds: float) -> None:
        while seconds > 0:
            self.daemon.advance(min(seconds, 1.0), step=0.5)
            seconds -= 1.0
            self.note_exposure()

    def note_exposure(self) -> None:
        """Note since when a locked account has held a position that the broker would have closed."""
        now = self.daemon.now()
        is_exposed = (
            bool(self.daemon.held)
            and is_locked(self.daemon.engine.accounts[ACCOUNT].account.state_with_pending, now)
            and self.daemon.gateway.faults == QUIET
        )
        if not is_exposed:
            self.exposed_since = None
        elif self.exposed_since is None:
            self.exposed_since = now
        if self.exposed_since is not None and is_exposed:
            assert now - self.exposed_since <= PATIENCE

    def broker_trades(self) -> list[dict[str, object]]:
        began = self.daemon.state.day_began or MONDAY_NOON
        return self.daemon.gateway.exchange.store.trades(ACCOUNT, began)

    def broker_pnl(self) -> Decimal:
        return sum(
            (
                payload["profitAndLoss"]
                for payload in self.broker_trades()
                if payload.get("profitAndLoss") is not None and not payload["voided"]
            ),
            Decimal("0.00"),
        )

    # What must hold.

    @invariant()
    def locks_hold(self) -> None:
        """No lock is shortened, each is broadcast once, and each that was broadcast is in the journal."""
        for event in self.daemon.told[self.seen :]:
            self.check_event(event)
        self.seen = len(self.daemon.told)
        kept = self.locks_in_journal()
        for lock in self.ends.values():
            if is_in_force(lock, self.daemon.now()):
                assert self.daemon.state.lockouts.get(lock.rule_id) == lock
                assert lock in kept

    def check_event(self, event: Event) -> None:
        data = event.data
        if isinstance(data, LockoutSet):
            known = self.ends.get(data.rule_id)
            if data.rule_id in LIFTED and not is_in_force(data, self.daemon.now()):
                # Its trades were voided, or the broker lets the account trade again.
                self.ends.pop(data.rule_id, None)
                self.breaches.pop(data.rule_id, None)
                return
            if known is not None and data != known and known.locked_until is not None:
                assert data.locked_until is None or data.locked_until >= known.locked_until
            assert known is None or known.locked_until is not None or data == known
            self.ends[data.rule_id] = data
        elif isinstance(data, LockoutCleared):
            self.ends.clear()
            self.breaches.clear()
        elif isinstance(data, DailyReset):
            self.breaches.pop("RULE-003", None)
            self.was_freed = False
            if data.lockouts_cleared:
                self.ends.clear()
        elif isinstance(data, EnforcementAction) and data.action is Action.CLOSE_ALL_AND_LOCKOUT:
            self.breaches[data.rule_id] = self.breaches.get(data.rule_id, 0) + 1
            if data.rule_id == "RULE-003":
                assert self.breaches["RULE-003"] == 1

    def locks_in_journal(self) -> list[LockoutSet]:
        journal = sqlite3.connect(f"file:{self.daemon.directory}/riskd.db?mode=ro", uri=True)
        try:
            rows = journal.execute("SELECT data FROM lockouts WHERE account_id = ?", (ACCOUNT,))
            return [decode_data("lockout_set", ACCOUNT, data).data for (data,) in rows]
        finally:
            journal.close()


RandomTradingTests = RandomTrading.TestCase
RandomTradingTests.settings = settings(stateful_step_count=30, max_examples=25)
