"""The program ``riskctl``: it runs a command, and shows failures as sentences."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from riskd.app.riskctl.arguments import make_parser
from riskd.host.errors import UserError
from riskd.host.working_directory import explain_deleted_directory
from riskd.model.safe_text import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``riskctl``; return its exit status."""
    options = parse(arguments, datetime.now(UTC))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A reason may have characters that this terminal's encoding cannot show.
        sys.stdout.reconfigure(errors="replace")
    try:
        with explain_deleted_directory():
            status: int = options.run(options)
        sys.stdout.flush()
    except UserError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"riskctl: {printable(line)}\n")
        return error.status
    except BrokenPipeError:
        # The reader of a pipe, such as head, has ended.  At exit Python flushes standard output again,
        # which must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def parse(arguments: Sequence[str] | None, now: datetime) -> argparse.Namespace:
    """Return the options of a command line; see :func:`make_parser`.

    A wrong one ends the program with status 2.
    """
    return make_parser(now).parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
