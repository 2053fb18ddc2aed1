"""The program ``riskctl``: runs a command and turns its failures into sentences."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from twisted.internet.task import react
from twisted.python.failure import Failure

from riskd.app.riskctl.arguments import parse
from riskd.app.riskctl.online import run_with_daemon
from riskd.host.errors import UserError
from riskd.model.formatting import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``riskctl``; return its exit status."""
    options = parse(arguments, datetime.now(UTC))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A reason may have characters that this terminal's encoding cannot show.
        sys.stdout.reconfigure(errors="replace")
    status = 0
    try:
        if options.ask is None:
            status = options.run(options)
        else:
            sys.stdout.write(f"{_run_in_reactor(options)}\n")
        sys.stdout.flush()
    except UserError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"riskctl: {printable(line)}\n")
        return 1
    except BrokenPipeError:
        # The reader of a pipe, such as head, has ended.  At exit Python flushes standard output again,
        # which must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _run_in_reactor(options: argparse.Namespace) -> str:
    results: list[str | Failure] = []
    try:
        react(lambda reactor: run_with_daemon(reactor, options).addBoth(results.append), ())
    except SystemExit:
        # react always exits; riskctl has yet to write the result.
        if not results:
            raise UserError("interrupted") from None
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


if __name__ == "__main__":
    sys.exit(main())
