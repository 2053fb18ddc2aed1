"""Keep a configuration on its gateway, while a commitment lets another one wait.

Without ``--state`` each gateway has a state directory of its own, so a start on another gateway would find no
commitment.  Each directory remembers the configuration that riskd was started with there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from riskd.host.errors import UserError
from riskd.host.files import UnsafeFileError, create_private, read_regular
from riskd.journal.discovery import state_directories
from riskd.journal.reader import known_accounts
from riskd.model.commitment import commitment_of

CONFIGURATION_NAME: Final = "configuration"
"""The file in a state directory that has the path of the configuration, private."""

_MOST_BYTES: Final = 8192


def note_configuration(directory: Path, configuration: Path) -> None:
    """Remember which configuration riskd is started with.

    :raises OSError: it cannot be written.
    """
    with os.fdopen(create_private(directory / CONFIGURATION_NAME), "wb") as file:
        file.write(os.fsencode(configuration.absolute()))


def check_gateway(root: Path, own: Path, configuration: Path) -> None:
    """Check that no commitment keeps a configuration on another gateway.

    :param root: the directory of all state directories.
    :param own: the state directory of the gateway that the configuration names now.
    :raises UserError: one does; the text says what to do.
    """
    for directory in state_directories(root):
        if directory == own or _configuration(directory) != configuration.absolute():
            continue
        for account in known_accounts(directory):
            commitment = commitment_of(account)
            waits = commitment.waiting("gateway")
            if commitment.terms and not (waits and all(each.is_over for each in waits)):
                raise UserError(
                    f"{configuration}: account {account.account_id} has a [commitment] on another gateway (state "
                    f"directory {directory}), and another gateway waits, too: start riskd with the gateway of before, "
                    "change it while riskd runs (SIGHUP), and restart riskd when riskctl status says so"
                )


def _configuration(directory: Path) -> Path | None:
    with suppress(OSError, UnsafeFileError):
        content = read_regular(directory / CONFIGURATION_NAME, _MOST_BYTES)
        return Path(os.fsdecode(content))
    return None
