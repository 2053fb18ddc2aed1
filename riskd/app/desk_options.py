"""What the command lines of a desk's two programs have in common."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from riskd.app import launch
from riskd.desk.settings import DeskSettings, load_desk
from riskd.host.errors import UserError

CONFIG_OPTION: Final[Any] = launch.path_option(
    "config", "TOML file that riskctl desk has written: desk.toml.", "c"
)


class DeskOptions(launch.Options):
    """A command line whose program runs on Twisted's asyncio reactor."""

    def postOptions(self) -> None:
        """Choose the reactor, before twistd does."""
        try:
            launch.use_asyncio()
        except UserError as error:
            self.refuse(*error.problems)


def read_settings(config: Path | None) -> DeskSettings:
    """Return the settings in a file.

    :raises UserError: nats-py is missing, or the file is, or it is wrong.
    """
    if find_spec("nats") is None:
        raise UserError("this needs nats-py; install it with pip install 'riskd[desk]'")
    if config is None:
        raise UserError("expected --config with the file desk.toml that riskctl desk has written")
    return load_desk(config)
