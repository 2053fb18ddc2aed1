"""Every benchmark, its goals, its file, its comparison and its page: ``python -m tests.benchmarks --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.benchmarks.alone import measure_alone
from tests.benchmarks.catalogue import BENCHMARKS
from tests.benchmarks.document import PAGE, documented
from tests.benchmarks.outcome import Options
from tests.benchmarks.results import Run, new_run, read_run, write_run
from tests.benchmarks.tables import comparison_lines, goal_lines, outcome_lines


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    names = "\n".join(f"  {name:13}{one.summary}" for name, one in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=f"Measure, and hold the figures against their goals.  The benchmarks:\n\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark [default: all]")
    parser.add_argument("--quick", action="store_true", help="smaller loads and fewer rounds")
    parser.add_argument("--rounds", type=int, metavar="N", help="interleaved rounds of each")
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="how long soak, slow, codec and console last"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--compare", type=Path, nargs=2, metavar=("OLD", "NEW"), help="two such files"
    )
    instead.add_argument(
        "--document", type=Path, metavar="FILE", help=f"put such a file into {PAGE.name}"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}, only {', '.join(BENCHMARKS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return 1 if a goal is missed."""
    options = parse(arguments)
    if options.compare:
        show(comparison_lines(*map(read_run, options.compare)))
        return 0
    if options.document:
        PAGE.write_text(documented(PAGE.read_text(), read_run(options.document)))
        return 0
    run = measure(
        options.names or list(BENCHMARKS),
        Options(options.quick, options.rounds, options.seconds),
        options.json,
    )
    show(goal_lines(run))
    return 0 if run.is_met else 1


def measure(names: Iterable[str], options: Options, path: Path | None) -> Run:
    """Measure one benchmark after the other, and print each one's figures."""
    run = new_run()
    show([run.machine])
    for name in names:
        show(["", f"== {name}: {BENCHMARKS[name].summary}", ""])
        run.benchmarks[name] = measure_alone(name, options)
        show(outcome_lines(run.benchmarks[name]))
        if path is not None:
            # After each: the next one may take an hour.
            write_run(path, run)
    show([""])
    return run


def show(lines: Iterable[str]) -> None:
    """Print lines, now."""
    for line in lines:
        print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
