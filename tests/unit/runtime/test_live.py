"""The shell of a live connection, on a wire that the test holds in its hands."""

import asyncio
import random
import time

from headrace.core.session_events import Grant, Granted, SessionLimits
from headrace.core.wire import CloseCode
from headrace.notifiers.none import NoNotifier
from headrace.runtime.clock import SystemClock
from headrace.runtime.live import Host, LiveConnection
from headrace.runtime.reader import FeedReader
from headrace.stores.memory import MemoryStore


class Held:
    """A wire whose client connects, and takes each frame when the test says so."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[str | None] = asyncio.Queue()
        self.writing: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
        self.closed: CloseCode | None = None

    async def receive(self) -> str | None:
        return await self.frames.get()

    async def send(self, text: str) -> None:
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self.writing.put(taken)
        await taken

    async def close(self, code: CloseCode, reason: str) -> None:
        self.closed = code


async def grant(token: str | None) -> Granted:
    return Granted(0, Grant(reads_all=True))


async def test_a_client_that_read_while_the_process_stood_still_is_not_slow() -> None:
    wire, clock, loop = Held(), SystemClock(), asyncio.get_running_loop()
    store = MemoryStore(wall=clock.wall)
    await store.open()
    feed = FeedReader(store, NoNotifier(), clock)
    host = Host(grant, lambda _: "{}", 0.0)
    connection = LiveConnection(wire, feed, clock, host, SessionLimits(write_s=1.0), rng=random.Random(1))
    running = loop.create_task(connection.run())
    await wire.frames.put('{"type":"connect","token":"t"}')
    taken = await wire.writing.get()
    loop.call_later(0.1, taken.set_result, None)
    time.sleep(1.2)  # noqa: ASYNC251 - the process stands still; both instants pass meanwhile
    for _ in range(10):
        await asyncio.sleep(0)
    assert not running.done()
    await wire.frames.put(None)
    await running
    assert wire.closed is None
