"""The site of the console's pages: what is answered, and with which headers.

All is below ``/PLACE/``, see :mod:`trader.web.admission`:

- ``?token=TOKEN`` admits the browser and is the page, as is the bare path for an admitted browser.  It is no
  redirection: after a link on another site's page, a browser would not send the new cookie with it.
- ``stream`` is the WebSocket of one tab.
- ``session`` says why a WebSocket was refused, which browsers hide from scripts: 204 all is well, 403 the browser is
  not admitted, 503 there are too many tabs.
- the other names are the files of the page.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qs

from autobahn.twisted.resource import WebSocketResource
from twisted.logger import Logger
from twisted.web.resource import Resource

from riskd.host.bounded_site import BodilessRequest, BoundedSite
from riskd.host.loopback import LoopbackServer
from riskd.host.same_host import SameHostCheck, is_foreign_fetch
from trader.web.admission import Admission
from trader.web.tabs import TabFactory

MAX_CONNECTIONS: Final = 64

HOST_NAME: Final = "localhost"
"""The name in the URL; it is the one that Windows forwards to WSL2."""

_COOKIE: Final = "trader-console-{port}"

_PAGE: Final = "console.html"
_REFUSAL: Final = "refused.html"

_HTML: Final = "text/html; charset=utf-8"

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # For browsers that do not know frame-ancestors.
    "X-Frame-Options": "DENY",
}

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    # Some browsers do not count a WebSocket as 'self'.
    "connect-src 'self' ws://{host}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_log = Logger()


class ConsoleResource(Resource):
    """The resource at every path.

    :param port: names the cookie.
    :param same_host: knows the sockets.
    :param on_admitted: called after a token has been used.
    :param more_files: the files of the page that lie elsewhere, by name.
    """

    isLeaf = True

    def __init__(
        self,
        port: int,
        same_host: SameHostCheck,
        admission: Admission,
        tabs: TabFactory,
        on_admitted: Callable[[], object],
        more_files: Mapping[str, bytes],
    ) -> None:
        super().__init__()
        self._same_host = same_host
        self._admission = admission
        self._tabs = tabs
        self._on_admitted = on_admitted
        self._cookie = _COOKIE.format(port=port)
        self._stream = WebSocketResource(tabs)
        own = files("trader.web").joinpath("page")
        self._files = {
            **{each.name: each.read_bytes() for each in own.iterdir()},
            **more_files,
        }

    def render(self, request: Any) -> Any:
        """Answer a request, or hand its connection over to a tab."""
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        host = (request.getHeader("host") or "").strip().lower()
        problem = self._foreign(request, host)
        if problem is not None:
            return _problem(request, HTTPStatus.FORBIDDEN, problem)
        if request.method != b"GET":
            request.setHeader("Allow", "GET")
            return _problem(request, HTTPStatus.METHOD_NOT_ALLOWED, "")
        request.setHeader("Content-Security-Policy", _POLICY.format(host=host))
        return self._answer(request, f"http://{host}")

    def _answer(self, request: Any, own_origin: str) -> Any:
        place, _slash, name = request.path.decode("latin-1")[1:].partition("/")
        if place != self._admission.place:
            # A page of an earlier run, or an address that was typed.
            return self._refusal(request)
        match name:
            case "":
                return self._page(request)
            case "session":
                return self._session(request)
            case "stream":
                return self._join(request, own_origin)
            case _:
                return self._file(request, name)

    def _foreign(self, request: Any, host: str) -> str | None:
        """Return what shows that a request is not of a page from here."""
        header = self._same_host.foreign_header(host, request.getHeader("origin"))
        if header is not None:
            return f"Foreign {header}."
        if is_foreign_fetch(request):
            return "Sec-Fetch-Site: the page of another site asks."
        return None

    def _page(self, request: Any) -> bytes:
        token = parse_qs(request.uri.partition(b"?")[2]).get(b"token", [b""])[0]
        cookie = self._admission.redeem(token)
        if cookie is not None:
            request.addCookie(
                self._cookie,
                cookie,
                path=f"/{self._admission.place}/",
                httpOnly=True,
                sameSite="Strict",
            )
            self._on_admitted()
        elif not self._is_admitted(request):
            return self._refusal(request)
        return self._html(request, _PAGE)

    def _session(self, request: Any) -> bytes:
        if not self._is_admitted(request):
            return _problem(request, HTTPStatus.FORBIDDEN, "")
        if self._tabs.is_full:
            return _problem(request, HTTPStatus.SERVICE_UNAVAILABLE, "")
        request.setResponseCode(HTTPStatus.NO_CONTENT)
        return b""

    def _join(self, request: Any, own_origin: str) -> Any:
        # Programs that are no browsers have no origin; browsers send one with each WebSocket.
        if request.getHeader("origin") != own_origin:
            return _problem(request, HTTPStatus.FORBIDDEN, "Foreign Origin.")
        if not self._is_admitted(request):
            return _problem(request, HTTPStatus.FORBIDDEN, "This browser is not admitted.")
        if request.getHeader("upgrade") is None:
            return _problem(request, HTTPStatus.UPGRADE_REQUIRED, "This is a WebSocket.")
        return self._stream.render(request)

    def _is_admitted(self, request: Any) -> bool:
        return self._admission.is_admitted(request.getCookie(self._cookie.encode()))

    def _refusal(self, request: Any) -> bytes:
        request.setResponseCode(HTTPStatus.FORBIDDEN)
        return self._html(request, _REFUSAL)

    def _html(self, request: Any, name: str) -> bytes:
        request.setHeader("Content-Type", _HTML)
        return self._files[name]

    def _file(self, request: Any, name: str) -> bytes:
        content_type = _TYPES.get(name.rpartition(".")[2])
        if content_type is None or name not in self._files:
            return _problem(request, HTTPStatus.NOT_FOUND, "There is no such file.")
        request.setHeader("Content-Type", content_type)
        return self._files[name]


def _problem(request: Any, status: HTTPStatus, sentence: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    return f"{sentence}\n".encode() if sentence else b""


class ConsoleServer(LoopbackServer):
    """The site on its sockets, as a service.

    :param sockets: listening; the service takes them over.
    :param on_admitted: called with the URL for the next browser after one has been admitted.
    :param more_files: the files of the page that lie elsewhere, by name.
    """

    def __init__(
        self,
        reactor: Any,
        sockets: list[socket.socket],
        tabs: TabFactory,
        on_admitted: Callable[[str], object],
        more_files: Mapping[str, bytes],
    ) -> None:
        self._admission = Admission()
        self._tabs = tabs
        addresses = [listening.getsockname()[:2] for listening in sockets]
        self._port = addresses[0][1]
        resource = ConsoleResource(
            self._port,
            SameHostCheck(addresses),
            self._admission,
            tabs,
            lambda: on_admitted(self.url),
            more_files,
        )
        site = BoundedSite(resource, reactor, MAX_CONNECTIONS, BodilessRequest)
        super().__init__(reactor, site, sockets, "pages at http://{place}")

    @property
    def url(self) -> str:
        """The URL that admits the next browser."""
        place, token = self._admission.place, self._admission.token
        return f"http://{HOST_NAME}:{self._port}/{place}/?token={token}"

    def stopService(self) -> Any:
        """Stop accepting browsers, then close all tabs."""
        return super().stopService().addCallback(lambda _: self._tabs.close_all())
