"""The live feed over WebSocket, subprotocol `headrace.v1`: the shell between Starlette and a connection's core."""

import contextlib
import random
from typing import Final

from fastapi import APIRouter, WebSocket
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from headrace.core.errors import HeadraceError
from headrace.core.session_events import Granted, SessionLimits
from headrace.core.wire import CLOSE_CODES, PROTOCOL, CloseCode
from headrace.runtime.live import Host, LiveConnection
from headrace.runtime.reader import Snapshot
from headrace.runtime.views import snapshot_view
from headrace.web.auth import Guard
from headrace.web.live import Live
from headrace.web.problems import Refused

_RNG: Final = random.Random()  # noqa: S311 - spreads reconnects, keeps no secret
REFUSED: Final = 4403  # before the handshake is accepted, a server turns it into a plain 403
GONE_ERRORS: Final = (WebSocketDisconnect, RuntimeError)  # what Starlette raises on a connection that has ended


class _Wire:
    """A WebSocket as a connection's core knows it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> str | bytes | None:
        """The next frame; None: the client is gone."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        return text if text is not None else message.get("bytes", b"")

    async def send(self, text: str) -> None:
        """Send one frame."""
        try:
            await self._socket.send_text(text)
        except GONE_ERRORS as error:
            raise ConnectionResetError("the client is gone") from error

    async def close(self, code: CloseCode, reason: str) -> None:
        """Close the connection; a client that went first is closed already."""
        with contextlib.suppress(*GONE_ERRORS):
            await self._socket.close(code, reason)


def websocket_router(live: Live, guard: Guard) -> APIRouter:
    """`WS /ws`."""
    router = APIRouter()
    hr = live.hr

    @router.websocket("/ws")
    async def feed(socket: WebSocket) -> None:
        """Follow many jobs over one connection."""
        if not await _admitted(socket, guard):
            await socket.close(REFUSED)
            return
        await socket.accept(subprotocol=PROTOCOL)
        wire = _Wire(socket)
        try:
            await hr.reach()
        except HeadraceError:
            usable = False
        else:
            usable = not live.full
        if not usable:
            await wire.close(CloseCode.UNAVAILABLE, CLOSE_CODES[CloseCode.UNAVAILABLE].name)
            return
        base = f"{socket.scope.get('root_path', '').rstrip('/')}{hr.prefix}"

        async def authenticate(token: str | None) -> Granted:
            return await guard.granted(socket, token)

        def render(snapshot: Snapshot) -> str:
            return snapshot_view(snapshot, base)

        host = Host(authenticate, render, hr.settings.pending_s)
        connection = LiveConnection(wire, hr.feed, hr.clock, host, _limits(live), rng=_RNG)
        with live.counted(connection, "websocket"):
            live.closed("websocket", await connection.run())

    return router


async def _admitted(socket: WebSocket, guard: Guard) -> bool:
    """Whether the handshake may go on: our subprotocol, our pages, and no credential in the URL."""
    if PROTOCOL not in socket.scope.get("subprotocols", ()):
        return False
    connection = HTTPConnection(socket.scope)
    try:
        guard.check_live_origin(connection)
        if guard.open:
            await guard.credential(connection)
    except Refused:
        return False
    return not {"token", "access_token", "api_key"} & set(socket.query_params)


def _limits(live: Live) -> SessionLimits:
    settings = live.hr.settings
    return SessionLimits(
        connect_s=settings.connect_timeout_s,
        heartbeat_s=settings.heartbeat_s,
        topics_max=settings.topics_max,
        queued_bytes_max=settings.connection_bytes_max,
    )
