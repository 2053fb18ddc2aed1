"""A guarded account whose settings change."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from riskd.config.settings import Settings
from tests.support.guarded_account import GuardTestCase
from tests.support.practice_daemon import ACCOUNT, MNQ, settings_of

STRICT: Final = "strict_mode = true\n"


class SettingsTestCase(GuardTestCase):
    """``change`` applies new settings: by a reload here, by a restart in subclasses."""

    def change(self, config: str) -> None:
        self.reload(config)

    def reload(self, config: str) -> None:
        self.daemon.engine.reload(settings_of(config))

    def restart(self, config: str) -> None:
        self.restart_with(settings_of(config))

    def restart_with(self, settings: Settings) -> None:
        self.daemon.kill()
        self.daemon.settings = settings
        self.daemon.restart()
        self.daemon.move(MNQ, "21000")

    def unlock(self) -> None:
        self.daemon.engine.accounts[ACCOUNT].unlock("enough", "trader")

    def limits(self) -> dict[str, Any]:
        """The settings in force as the published copy has them, by rule id."""
        return {
            rule_id: msgspec.json.decode(limit.settings)
            for rule_id, limit in self.daemon.state.limits.items()
        }

    def loss_limit(self) -> str | None:
        limit: str | None = self.limits().get("RULE-003", {}).get("loss_limit")
        return limit
