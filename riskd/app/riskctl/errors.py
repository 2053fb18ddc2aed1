"""Failures of ``riskctl`` as sentences for the operator."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.protocols.amp import RemoteAmpError, UnhandledCommand
from twisted.python.failure import Failure

from riskd.control.peer import user_name
from riskd.host.errors import UserError

ANSWER_SECONDS: Final = 5
"""riskd must answer within this time."""


class RiskctlError(UserError):
    """A command failed."""


def explain(failure: Failure, path: Path) -> str:
    """Return a failure between riskctl and riskd as a sentence.

    :param path: the operator's socket.
    :raises BaseException: the failure is a bug in riskctl.
    """
    error = failure.value
    if isinstance(error, ConnectError):
        return _explain_connect_error(error.osError, path)
    if isinstance(error, ConnectionClosed):
        return "riskd closed the connection: it is stopping, or too many operators are connected"
    if isinstance(error, (DeferredTimeoutError, ConnectingCancelledError)):
        return (
            f"riskd did not answer within {ANSWER_SECONDS} seconds; "
            "the command may have been carried out, check with riskctl status"
        )
    if isinstance(error, UnhandledCommand):
        return "this riskd is of another version and does not know the command"
    if isinstance(error, RemoteAmpError):
        return f"riskd could not answer, its log may say why: {error.description}"
    failure.trap(UserError)
    return str(error)


def _explain_connect_error(number: int | None, path: Path) -> str:
    if number in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
        return f"riskd is not running (no answer at {path})"
    if number in (errno.EACCES, errno.EPERM):
        try:
            owner = user_name(path.stat().st_uid)
        except OSError:
            owner = "the user who runs riskd"
        users = owner if owner == "root" else f"{owner} and root"
        return f"permission denied: only {users} may use {path}"
    reason = "no answer" if number is None else os.strerror(number)
    return f"cannot reach riskd at {path}: {reason}"
