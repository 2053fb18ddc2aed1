"""Commands without a daemon: they read the presets, the journal, a recording."""

from __future__ import annotations

import argparse
import concurrent.futures
import functools
import io
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from twisted.logger import globalLogBeginner

from riskd.app.riskctl.finding import say
from riskd.app.riskctl.journal_finding import journal_directory
from riskd.app.riskctl.preset_tables import preset_table, presets_table
from riskd.app.riskctl.replay_tables import (
    compared_days_report,
    compared_days_table,
    enforcement_summary,
    enforcement_table,
)
from riskd.app.riskctl.tables import when
from riskd.config.loader import load_settings
from riskd.config.presets import load_preset, preset_names, report_preset
from riskd.config.settings import Settings
from riskd.config.toml import nearest
from riskd.host.errors import UserError
from riskd.journal.reader import journaled_accounts
from riskd.model.safe_text import json_text, printable
from riskd.recording.compared_days import DayComparison, Played
from riskd.recording.format import Recording, TimerFired
from riskd.recording.replay import replay
from riskd.recording.what_if import what_if
from riskd.rules.interface import IRule
from riskd.rules.plugins import find_rules

RECORDING_SUFFIX: Final = ".jsonl"
"""How the names of the recordings in a directory end."""


def show_presets(options: argparse.Namespace) -> int:
    """Write the presets, or all of one.

    :raises UserError: there is no such preset.
    """
    names = preset_names()
    if options.name is None:
        wanted = names
    elif options.name in names:
        wanted = (options.name,)
    else:
        raise UserError(f"there is no preset {options.name}{nearest(options.name, names)}")
    presets = [load_preset(name, find_rules()) for name in wanted]
    if options.json:
        reports = [report_preset(each) for each in presets]
        sys.stdout.write(
            f"{json_text({'presets': reports} if options.name is None else reports[0])}\n"
        )
        return 0
    for line in presets_table(presets) if options.name is None else preset_table(presets[0]):
        _write(line)
    return 0


def show_journaled(options: argparse.Namespace) -> int:
    """Write what the journal keeps of an account: its log, days, trades or equity.

    :raises UserError: it cannot be read, or has no such account.
    """
    directory = journal_directory(options.state, options.account, say)
    entries = options.read(directory, options.account, options.since)
    if not entries:
        known = journaled_accounts(directory)
        if options.account not in known:
            listed = ", ".join(map(str, sorted(known))) or "none"
            raise UserError(
                f"the journal in {directory} has no account {options.account}; it has {listed}"
            )
    if options.format is not None:
        lines = options.format(entries)
    elif entries or options.since is None:
        lines = options.table(entries)
    else:
        lines = [f"nothing since {when(options.since, datetime.now(UTC))}"]
    for line in lines:
        sys.stdout.write(f"{line}\n")
    return 0


def replay_recording(options: argparse.Namespace) -> int:
    """Replay a recording: its result to standard output, a summary to standard error."""
    # The replayed daemon logs what it logged on the day; those lines are in the daemon's log.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    is_directory = options.file.is_dir()
    if options.config is None and (is_directory or options.json):
        what = f"{options.file} is a directory" if is_directory else "--json"
        raise UserError(f"{what}: expected the other limits, as in --config OTHER.toml")
    if is_directory or options.json or len(options.config or ()) > 1:
        return _compare_days(options)
    play = _replay_exactly if options.config is None else _replay_otherwise
    with _opened(options.file) as recording:
        for summary in play(recording, options):
            sys.stderr.write(f"{printable(summary)}\n")
    return 0


@contextmanager
def _opened(path: Path) -> Iterator[Recording]:
    """Open a recording; at the end, say so if it breaks off.

    :raises UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            recording = Recording(file, str(path))
            yield recording
            if recording.broke_off:
                sys.stderr.write(
                    f"{printable(recording.name)} breaks off after line {recording.broke_off:,}: "
                    "riskd was killed, or is still recording\n"
                )
    except BrokenPipeError:
        # An OSError too, but of standard output and not of the recording.
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _compare_days(options: argparse.Namespace) -> int:
    """Write what each configuration would have enforced first on each day.

    :raises UserError: a configuration has a mistake, or there is no recording.
    """
    catalogue = find_rules()
    settings = [load_settings(path, catalogue) for path in options.config]
    paths = [options.file]
    if options.file.is_dir():
        paths = sorted(path for path in options.file.iterdir() if path.suffix == RECORDING_SUFFIX)
        if not paths:
            raise UserError(f"{options.file} has no recordings, files named *{RECORDING_SUFFIX}")
    comparison, failed = DayComparison(settings, catalogue), False
    for days in _played_days(paths, options.config, settings):
        comparison.merge(days.played)
        failed = failed or not days.is_read
        sys.stderr.write(days.said)
    names = [str(path) for path in options.config]
    if options.json:
        sys.stdout.write(f"{json_text(compared_days_report(comparison.days, names))}\n")
    else:
        for line in compared_days_table(comparison.days, names):
            _write(line)
    return int(failed)


class _Days(NamedTuple):
    """What a recording has shown.

    :ivar said: lines for standard error.
    :ivar is_read: whether all of it could be read.
    """

    played: Played
    said: str
    is_read: bool


def _played_days(
    paths: Sequence[Path], configs: Sequence[Path], settings: Sequence[Settings]
) -> Iterator[_Days]:
    """Yield what each recording has shown, in their order.

    They are played on all cores.  Each begins with what its own header knows of the accounts, so that none depends on
    another.
    """
    cores = min(len(paths), available_cores())
    if cores == 1:
        catalogue = find_rules()
        yield from (_play(path, settings, catalogue) for path in paths)
        return
    # Only here: it takes as long to import as a short command to run.
    import multiprocessing  # noqa: PLC0415

    # Not forked: a copy of a process with threads, or with connections of its own, is no clean one.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(cores, context) as processes:
        yield from processes.map(_play_alone, paths, itertools.repeat(configs))


def _play_alone(path: Path, configs: Sequence[Path]) -> _Days:
    """Play a recording in a process of its own."""
    return _play(path, *_read_configurations(tuple(configs)))


@functools.lru_cache(maxsize=1)
def _read_configurations(
    configs: tuple[Path, ...],
) -> tuple[list[Settings], Mapping[str, IRule]]:
    """Read the configurations, once in each process."""
    catalogue = find_rules()
    return [load_settings(path, catalogue) for path in configs], catalogue


def _play(path: Path, settings: Sequence[Settings], catalogue: Mapping[str, IRule]) -> _Days:
    comparison, is_read = DayComparison(settings, catalogue), True
    # Several processes would mix their lines.
    with redirect_stderr(io.StringIO()) as said:
        try:
            with _opened(path) as recording:
                comparison.add(recording)
        except UserError as error:
            is_read = False
            for problem in error.problems:
                sys.stderr.write(f"riskctl: {printable(problem)}\n")
    return _Days(comparison.played, said.getvalue(), is_read)


def available_cores() -> int:
    """Return on how many cores this process may run."""
    return (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def _replay_exactly(recording: Recording, _options: argparse.Namespace) -> Iterator[str]:
    """Write the broadcasts of the day; yield the summary."""
    messages = timers = broadcasts = 0
    for turn in replay(recording, find_rules()):
        is_timer = isinstance(turn.turn.input, TimerFired)
        timers += is_timer
        messages += not is_timer
        broadcasts += len(turn.broadcasts)
        for message in turn.broadcasts:
            # Byte for byte, whatever the terminal's encoding.
            sys.stdout.buffer.write(message + b"\n")
    yield (
        f"{messages:,} messages and {timers:,} timers replayed: "
        f"{broadcasts:,} broadcasts, all as recorded"
    )


def _replay_otherwise(recording: Recording, options: argparse.Namespace) -> Iterator[str]:
    """Write the enforcement under other limits; yield how it compares to the day."""
    catalogue = find_rules()
    enforced = list(what_if(recording, load_settings(options.config[0], catalogue), catalogue))
    would_be = [(each.account_id, each.action) for each in enforced if not each.is_real]
    for line in enforcement_table(would_be):
        _write(line)
    was = [each.action for each in enforced if each.is_real]
    yield f"with {options.config[0]}: {enforcement_summary(action for _, action in would_be)}"
    dry_run = ", a dry run" if any(action.details.dry_run for action in was) else ""
    yield f"on the day itself{dry_run}: {enforcement_summary(was)}"


def _write(line: str) -> None:
    sys.stdout.write(f"{printable(line)}\n")
