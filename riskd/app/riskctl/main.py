"""The program ``riskctl``: runs a command and turns its failures into sentences."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from riskd.app.riskctl.arguments import parse
from riskd.host.errors import UserError
from riskd.model.formatting import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``riskctl``; return its exit status."""
    options = parse(arguments, datetime.now(UTC))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A reason may have characters that this terminal's encoding cannot show.
        sys.stdout.reconfigure(errors="replace")
    try:
        status: int = options.run(options)
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


if __name__ == "__main__":
    sys.exit(main())
