"""Readers of feeds over real sockets: they go away and come back, and keep all that they were given."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import httpx
import websockets

from proof.evidence import Followed, Seen

SILENT_S: Final = 8.0
BACK_S: Final = (0.05, 0.4)
GOES_AWAY: Final = 0.04
"""How often a reader breaks off after an update."""
WAITING_MAX: Final = 64
PROTOCOL: Final = websockets.Subprotocol("headrace.v1")


class WrongAnswerError(AssertionError):
    """The live feed refused a reader that has every right."""


class Reader:
    """One reader of one feed, from its first update to its end."""

    def __init__(self, job: dict[str, Any], by: str) -> None:
        """`job` is the answer that acknowledged it: id, token, position."""
        self.id: str = job["id"]
        self.token: str = job["token"]
        self.updates_path: str = job["links"]["updates"]
        self.epoch: str = job["position"].partition(":")[0]
        self.position = f"{self.epoch}:0"
        self.followed = Followed(self.id.replace("-", ""), by=by)

    @property
    def ended(self) -> bool:
        """Whether it has seen the end."""
        seen = self.followed.seen
        return bool(seen) and seen[-1].kind == "end"

    def subscribed(self, told: dict[str, Any]) -> None:
        """The server says where it goes on; a place of a reader that kept its position is never lost."""
        if not told["recovered"]:
            self.followed.places_lost += 1
            self.position = told["position"]

    def update(self, told: dict[str, Any]) -> None:
        """One update."""
        self.position = told["position"]
        offset = int(self.position.partition(":")[2])
        key = told["data"].get("key") if told["kind"] == "item" else None
        self.followed.seen.append(Seen(offset, told["kind"], key))


class Followers:
    """So many readers at a time, half over SSE, half over WebSockets; who comes when all are busy is not followed."""

    def __init__(self, url: str, seed: int) -> None:
        """Nothing is read yet."""
        self._url = url
        self._rng = random.Random(f"followers {seed}")
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING_MAX)
        self.readers: list[Reader] = []

    def offer(self, job: dict[str, Any]) -> None:
        """A job that could be followed."""
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait(job)

    @property
    def busy(self) -> int:
        """How many feeds were begun and have not ended."""
        return self._waiting.qsize() + sum(not reader.ended for reader in self.readers)

    async def sse(self) -> None:
        """One feed after the other over SSE."""
        async with httpx.AsyncClient(base_url=self._url, timeout=SILENT_S, trust_env=False) as http:
            while True:
                reader = self._begin(await self._waiting.get(), "sse")
                while not reader.ended:
                    with suppress(httpx.TransportError):
                        await self._stream(http, reader)
                    await self._away()

    async def _stream(self, http: httpx.AsyncClient, reader: Reader) -> None:
        headers = {"Authorization": f"Bearer {reader.token}", "Last-Event-ID": reader.position}
        async with http.stream("GET", reader.updates_path, headers=headers) as response:
            if response.status_code >= 500 or response.status_code == 429:
                return
            if response.status_code != 200:
                await response.aread()
                raise WrongAnswerError(f"{reader.id} from {reader.position}: {response.status_code} {response.text}")
            reader.followed.connections += 1
            async for told in _events(response):
                if told["type"] == "subscribed":
                    reader.subscribed(told)
                elif told["type"] == "update":
                    reader.update(told)
                    if reader.ended or self._rng.random() < GOES_AWAY:
                        return

    async def websocket(self, feeds: int) -> None:
        """Several feeds over one connection."""
        readers: dict[str, Reader] = {}
        while True:
            with suppress(OSError, websockets.WebSocketException, TimeoutError):
                async with asyncio.timeout(SILENT_S):
                    socket = await websockets.connect(
                        f"{self._url.replace('http', 'ws', 1)}/headrace/ws", subprotocols=[PROTOCOL], proxy=None
                    )
                async with socket:
                    await self._converse(socket, readers, feeds)
            await self._away()

    async def _converse(self, socket: Any, readers: dict[str, Reader], feeds: int) -> None:
        if not readers:
            self._take(readers, await self._waiting.get())
        await _say(socket, type="connect", token=next(iter(readers.values())).token)
        for reader in readers.values():
            await self._subscribe(socket, reader)
        while True:
            while len(readers) < feeds and (not readers or not self._waiting.empty()):
                await self._subscribe(socket, self._take(readers, await self._waiting.get()))
            async with asyncio.timeout(SILENT_S):
                told = json.loads(await socket.recv())
            if not _hear(readers, told) or (told["type"] == "update" and self._rng.random() < GOES_AWAY):
                return

    def _take(self, readers: dict[str, Reader], job: dict[str, Any]) -> Reader:
        reader = self._begin(job, "websocket")
        readers[reader.id] = reader
        return reader

    async def _subscribe(self, socket: Any, reader: Reader) -> None:
        reader.followed.connections += 1
        await _say(
            socket, type="subscribe", id=reader.id, topic=f"job:{reader.id}", position=reader.position,
            token=reader.token,
        )  # fmt: skip

    def _begin(self, job: dict[str, Any], by: str) -> Reader:
        reader = Reader(job, by)
        self.readers.append(reader)
        return reader

    async def _away(self) -> None:
        await asyncio.sleep(self._rng.uniform(*BACK_S))


def _hear(readers: dict[str, Reader], told: dict[str, Any]) -> bool:
    """Give a frame to its reader; False: the server cannot serve it now.

    Raises:
        WrongAnswerError: the server refuses what it should serve.
    """
    if told["type"] == "error":
        if told["problem"]["status"] < 500 and told["problem"]["status"] != 429:
            raise WrongAnswerError(f"{told}")
        return False
    reader = readers.get(told.get("id", ""))
    if reader is not None and told["type"] == "subscribed":
        reader.subscribed(told)
    elif reader is not None and told["type"] == "update":
        reader.update(told)
        if reader.ended:
            del readers[reader.id]
    return True


async def _say(socket: Any, **frame: object) -> None:
    await socket.send(json.dumps(frame))


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The data of each event of a stream that is an object with a type."""
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "data":
            told: dict[str, Any] = json.loads(value)
            if "type" in told:
                yield told
