"""Targets: services that show messages, by their apprise URLs.

Only this module knows apprise.  A URL holds the secrets of its service, and is never shown: a target has a name
instead, its number and its kind.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from riskd.host.errors import UserError
from riskd.host.private_file import PrivateFileError, read_private_file
from riskd.model.safe_text import printable
from trader.alerts.words import Attachment, Message

TARGET_NAME: Final = "alert-targets"
"""The usual name of the file of targets."""

_MAX_BYTES: Final = 64 * 1024
_SEND_SECONDS: Final = 30.0
"""How long one message may take; apprise gives up then."""

_MAX_ROOM: Final = 1900
"""Characters of a message; the least of the widespread services takes 2,000."""

_MAX_REASON: Final = 200
_SHORTEST_SECRET: Final = 4
_SCHEME: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9+.-]{0,19})://")
_HINT: Final = "see https://github.com/caronc/apprise/wiki"


class TargetError(UserError):
    """Targets cannot be used; the text says why, without the secrets in a URL."""


class SendError(Exception):
    """A message was not sent; the text says why, without the secrets in a URL."""


class Target:
    """One target.

    :param place: where the URL stands, for errors, such as ``alert-targets, line 3``.
    :raises TargetError: apprise does not know what the URL means, or is not installed.
    :ivar name: a name that may be shown.
    :ivar room: characters that the body of a message may have.
    """

    def __init__(self, url: str, number: int, place: str) -> None:
        apprise = _import_apprise()
        scheme = _SCHEME.match(url)
        kind = scheme[1].lower() if scheme else ""
        self.name = f"target {number} ({kind})"
        self._secrets = _secrets(url)
        self._types = apprise.NotifyType
        self._format = apprise.NotifyFormat.TEXT
        asset = apprise.AppriseAsset(app_id="riskd", app_desc="riskd alerts", app_url="")
        plugin = apprise.Apprise.instantiate(url, asset=asset) if scheme else None
        if plugin is None:
            raise TargetError(f"{place}: {_problem(kind, _services(apprise))} ({_HINT})")
        self._apprise = apprise.Apprise(asset=asset)
        self._apprise.add(plugin)
        self.room = min(int(plugin.body_maxlen), _MAX_ROOM)

    def send(self, message: Message) -> None:
        """Send a message; block until that is done.

        :raises SendError: the target does not have it.
        """
        try:
            with _files_of(message.attachments) as paths:
                result = self._apprise.notify(
                    title=message.title,
                    body=message.body,
                    notify_type=self._types(message.urgency.value),
                    body_format=self._format,
                    attach=paths or None,
                    timeout=_SEND_SECONDS,
                )
        except Exception as error:  # noqa: BLE001  # a service's module may raise anything
            raise SendError(self._safe(f"{type(error).__name__}: {error}")) from None
        if not result:
            reasons = [entry.message for entry in result.logs()]
            raise SendError(self._safe(reasons[-1]) if reasons else "it was not accepted")

    def _safe(self, text: str) -> str:
        """Return a text of apprise in one line, without parts of the URL."""
        for secret in self._secrets:
            text = text.replace(secret, "...")
        return printable(text.strip())[:_MAX_REASON]


@contextmanager
def _files_of(attachments: Sequence[Attachment]) -> Iterator[list[str]]:
    """Write attachments into private files; yield their paths, and remove them.

    :raises OSError: one cannot be written.
    """
    if not attachments:
        yield []
        return
    with TemporaryDirectory(prefix="riskd-alerts-") as directory:
        paths = [Path(directory, each.name) for each in attachments]
        for path, each in zip(paths, attachments, strict=True):
            path.write_text(each.content, encoding="utf-8")
        yield [str(path) for path in paths]


def _services(apprise: Any) -> set[str]:
    """Return the schemes of all services that apprise knows."""
    details = apprise.Apprise().details(show_disabled=True)
    return {
        scheme
        for each in details["schemas"]
        for scheme in (*(each["protocols"] or ()), *(each["secure_protocols"] or ()))
    }


def _problem(kind: str, services: set[str]) -> str:
    """Return why a URL with the scheme ``kind`` is of no use."""
    if not kind:
        return "not an apprise URL; expected a URL such as ntfys://TOPIC"
    if kind not in services:
        near = get_close_matches(kind, services, n=1)
        also = f"; did you mean {near[0]}://?" if near else ""
        return f"apprise knows no service {kind}://{also}"
    return f"not an apprise URL; expected a {kind}:// URL that is complete"


def _secrets(url: str) -> Sequence[str]:
    """Return the parts of a URL that may be secrets, longest first."""
    parts = re.split(r"[/:@?&=#,]", url.partition("://")[2])
    found = {part for part in parts if len(part) >= _SHORTEST_SECRET}
    return sorted(found, key=len, reverse=True)


def read_targets(path: Path) -> list[Target]:
    """Return the targets of a file: a URL on each line, and comments after ``#``.

    :raises TargetError: it cannot be read, others may read it, or a URL in it is wrong.
    """
    try:
        content = read_private_file(path, "apprise URLs", _MAX_BYTES)
    except PrivateFileError as error:
        raise TargetError(str(error)) from None
    lines = content.decode(errors="replace").splitlines()
    named = [
        (number, text.strip())
        for number, text in enumerate(lines, 1)
        if text.strip() and not text.strip().startswith("#")
    ]
    if not named:
        raise TargetError(f"{path}: has no apprise URL; expected one on each line")
    return make_targets([(url, f"{path}, line {number}") for number, url in named])


def make_targets(urls: Sequence[tuple[str, str]]) -> list[Target]:
    """Return the targets of URLs, each with the place where it stands.

    :raises TargetError: some are wrong; the text has a line for each.
    """
    targets, problems = [], list[str]()
    for number, (url, place) in enumerate(urls, 1):
        try:
            targets.append(Target(url, number, place))
        except TargetError as error:
            problems += error.problems
    if problems:
        raise TargetError(*dict.fromkeys(problems))
    return targets


def _import_apprise() -> Any:
    try:
        import apprise  # noqa: PLC0415  # it takes a second, and is an extra
    except ImportError:
        raise TargetError("apprise is not installed; run: pip install 'riskd[alerts]'") from None
    # It logs URLs; what fails is reported here, without them.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return apprise
