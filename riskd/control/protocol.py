"""The messages between ``riskctl`` and riskd: AMP commands whose values are JSON.

A command has at most one argument, ``request``, and one value in its response, ``answer``.
:class:`Json` describes how either is put into an AMP box.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import msgspec
from twisted.protocols.amp import MAX_VALUE_LENGTH, AmpBox, Argument, Command, RemoteAmpError

from riskd.control.reports import AccountReport, FlattenReport, RulesReport, StatusReport
from riskd.host.errors import UserError
from riskd.model.exact_json import encode_json

SOCKET_NAME: Final = "riskd.sock"
"""The file name of the operator's socket in the state directory; only its owner may open it."""

GUARD_NAME: Final = "guard.sock"
"""The file name of the socket for the trader's group, beside it."""

MAX_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103
"""The longest path of a Unix socket.

Source: unix(7), ``sun_path``, without the byte that ends the path.
"""

MAX_LOCK_SECONDS: Final = 366 * 24 * 3600
"""The longest lock that is given as a duration."""

CONFIRM_SECONDS: Final = 4.0
"""How long an answer waits for the disk and the broker; then it says what is not known."""

REFUSED: Final = b"REFUSED"
"""The error code of a request that riskd has refused."""

_UNREADABLE: Final = b"UNREADABLE"
_ANSWER: Final = b"answer"


class ControlSocketError(UserError):
    """The operator's socket cannot be opened."""


class RequestRefusedError(UserError):
    """riskd refused an operator's request."""


class UnreadableAnswerError(UserError):
    """riskd has answered, and the answer is not of its type."""


def check_path(path: Path) -> None:
    """Check the length of a Unix socket's path.

    :raises ControlSocketError: it is too long for the operating system.
    """
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise ControlSocketError(
            f"riskctl cannot reach this riskd: the path {path} is {length} bytes long, and a socket's "
            f"path may have at most {MAX_PATH_BYTES} (choose a shorter directory with --state)"
        )


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's request about one account.

    :ivar account: the broker's account id.
    :ivar reason: the reason for the log and the consoles.
    :ivar until: the end of a lock; without it and ``seconds`` it lasts until an operator unlocks.
    :ivar seconds: how long a lock lasts, in place of ``until``: the two machines' clocks may differ.
    :ivar amount: the firm's figure for a floor, in dollars.
    :ivar is_confirmed: whether that floor may lock the account at once.
    """

    account: int
    reason: str = ""
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    seconds: Annotated[int, msgspec.Meta(gt=0, le=MAX_LOCK_SECONDS)] | None = None
    amount: Decimal | None = None
    is_confirmed: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a command that changes an account.

    :ivar was_locked: whether the account was locked before the command.
    :ivar account: the account after the command.
    :ivar floor_before: its floor before the command; ``None`` where that is unknown.
    :ivar unwritten: why the change is not on the disk; empty if it is.  ``None``: the daemon is an earlier one, which
        does not say.
    :ivar flattened: what was closed and canceled, once the broker has confirmed that all is; ``None`` until then, or if
        nothing was to be.
    :ivar trouble: what is wrong with the daemon, in its words; empty if nothing is.
    """

    was_locked: bool
    account: AccountReport
    floor_before: Decimal | None = None
    unwritten: str | None = None
    flattened: FlattenReport | None = None
    trouble: str = ""


class Json(Argument):
    """A value as JSON, in as many entries of a box as it needs.

    AMP limits an entry to 65,535 bytes, and the status of many accounts is longer.

    :param kind: the type of the value.
    """

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        super().__init__()
        self._decoder = msgspec.json.Decoder(kind)

    def toBox(  # noqa: N802  # AMP's name
        self, name: bytes, strings: AmpBox, objects: dict[str, Any], proto: object
    ) -> None:
        """Put the value into a box."""
        text = encode_json(self.retrieve(objects, name.decode(), proto))
        for number, start in enumerate(range(0, len(text), MAX_VALUE_LENGTH)):
            strings[_entry(name, number)] = text[start : start + MAX_VALUE_LENGTH]

    def fromBox(  # noqa: N802  # AMP's name
        self,
        name: bytes,
        strings: AmpBox,
        objects: dict[str, Any],
        proto: object,  # noqa: ARG002
    ) -> None:
        """Take the value out of a box.

        :raises RemoteAmpError: the value is missing, or is not of its type.
        """
        parts: list[bytes] = []
        while (part := strings.pop(_entry(name, len(parts)), None)) is not None:
            parts.append(part)
        try:
            objects[name.decode()] = self._decoder.decode(b"".join(parts))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            # AMP sends the error of a request to the other side as it is, and does not log it as a bug.  That of an
            # answer refuses nothing: the command may have been carried out.
            code = _UNREADABLE if name == _ANSWER else REFUSED
            raise RemoteAmpError(code, f"the {name.decode()} cannot be read: {error}") from None


def _entry(name: bytes, number: int) -> bytes:
    return b"%s-%d" % (name, number) if number else name


# The class names below are the commands' names on the wire.


class _Command(Command):
    errors: ClassVar = {RequestRefusedError: REFUSED, UnreadableAnswerError: _UNREADABLE}


class _AccountCommand(_Command):
    arguments: ClassVar = [(b"request", Json(Request))]
    response: ClassVar = [(_ANSWER, Json(Outcome))]


class StatusCommand(_Command):
    """Report the daemon and all accounts."""

    response: ClassVar = [(_ANSWER, Json(StatusReport))]


class RulesCommand(_AccountCommand):
    """Report an account's rules and how far it is from their limits."""

    response: ClassVar = [(_ANSWER, Json(RulesReport))]


class UnlockCommand(_AccountCommand):
    """End all locks of an account."""


class WithdrawCommand(_AccountCommand):
    """Withdraw an unlock that waits because of a commitment."""


class LockCommand(_AccountCommand):
    """Flatten an account and lock it."""


class FloorCommand(_AccountCommand):
    """Take the firm's figure for the floor of an account."""


class FlattenCommand(_AccountCommand):
    """Close all positions of an account and cancel its orders."""
