"""``desk.toml``: a machine's desk, and how the desk's servers are reached."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from riskd.config.settings import PathText
from riskd.config.toml import TableReader, read_text

_DEFAULT_URL: Final = "ws://localhost:8765"

DeskName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{1,32}$",
        description="a name of up to 32 letters, digits, - and _",
    ),
]
ServerUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^tls://[A-Za-z0-9.\-\[\]:]{1,200}$",
        description='a server such as "tls://desk.example:4222"',
    ),
]


class _Uplink(msgspec.Struct, frozen=True, kw_only=True):
    """``[uplink]``."""

    state: PathText | None = None
    url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^ws://(localhost|127\.0\.0\.1|\[::1\]):\d{1,5}$",
            description='the URL of riskd on this machine, such as "ws://localhost:8765"',
        ),
    ] = _DEFAULT_URL


class _Relay(msgspec.Struct, frozen=True, kw_only=True):
    """``[relay]``."""

    state: PathText | None = None


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file."""

    desk: DeskName
    servers: Annotated[tuple[ServerUrl, ...], msgspec.Meta(min_length=1, max_length=16)]
    certificate: PathText
    key: PathText
    ca: PathText
    instance: DeskName | None = None
    uplink: _Uplink = _Uplink()
    relay: _Relay = _Relay()


class DeskSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of an uplink or a relay.  All paths are absolute.

    :ivar directory: where the file is.
    :ivar instance: the desk's name for the riskd of this machine; ``None`` on the desk's own.
    :ivar servers: the URLs of the desk's servers, any of which will do.
    :ivar certificate: the file with this machine's certificate, by which the servers know it.
    :ivar key: the file with the certificate's key, of mode 0600.
    :ivar ca: the file with the certificate that has signed those of the servers.
    :ivar uplink_state: riskd's state directory; ``None`` finds it.
    :ivar relay_state: the relay's own; ``None`` for the default one.
    :ivar url: riskd's URL.
    """

    directory: Path
    desk: str
    servers: tuple[str, ...]
    certificate: Path
    key: Path
    ca: Path
    instance: str | None = None
    uplink_state: Path | None = None
    relay_state: Path | None = None
    url: str = _DEFAULT_URL


def load_desk(path: Path) -> DeskSettings:
    """Return the settings in a file.

    :raises ConfigError: it cannot be read, or has mistakes.
    """
    reader = TableReader(read_text(path), str(path))
    document = reader.struct(reader.tables, _Document, ())
    reader.check()
    directory = path.absolute().parent

    def beside(name: str | None) -> Path | None:
        return None if name is None else directory / name

    return DeskSettings(
        directory=directory,
        desk=document.desk,
        servers=document.servers,
        certificate=directory / document.certificate,
        key=directory / document.key,
        ca=directory / document.ca,
        instance=document.instance,
        uplink_state=beside(document.uplink.state),
        relay_state=beside(document.relay.state),
        url=document.uplink.url,
    )
