"""WebSocket bytes, made and read by hand (RFC 6455), so that no library is tested against itself."""

from __future__ import annotations

import base64
import hashlib
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

_MASK = b"\x01\x02\x03\x04"


def handshake(
    host: str | None = "localhost:8765",
    path: str = "/",
    *,
    version: int = 13,
    headers: tuple[str, ...] = (),
) -> bytes:
    """Return the bytes of a client's handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        *([f"Host: {host}"] if host is not None else []),
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Sec-WebSocket-Version: {version}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """Return a masked frame, as a client sends it."""
    first = opcode | (0x80 if final else 0)
    length = len(payload)
    if length < 126:
        head = bytes([first, 0x80 | length])
    elif length < 65536:
        head = bytes([first, 0x80 | 126]) + struct.pack("!H", length)
    else:
        head = bytes([first, 0x80 | 127]) + struct.pack("!Q", length)
    return head + _MASK + bytes(byte ^ _MASK[i % 4] for i, byte in enumerate(payload))


def read_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return the opcode and payload of each whole, unmasked, unfragmented frame of a server."""
    frames = []
    while data:
        assert data[0] & 0x80, "a fragment"
        assert not data[1] & 0x80, "a masked frame of a server"
        length, start = data[1], 2
        if length == 126:
            length, start = struct.unpack("!H", data[2:4])[0], 4
        assert length < 126 or start == 4, "a frame of 64 KiB and more"
        frames.append((data[0] & 0x0F, data[start : start + length]))
        data = data[start + length :]
    return frames


def close_code(payload: bytes) -> int:
    """Return the code of a close frame's payload."""
    return int(struct.unpack("!H", payload[:2])[0])


def server_frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """Return an unmasked frame, as a server sends it."""
    first = opcode | (0x80 if final else 0)
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    if len(payload) < 65536:
        return bytes([first, 126]) + struct.pack("!H", len(payload)) + payload
    return bytes([first, 127]) + struct.pack("!Q", len(payload)) + payload


def handshake_answer(request: bytes, *headers: str) -> bytes:
    """Return the response that accepts the handshake ``request``."""
    fields = dict(line.split(": ", 1) for line in request.decode().split("\r\n")[1:-2])
    key = fields["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()  # noqa: S324
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def read_client_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return the opcode and payload of each small masked frame of a client."""
    frames, rest = split_client_frames(data)
    assert not rest, "a part of a frame"
    return frames


def split_client_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the same, and the part of a frame with which the bytes end."""
    frames = []
    while len(data) >= 2:
        assert data[1] & 0x80, "an unmasked frame of a client"
        length = data[1] & 0x7F
        assert length < 126
        end = 6 + length
        if len(data) < end:
            break
        mask, body = data[2:6], data[6:end]
        frames.append((data[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(body))))
        data = data[end:]
    return frames, data
