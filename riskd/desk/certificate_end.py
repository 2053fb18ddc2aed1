"""The end of a desk's certificates, and a warning a month before.

``riskctl desk`` makes all of them end with the authority that has signed them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from twisted.application.service import Service
from twisted.logger import Logger

from riskd.host.timing import lasting_loop

WARNED: Final = timedelta(days=30)
"""So long before the end it is told."""

_EVERY_SECONDS: Final = 24 * 3600.0

_log = Logger()


def certificate_end(context: ssl.SSLContext) -> datetime | None:
    """Return when the authority of a desk ends; ``None`` if it does not say."""
    ends = [ssl.cert_time_to_seconds(str(each["notAfter"])) for each in context.get_ca_certs()]
    return datetime.fromtimestamp(min(ends), UTC) if ends else None


def end_words(end: datetime | None, now: datetime) -> str:
    """Return that certificates end soon; empty if they do not."""
    if end is None or end - now > WARNED:
        return ""
    verb = "end" if end > now else "have ended"
    return (
        f"the certificates of the desk {verb} on {end:%b %d %Y}, and with them all its connections: make a new desk with "
        "riskctl desk init, and give everybody their new directory"
    )


class CertificateWatch(Service):
    """Warns once a day while certificates end soon.

    :param end: when they end; ``None`` if that is not known.
    :param report: called with what :func:`end_words` returns.
    """

    def __init__(
        self,
        reactor: Any,
        end: datetime | None,
        now: Callable[[], datetime],
        report: Callable[[str], object] = lambda _words: None,
    ) -> None:
        self._end = end
        self._now = now
        self._report = report
        self._looking = lasting_loop(reactor, self._look, _log)

    def startService(self) -> None:
        """Look now, and then each day."""
        super().startService()
        self._looking.start(_EVERY_SECONDS)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        words = end_words(self._end, self._now())
        if words:
            _log.warn("{words}", words=words)
        self._report(words)
