"""The way of a quote through riskd with all rules in force, beside that with the rules of before.

Run as ``python -m tests.benchmarks.quotes [ROUNDS]``.  It times the processor from the gateway's listener to the
broadcast, and the rules on the way, of an account with two positions.  Both daemons are in this
process, and take turns, so that the machine's other work and its heat meet both.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from datetime import timedelta
from decimal import Decimal
from typing import Final

from riskd.model.broker import BrokerQuote
from riskd.model.events import MarketQuote
from tests.benchmarks.goals import print_goal, show
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


def measure(rounds: int) -> tuple[float, float, float]:
    """Return the microseconds of a quote with the rules of before, with all, and the median of the rounds' ratios."""
    before, after = Account(BEFORE), Account(BEFORE + MORE)
    pairs: list[tuple[float, float]] = []
    try:
        for number in range(rounds + 1):
            # The one that is second finds the caches as the first has left them.
            if number % 2:
                pairs.append((before.microseconds(), after.microseconds()))
            else:
                second = after.microseconds()
                pairs.append((before.microseconds(), second))
    finally:
        before.close()
        after.close()
    # The first round warms up.
    pairs = pairs[1:]
    ratio = statistics.median(second / first for first, second in pairs)
    return (
        statistics.median(first for first, _ in pairs),
        statistics.median(second for _, second in pairs),
        ratio,
    )


def main(rounds: int) -> None:
    """Measure and print both, side by side."""
    before, after, ratio = measure(rounds)
    show(f"{rounds} interleaved rounds of {QUOTES:,} quotes, CPU microseconds a quote")
    show(f"{'twelve rules':24}{before:10.1f}")
    show(f"{'all rules':24}{after:10.1f}")
    print_goal("all rules divided by twelve rules", ratio, "<=", GOAL, ratio <= GOAL)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
