"""What the service manager that started riskd learns of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime

from riskd.engine.service import EngineService
from riskd.host.service_manager import NotifyService, service_manager
from riskd.model.events import DaemonStatus
from riskd.model.safe_text import printable

if TYPE_CHECKING:
    from riskd.recording.recording_engine import RecordingEngine


def notify_services(
    clock: IReactorTime, engine: EngineService | RecordingEngine
) -> tuple[Service, ...]:
    """Return the service that reports to the service manager.

    There is none if no service manager has started riskd.  Started before the engine, it stops after it, so
    that the last status is the engine's last.
    """
    manager = service_manager(os.environ)
    if manager is None:
        return ()
    return (
        NotifyService(
            clock,
            manager,
            is_ready=lambda: engine.is_prepared,
            sentence=lambda: _sentence(engine.standing_status),
        ),
    )


def _sentence(status: DaemonStatus | None) -> str:
    return "" if status is None else printable(f"{status.status.value}: {status.message}")
