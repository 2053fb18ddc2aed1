"""``trader-alerts``: watch, or send a sample of each alert."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from riskd.host.directories import default_directory
from riskd.host.timing import use_steady_clock
from riskd.journal.discovery import SeveralDaemonsError
from riskd.model.formatting import counted
from trader.alerts.alert import Alert, Kind, sample
from trader.alerts.attachments import attach_reports, no_attachment
from trader.alerts.delivery import Deliveries
from trader.alerts.heartbeat import Heartbeat, fetcher
from trader.alerts.options import Options, parse_options
from trader.alerts.targets import SendError, Target
from trader.alerts.watcher import Watcher
from trader.alerts.words import Words, compose
from trader.model.followed_daemon import FollowedDaemon


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``trader-alerts``; return its exit status."""
    options = parse_options(arguments)
    if options.is_test:
        return send_samples(options.targets, options.settings.words)
    account = options.accounts[0] if options.accounts else None
    followed = FollowedDaemon(account, options.url, options.state, default_directory())
    try:
        followed.locate()
    except SeveralDaemonsError as error:
        _print(f"trader-alerts: {error}", sys.stderr)
        return 2
    from twisted.internet import reactor  # noqa: PLC0415  # importing this module must install none

    use_steady_clock(reactor)
    # Of all else, such as the attempts to connect, only warnings are worth a line.
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    levels.setLogLevelForNamespace("trader.alerts", LogLevel.info)
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [levels])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
    run(options, followed, reactor)
    return 0


def run(options: Options, followed: FollowedDaemon, reactor: Any) -> None:
    """Watch until a signal ends the program; what waits is sent before that."""
    settings = options.settings
    attach = (
        attach_reports(lambda: followed.directory) if settings.attach_report else no_attachment
    )
    deliveries = Deliveries(reactor, options.targets, settings.words, attach)
    watcher = Watcher(options.accounts, followed, settings, deliveries.add, reactor)
    if settings.heartbeat_url:
        fetch = fetcher(reactor, settings.heartbeat_url)
        watcher.on_tick = Heartbeat(reactor, fetch, watcher.trouble).tick
    reactor.callWhenRunning(deliveries.start)
    reactor.callWhenRunning(watcher.start)

    async def end() -> None:
        await watcher.stop()
        await deliveries.finish()

    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(end()))
    reactor.addSystemEventTrigger("after", "shutdown", deliveries.stop)
    reactor.run()


def send_samples(targets: Sequence[Target], words: Words) -> int:
    """Send a sample of each alert to each target; return the exit status."""
    is_failure = False
    for target in targets:
        failed = list[Kind]()
        reason = ""
        for kind in Kind:
            if problem := _problem_of_sample(target, sample(kind, _now()), words):
                failed.append(kind)
                reason = problem
        is_failure = is_failure or bool(failed)
        if not failed:
            _print(f"{target.name}: has {counted(len(Kind), 'sample')}, one of each alert")
        else:
            what = "none" if len(failed) == len(Kind) else f"all but {', '.join(failed)}"
            number = counted(len(Kind), "sample")
            _print(f"{target.name}: got {what} of the {number}: {reason}", sys.stderr)
    return int(is_failure)


def _problem_of_sample(target: Target, alert: Alert, words: Words) -> str:
    """Send a sample; return why that failed, or an empty text."""
    message = compose([alert], words, target.room)
    try:
        # The trader's own words may not say that it is a sample.
        target.send(msgspec.structs.replace(message, title=f"TEST: {message.title}"))
    except SendError as error:
        return str(error)
    return ""


def _now() -> datetime:
    return datetime.now(UTC)


def _print(sentence: str, file: Any = None) -> None:
    print(sentence, file=file or sys.stdout)  # nothing else writes now
