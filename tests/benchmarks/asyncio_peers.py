"""Other libraries on asyncio, each broadcasting as its documentation shows, uncompressed."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from tests.benchmarks.workload import BACKLOG, Measured, Progress, say, text


class AsyncioPeer:
    """A server on asyncio.

    :ivar clients: the connected clients.
    :ivar codes: how many clients were closed with each code; not counted here.
    """

    def __init__(self) -> None:
        self.clients: set[Any] = set()
        self.codes: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return len(self.clients)

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        return asyncio.sleep(seconds)

    async def listen(self) -> int:
        """Accept clients; return the port."""
        raise NotImplementedError

    async def emit(self, stamps: Sequence[int]) -> None:
        raise NotImplementedError


class Websockets(AsyncioPeer):
    """``websockets.broadcast``."""

    async def listen(self) -> int:
        from websockets.asyncio.server import serve  # noqa: PLC0415

        self._server = await serve(self._meet, "127.0.0.1", 0, compression=None, backlog=BACKLOG)
        return _port(self._server.sockets)

    async def _meet(self, client: Any) -> None:
        self.clients.add(client)
        try:
            await client.wait_closed()
        finally:
            self.clients.discard(client)

    async def emit(self, stamps: Sequence[int]) -> None:
        from websockets.asyncio.server import broadcast  # noqa: PLC0415

        for stamp in stamps:
            broadcast(self.clients, text(stamp).decode())


class Picows(AsyncioPeer):
    """``picows``, whose protocol is compiled."""

    async def listen(self) -> int:
        from picows import WSListener, WSMsgType, ws_create_server  # noqa: PLC0415

        clients = self.clients
        self._kind = WSMsgType.TEXT

        class Listener(WSListener):
            def on_ws_connected(self, transport: Any) -> None:
                clients.add(transport)

            def on_ws_disconnected(self, transport: Any) -> None:
                clients.discard(transport)

        self._server = await ws_create_server(
            lambda _request: Listener(), "127.0.0.1", 0, backlog=BACKLOG
        )
        return _port(self._server.sockets)

    async def emit(self, stamps: Sequence[int]) -> None:
        for stamp in stamps:
            message = text(stamp)
            for client in self.clients:
                client.send(self._kind, message)


class Aiohttp(AsyncioPeer):
    """``aiohttp``, whose sends must be awaited."""

    async def listen(self) -> int:
        from aiohttp import web  # noqa: PLC0415

        app = web.Application()
        app.router.add_get("/", self._meet)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG)
        await site.start()
        self._runner = runner
        return int(runner.addresses[0][1])

    async def _meet(self, request: Any) -> Any:
        from aiohttp import web  # noqa: PLC0415

        client = web.WebSocketResponse(compress=False)
        await client.prepare(request)
        self.clients.add(client)
        try:
            async for _message in client:
                pass
        finally:
            self.clients.discard(client)
        return client

    async def emit(self, stamps: Sequence[int]) -> None:
        for stamp in stamps:
            message = text(stamp).decode()
            for client in tuple(self.clients):
                await client.send_str(message)


def _port(sockets: Any) -> int:
    return int(next(iter(sockets)).getsockname()[1])


def serve(make: Callable[[], AsyncioPeer], progress: Progress) -> None:
    """Serve until standard input ends."""

    async def run() -> None:
        peer, ended = make(), asyncio.Event()
        measured = Measured(peer, progress)
        under_way: set[asyncio.Task[None]] = set()

        def asked() -> None:
            line = sys.stdin.buffer.readline()
            if not line:
                ended.set()
                return
            task = asyncio.ensure_future(_answer(measured, line))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

        say(port=await peer.listen())
        asyncio.get_running_loop().add_reader(0, asked)
        await ended.wait()

    asyncio.run(run())


async def _answer(measured: Measured, line: bytes) -> None:
    sys.stdout.buffer.write(await measured.answer(line) + b"\n")
    sys.stdout.buffer.flush()
