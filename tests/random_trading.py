"""Random trading, faults, clocks, distance, kills and sleep, and what must hold after every step.

``python -m tests.random_trading 500`` plays 500 courses of 50 steps; the test suite plays 50.
"""

from __future__ import annotations

import sys

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.simulation.course import MES, Course
from tests.simulation.habits import OF_EVENTS, OF_FACTS, OF_QUOTES, OF_REQUESTS
from tests.support.exchange_oracle import MAX_TRADES, RULE_SETS
from tests.support.invariants import LADDER_SECONDS, SETTLING_SECONDS
from tests.support.practice_daemon import BUY, ES, MNQ, SELL

FAULTS = st.sampled_from([{}, *OF_REQUESTS, *OF_EVENTS, *OF_FACTS, *OF_QUOTES])

CONTRACTS = st.sampled_from([MNQ] * 6 + [ES] * 4 + [MES])
SIDES = st.sampled_from([BUY, SELL])
OFFSETS = [0.0, 3.0, -3.0, 31.0, -31.0, 60.0, -60.0]
"""How far the machine's clock is ahead of the exchange's, in seconds."""


class RandomTrading(Course, RuleBasedStateMachine):
    begin = initialize(
        rules=st.sampled_from(RULE_SETS),
        latency=st.sampled_from([0.0, 0.0, 0.02, 0.08, 0.3]),
        jitter=st.sampled_from([0.0, 0.1]),
        offset=st.sampled_from(OFFSETS),
    )(Course.begin)
    trade_at_the_market = rule(
        side=SIDES,
        size=st.integers(1, 5),
        contract_id=CONTRACTS,
        stop=st.sampled_from([None, 20, 40]),
    )(Course.trade_at_the_market)
    trade_at_a_limit = rule(
        side=SIDES, size=st.integers(1, 3), steps=st.integers(-20, 20), contract_id=CONTRACTS
    )(Course.trade_at_a_limit)
    protect = rule(contract_id=CONTRACTS, steps=st.integers(5, 40))(Course.protect)
    lose_the_stop = rule(
        side=SIDES, contract_id=st.sampled_from([MNQ, ES]), seconds=st.sampled_from([1, 61])
    )(Course.lose_the_stop)
    cancel = rule(index=st.integers(0, 10))(Course.cancel)
    make_a_round_trip = rule(
        side=SIDES,
        size=st.integers(1, 4),
        steps=st.integers(-30, 30),
        faults=FAULTS,
        contract_id=st.sampled_from([MNQ, MNQ, ES]),
        seconds=st.sampled_from([0, 0, 3, 12]),
    )(Course.make_a_round_trip)
    scalp = rule(
        count=st.sampled_from([3, MAX_TRADES + 1, MAX_TRADES + 1, 8]),
        faults=FAULTS | st.just({"lost_events": 1.0}),
        seconds=st.sampled_from([0, SETTLING_SECONDS + LADDER_SECONDS + 5]),
    )(Course.scalp)
    move = rule(steps=st.integers(-16, 16), contract_id=CONTRACTS)(Course.move)
    move_fast = rule(
        side=SIDES,
        steps=st.sampled_from([-40, -32, -24, -8, 8, 24, 32, 40]),
        contract_id=CONTRACTS,
        seconds=st.sampled_from([0, 0.25, 0.5]),
    )(Course.move_fast)
    wait = rule(
        seconds=st.sampled_from([0.25, 0.5, 1, 5, 20, 61]),
        drift=st.sampled_from([-3, -1, 0, 0, 1, 3]),
    )(Course.wait)
    break_something = rule(faults=FAULTS, more=FAULTS)(Course.break_something)
    restrict = rule(may_trade=st.booleans())(Course.restrict)
    kill = rule(steps=st.sampled_from([0, 0, -12, 12]), seconds=st.sampled_from([0, 0, 10, 100]))(
        Course.kill
    )
    sleep = rule(hours=st.sampled_from([0.001, 0.5, 7, 30, 75]))(Course.sleep)
    set_the_clock = rule(
        seconds=st.sampled_from([-86400.0, -7200.0, -45.0, -2.0, 2.0, 45.0, 7200.0, 86400.0])
    )(Course.set_the_clock)
    correct = rule(
        index=st.integers(0, 10),
        cents=st.none() | st.integers(-20000, 5000),
        is_reported=st.booleans(),
    )(Course.correct)
    settle = rule(is_quick=st.sampled_from([True, True, False]))(Course.settle)
    locks_hold = invariant()(Course.locks_hold)


COURSE = settings(stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))


def main() -> None:
    """Play as many courses as the command line says."""
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    shrinks = "--no-shrinking" not in sys.argv
    phases = [
        each
        for each in Phase
        if shrinks or (each is not Phase.shrink and each is not Phase.explain)
    ]
    chosen = settings(COURSE, max_examples=examples, phases=phases, database=None)
    run_state_machine_as_test(RandomTrading, settings=chosen)
    print(f"{examples} courses, nothing lost")  # noqa: T201


if __name__ == "__main__":
    main()
