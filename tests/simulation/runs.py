"""Days on all cores, a file of those that are done, and what to print of them."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.simulation.day import Act, Plan, Result, plan_of, play
from tests.simulation.shortening import shortened

SHORTENING_SECONDS = 60.0


class Report(msgspec.Struct, frozen=True):
    """A day's result and, if it failed, the shortest trace that was found."""

    result: Result
    trace: tuple[Act, ...] = ()


def play_day(seed: int, seconds: float = SHORTENING_SECONDS, enough: int = 1) -> Report:
    """Play a day; if it fails, look for a shorter trace.

    :param seconds: how long to look for it.
    :param enough: how many acts are few enough.
    """
    plan, trace = plan_of(seed), list[Act]()
    result = play(plan, trace=trace)
    violation = result.violation
    if violation is None:
        return Report(result)

    def fails(acts: Sequence[Act]) -> bool:
        again = play(plan, acts).violation
        return again is not None and again.kind == violation.kind

    return Report(result, tuple(shortened(trace, fails, seconds, enough)))


def play_days(seeds: Iterable[int], jobs: int, seconds: float) -> Iterator[Report]:
    """Play days on so many cores; yield each report when it is there."""
    context = multiprocessing.get_context("spawn")
    with (
        environment_of_days(),
        ProcessPoolExecutor(jobs, mp_context=context, initializer=_collect_seldom) as pool,
    ):
        waiting = set[Future[Report]]()
        for seed in seeds:
            if len(waiting) >= 2 * jobs:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
            waiting.add(pool.submit(play_day, seed, seconds))
        for each in waiting:
            yield each.result()


def _collect_seldom() -> None:
    """Look for garbage seldom: a day holds on to nearly all that it makes, and has the memory for it."""
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


@contextmanager
def environment_of_days() -> Iterator[None]:
    """Let processes that are started in the block play days."""
    # Sets are in the order of their hashes, so a seed shows the same only with the same hashes.
    wanted = {"PYTHONHASHSEED": "0"}
    memory = Path("/dev/shm")  # noqa: S108  # the directories in it are private
    if memory.is_dir():
        wanted["TMPDIR"] = str(memory)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def known_seeds(file: Path) -> list[int]:
    """Return the seeds in a file that has one a line, each with a word on it."""
    lines = (line.split("#")[0].split() for line in file.read_text("utf-8").splitlines())
    return [int(words[0]) for words in lines if words]


def known_results(progress: Path | None) -> dict[int, Result]:
    """Return the results in a file of progress, by seed; none if there is no file."""
    if progress is None or not progress.exists():
        return {}
    lines = progress.read_bytes().splitlines()
    results = (msgspec.json.decode(line, type=Result) for line in lines)
    return {each.seed: each for each in results}


def failure_text(report: Report) -> str:
    """Return what to print of a day that failed."""
    violation = report.result.violation
    assert violation is not None
    lines = [
        f"seed {report.result.seed}: {violation.kind}, after {violation.at_act} acts",
        violation.text,
        f"plan: {plan_text(plan_of(report.result.seed))}",
        f"shortest trace found, {len(report.trace)} acts:",
        *(f"    {act_text(each)}" for each in report.trace),
    ]
    return "\n".join(lines)


def plan_text(plan: Plan) -> str:
    tables = [line for rule in plan.rules for line in rule.split("\n") if line.startswith("[")]
    fields: dict[str, Any] = {**msgspec.structs.asdict(plan), "rules": tables}
    return ", ".join(f"{name} {value}" for name, value in fields.items())


def act_text(act: Act) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in act.arguments.items())
    return f"{act.name}({arguments})"


def summary(results: Sequence[Result], elapsed: float) -> str:
    """Return figures of all days, and how often each thing was drawn.

    :param elapsed: seconds since the start of those days.
    """
    if not results:
        return "no days"
    seconds = sum(each.seconds for each in results)
    counts: Counter[str] = Counter()
    days: Counter[str] = Counter()
    for each in results:
        counts.update(each.counts)
        days.update(each.counts.keys())
    failed = [each.seed for each in results if each.violation is not None]
    lines = [
        (
            f"{len(results)} days, {len(failed)} with a violation{': ' if failed else ''}"
            f"{', '.join(map(str, failed))}"
        ),
        (
            f"{len(results) * 3600 / elapsed:,.0f} days an hour; a day took "
            f"{seconds / len(results):.2f} s of a core"
        ),
        f"fills a day: {least_and_mean([each.fills for each in results])}",
        f"quotes a day: {least_and_mean([each.quotes for each in results])}",
        (
            f"{sum(each.hours for each in results) / 24:,.0f} days of the exchange's clock, "
            f"{sum(each.hours for each in results) * 3600 / seconds:,.0f} times as fast as real"
        ),
        f"{'':48} times   days",
        *(f"{name:48} {counts[name]:>7,} {days[name]:>6,}" for name in sorted(counts)),
    ]
    return "\n".join(lines)


def least_and_mean(numbers: Sequence[int]) -> str:
    return f"at least {min(numbers):,}, {sum(numbers) / len(numbers):,.0f} on average"
