"""The way of a quote through riskd with all rules in force, beside that with the rules of before.

It times the processor from the gateway's listener to the broadcast, and the rules on the way, of an account with two
positions.  Both daemons are in this process, and take turns, so that the machine's other work and its heat meet both.
"""

from __future__ import annotations

import gc
import time
from datetime import timedelta
from decimal import Decimal
from typing import Final

from riskd.model.broker import BrokerQuote
from riskd.model.events import MarketQuote
from tests.benchmarks.outcome import Options, Outcome, median
from tests.support.practice_daemon import BUY, ES, MNQ, PracticeDaemon

QUOTES: Final = 1000
"""How many quotes one round has."""

GOAL: Final = 1.5
"""How much dearer a quote may be with all rules."""

BEFORE: Final = """
[rules.max_contracts]
[rules.max_contracts_per_instrument]
unknown_symbol_action = "allow_unlimited"
[rules.daily_realized_loss]
loss_limit = 5000
[rules.daily_unrealized_loss]
loss_limit = 5000
[rules.max_unrealized_profit]
profit_target = 5000
[rules.trade_frequency_limit]
[rules.cooldown_after_loss]
[rules.no_stop_loss_grace]
[rules.session_block_outside]
allowed_hours = { start = "00:00", end = "23:59" }
timezone = "UTC"
[rules.auth_loss_guard]
[rules.symbol_blocks]
blocked_symbols = ["CL"]
[rules.trade_management]
enabled = true
stop_loss_ticks = 400
trailing_stop = { enabled = true, activation_ticks = 500 }
"""

MORE: Final = """
[rules.daily_net_loss]
loss_limit = 5000
trailing = "equity"
reduce_only_at = 80
[rules.maximum_loss]
drawdown = 5000
trailing = "intraday"
reduce_only_at = 80
[rules.daily_profit_target]
target = 5000
protect = { arm_at = 4000, floor = 3000 }
[rules.weekly_limits]
loss_limit = 5000
max_entries_and_exits = { week = 1000, day = 100 }
[files."news.toml"]
text = "[[news]]\\nat = 2026-12-10T13:30:00Z\\n"
[rules.news_blackout]
file = "news.toml"
[rules.consistency]
stop_for_today = true
[rules.order_limits]
max_size = 50
price_band_ticks = 5000
no_adding_to_losers = true
no_opposite_micros = true
"""


class Account:
    """An account in a daemon that holds two positions.

    :param config: the rules.
    """

    def __init__(self, config: str) -> None:
        self._daemon = PracticeDaemon(config)
        self._round = 0
        for contract_id, price in ((MNQ, "21000"), (ES, "5800")):
            self._daemon.move(contract_id, price)
        self._daemon.advance(3)
        for contract_id, size in ((MNQ, 2), (ES, 1)):
            # RULE-012 places a stop for each.
            self._daemon.trade(BUY, size, contract_id)
        self._daemon.advance(3)

    def microseconds(self) -> float:
        """Return the processor time of a quote, the mean of a round."""
        daemon, self._round = self._daemon, self._round + 1
        daemon.advance(1)
        quotes = [self._quote(number) for number in range(QUOTES)]
        receive = daemon.engine.receive_quote
        clock = daemon.clock
        del daemon.told[:]
        gc.collect()
        gc.disable()
        begun = time.process_time()
        for quote in quotes:
            # No timer fires, but time passes.
            clock.rightNow += 1e-6
            receive(quote)
        seconds = time.process_time() - begun
        gc.enable()
        if len(daemon.news(MarketQuote)) != QUOTES or len(daemon.told) != QUOTES:
            raise SystemExit("quotes: a quote was not broadcast, or a rule has acted")
        return seconds / QUOTES * 1e6

    def _quote(self, number: int) -> BrokerQuote:
        contract_id, price = ((MNQ, Decimal(21000)), (ES, Decimal(5800)))[number % 2]
        last = price + Decimal("0.25") * ((self._round + number // 2) % 40 - 20)
        at = self._daemon.broker_time() + timedelta(microseconds=number)
        return BrokerQuote(
            contract_id, last - Decimal("0.25"), last + Decimal("0.25"), last, stamp=at
        )

    def close(self) -> None:
        """Stop the daemon."""
        self._daemon.close()


def benchmark(options: Options) -> Outcome:
    """Measure both, side by side, in each round."""
    outcome = Outcome()
    before, after = Account(BEFORE), Account(BEFORE + MORE)
    ratios: list[float] = []
    try:
        # The first round warms up.
        before.microseconds(), after.microseconds()
        for number in range(options.rounds_or(40, 10)):
            # The one that is second finds the caches as the first has left them.
            if number % 2:
                first, second = before.microseconds(), after.microseconds()
            else:
                second, first = after.microseconds(), before.microseconds()
            ratios.append(second / first)
            outcome.add("a quote", "twelve rules", "CPU, us", first)
            outcome.add("a quote", "all rules", "CPU, us", second)
    finally:
        before.close()
        after.close()
    outcome.judge("all rules divided by twelve rules", median(ratios), "<=", GOAL)
    outcome.notes.append(f"{QUOTES:,} quotes a round.")
    return outcome
