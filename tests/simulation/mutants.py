"""Faults planted in riskd, which the simulator must find: ``python -m tests.simulation.mutants``.

Each mutant is one change of one line in a copy of the project, or of two lines where riskd guards twice against
the same; days are played on it until one fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.simulation.day import FIRST_WITH_PARTS

ROOT = Path(__file__).resolve().parents[2]


class Change(NamedTuple):
    """In a file of ``riskd``, ``right`` is replaced by ``wrong``."""

    file: str
    right: str
    wrong: str


class Mutant(NamedTuple):
    """A fault.

    :ivar also: the second change; without it the code there makes the first one good.
    """

    what: str
    file: str
    right: str
    wrong: str
    also: Change | None = None

    def changes(self) -> tuple[Change, ...]:
        first = Change(self.file, self.right, self.wrong)
        return (first,) if self.also is None else (first, self.also)


MUTANTS = (
    Mutant(
        "an ended order works again when older news of it come",
        "engine/order_of_truth.py",
        "(news.has_ended or news.id in state.final_orders)",
        "news.has_ended",
        Change("model/account.py", "if data.id in state.final_orders:", "if data.id is None:"),
    ),
    Mutant(
        "news that cannot be put in order leave no doubt",
        "engine/order_of_truth.py",
        "self.doubt_since = now",
        "self.doubt_since = None",
        # Executions that do not add up to the position make riskd ask as well.
        Change(
            "engine/balances.py",
            "if state.risk.unmatched and now >=",
            "if state.risk.unmatched is None and now >=",
        ),
    ),
    Mutant(
        "an answer outranks an event that came after its request",
        "engine/order_of_truth.py",
        "past.event_at <= sent_at - trail and past.asked_at <= sent_at",
        "past.asked_at <= sent_at",
    ),
    Mutant(
        "the end of any position closes the one that is known",
        "engine/order_of_truth.py",
        "if known.opening == closed.opening:",
        "if known.contract_id == closed.contract_id:",
    ),
    Mutant(
        "only the position of a contract that ended last is remembered",
        "engine/order_of_truth.py",
        "deque(maxlen=_ENDED_REMEMBERED)",
        "deque(maxlen=1)",
    ),
    Mutant(
        "the broker's time is this machine's",
        "gateway/broker_clock.py",
        "moment = self._epoch + timedelta(0, self._seconds())",
        "moment = self._wall()",
    ),
    Mutant(
        "the contracts may be one more than the limit",
        "rules/builtin/max_contracts.py",
        "excess <= 0",
        "excess <= 1",
    ),
    Mutant(
        "a daily loss is taken back when one of its trades is",
        "rules/builtin/daily_realized_loss.py",
        "return all(each > -fired.limit",
        "return any(each > -fired.limit",
    ),
    Mutant(
        "trades are counted only up to the latest one",
        "rules/builtin/trade_frequency_limit.py",
        "times[bisect_right(times, now - window.cooldown) :]",
        "times[-1:]",
    ),
    Mutant(
        "as many trades as the limit are too many",
        "rules/builtin/trade_frequency_limit.py",
        "len(trades) <= window.limit",
        "len(trades) < window.limit",
    ),
    Mutant(
        "a loss is one fill, not one exit",
        "rules/builtin/cooldown_after_loss.py",
        "_exit_of(trade, state)",
        "_exit([trade])",
    ),
    Mutant(
        "the size of a stop does not matter",
        "rules/positions.py",
        "return contracts_left(protecting_stops(state, position))",
        "return 10**6 if list(protecting_stops(state, position)) else 0",
    ),
    Mutant(
        "a price from before the position marks it",
        "model/account.py",
        "return outdated is not None and outdated is state.quotes.get(contract_id)",
        "return False",
    ),
    Mutant(
        "a zero is believed beside a positive market",
        "model/marks.py",
        "if doubt_of(quote, tick_size) is None:",
        "if doubt_of(quote, tick_size) is not Doubt.FAR:",
    ),
    Mutant(
        "a new lock of a rule replaces a longer one",
        "model/lockouts.py",
        "known is None or end_of_lock(known) < end_of_lock(asked)",
        "known is None or end_of_lock(known) != end_of_lock(asked)",
    ),
    Mutant(
        "a lock ends half a minute early",
        "model/lockouts.py",
        "lock.locked_until > now\n",
        "lock.locked_until.timestamp() > now.timestamp() + 30\n",
    ),
    Mutant(
        "a locked account keeps its entry orders",
        "model/lockouts.py",
        "if not is_exit(state, order))",
        "if is_exit(state, order) is None)",
    ),
    Mutant(
        "a flatten is done after its first try",
        "engine/enforcement/enforcer.py",
        "if partial or any(left):",
        "if partial and any(left):",
    ),
    Mutant(
        "a flatten that fails for long is told to nobody",
        "engine/enforcement/enforcer.py",
        "if is_overdue and is_whole:",
        "if is_overdue and not is_whole:",
    ),
    Mutant(
        "a restart forgets the locks",
        "engine/tracked_account.py",
        "with_day_figures(merge(known, state))",
        "with_day_figures(merge(msgspec.structs.replace(known, lockouts={}), state))",
    ),
    Mutant(
        "trades of the day before count",
        "model/account.py",
        "return self.day_began is None or moment >= self.day_began",
        "return self.day_began is None or moment.year >= self.day_began.year",
    ),
    Mutant(
        "blocked symbols may work orders",
        "rules/builtin/symbol_blocks.py",
        "is_handled = order.contract_id in commands or is_exit(state, order)",
        "is_handled = True",
    ),
    Mutant(
        "a voided trade keeps its loss",
        "engine/intake.py",
        "if account.void_trade(trade.id):",
        "if account.void_trade is None:",
    ),
    Mutant(
        "a balance is believed at once",
        "engine/balances.py",
        "is_first = is_answer and not balance.is_settled and not self._has_listed",
        "is_first = not is_answer",
    ),
    Mutant(
        "the peak follows the equity down",
        "model/equity.py",
        "peak = now if peak is None or now > peak else peak",
        "peak = now",
    ),
    Mutant(
        "a payout counts only once the account is flat",
        "model/balance.py",
        "return min(expected, self.other)",
        "return expected",
    ),
    Mutant(
        "fees are no loss",
        "model/equity.py",
        "return state.realized_pnl - state.balance.charges",
        "return state.realized_pnl",
    ),
    Mutant(
        "positions are closed some dollars before that",
        "rules/builtin/maximum_loss.py",
        "if now > floor + buffer:",
        "if now > floor + buffer + 20:",
    ),
    Mutant(
        "positions are closed some dollars later",
        "rules/builtin/maximum_loss.py",
        "if now > floor + buffer:",
        "if now > floor + buffer - 20:",
    ),
    Mutant(
        "near a limit orders may open contracts",
        "rules/reduce_only.py",
        "if opened_by(order, order.remaining, size) and not is_handled:",
        "if False:",
    ),
    Mutant(
        "an account that was near its limit stays reduced",
        "rules/reduce_only.py",
        'return reason if loss >= threshold * LASTS else ""',
        "return reason",
    ),
)


def days_until_found(mutant: Mutant, days: int, seed: int) -> int | None:
    """Return how many days it took to find a mutant; ``None`` if none of them failed."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copy = Path(directory)
        for name in ("riskd", "tests", "trader"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for change in mutant.changes():
            file = copy / "riskd" / change.file
            file.write_text(file.read_text(encoding="utf-8").replace(change.right, change.wrong))
        arguments = ("--days", str(days), "--seed", str(seed), "--jobs", "1", "--shorten", "0")
        done = subprocess.run(
            (sys.executable, "-m", "tests.simulation", *arguments, "--first"),
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            check=False,
        )
    last = done.stdout.splitlines()
    if done.returncode == 1 and last:
        return int(next(line for line in last if " days, " in line).split()[0])
    if done.returncode == 0:
        return None
    raise RuntimeError(f"{mutant.what}: {done.stderr[-2000:]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant each mutant by itself; return 1 if one was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("--days", type=int, default=200, help="the most days for each mutant")
    parser.add_argument("--seed", type=int, default=FIRST_WITH_PARTS, help="the first day's")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cores to use")
    options = parser.parse_args(arguments)
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        play = partial(days_until_found, days=options.days, seed=options.seed)
        for mutant, found in zip(MUTANTS, pool.map(play, MUTANTS), strict=True):
            missed += found is None
            days = "not found" if found is None else f"{found} days"
            print(f"{days:>10}  {mutant.file}: {mutant.what}", flush=True)  # noqa: T201
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
