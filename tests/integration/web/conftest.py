"""A real server on a real socket: uvicorn in a thread, a SQLite file, embedded workers."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from fastapi import FastAPI

from headrace import Headrace, JobContext, Retry
from headrace.app.keys import make_key
from headrace.core.session import SessionCore
from headrace.core.session_events import SessionEffect, SessionEvent, SessionLimits
from headrace.runtime import live
from headrace.settings import Settings

PROTOCOL = "headrace.v1"


def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """Wait for a condition with a deadline; its value."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.02)
    return found


@dataclass
class Served:
    """A running server and what tests ask of it."""

    hr: Headrace
    app: FastAPI
    port: int
    gates: dict[str, threading.Event]
    loop: asyncio.AbstractEventLoop
    prefix: str = "/headrace"
    keys: dict[str, str] = field(default_factory=dict)
    defined: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}{self.prefix}/ws"

    def call(self, work: Any, timeout_s: float = 10) -> Any:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    def key(self, *scopes: str) -> str:
        """An API key with these scopes, by default all of them; it is known to the server."""
        name = "+".join(scopes) or "all"
        if name not in self.keys:
            chosen = scopes or ("read", "enqueue", "operate")
            _, self.keys[name] = self.call(make_key(self.hr, name, chosen))
            headers = {"Authorization": f"Bearer {self.keys[name]}"}
            until(lambda: httpx.get(f"{self.url}/api/nothing-here", headers=headers).status_code != 401)
        return self.keys[name]

    def client(self, *scopes: str, **options: Any) -> httpx.Client:
        """A client with an API key."""
        headers = {"Authorization": f"Bearer {self.key(*scopes)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, **options)

    def open_gate(self, name: str) -> None:
        """Let the gated jobs go."""
        self.gates.setdefault(name, threading.Event()).set()

    def anonymous(self, **options: Any) -> httpx.Client:
        """A client without a credential."""
        return httpx.Client(base_url=self.url, timeout=20, **options)

    def enqueue(self, task: str, options: dict[str, Any] | None = None, **args: Any) -> dict[str, Any]:
        """Enqueue as a machine would."""
        with self.client() as client:
            answer = client.post("/api/jobs", json={"task": task, "args": args, "options": options or {}})
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def metrics(self) -> str:
        """What Prometheus reads."""
        with self.client("read") as client:
            return client.get("/metrics").raise_for_status().text

    def ended(self, job: str) -> dict[str, Any]:
        """The job, once it has ended."""
        with self.client() as client:

            def look() -> dict[str, Any] | None:
                seen = client.get(f"/api/jobs/{job}").json()
                return seen if seen["state"] in ("succeeded", "failed", "cancelled") else None

            found: dict[str, Any] = until(look)
        return found

    @asynccontextmanager
    async def socket(self, token: str | None = None, **options: Any) -> AsyncGenerator["Feed"]:
        """A WebSocket; with a token, already connected."""
        # Without a bound on unread frames: a client that stops reading never sees the answer to its own close.
        settings = {"subprotocols": [PROTOCOL], "proxy": None, "max_queue": None, **options}
        async with websockets.connect(self.ws_url, **settings) as raw:
            feed = Feed(raw)
            if token is not None:
                await feed.say(type="connect", token=token)
                assert (await feed.hear())["type"] == "connected"
            yield feed

    @asynccontextmanager
    async def slow_socket(self, token: str) -> AsyncGenerator["Feed"]:
        """One with little room: frames that nobody takes from it wait in the server."""
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        narrow.connect(("127.0.0.1", self.port))
        async with self.socket(token, max_queue=1, sock=narrow, compression=None) as feed:
            yield feed


@dataclass
class Feed:
    """A WebSocket that speaks JSON."""

    raw: Any

    async def say(self, **frame: Any) -> None:
        await self.raw.send(json.dumps(frame))

    async def hear(self, timeout_s: float = 10) -> dict[str, Any]:
        async with asyncio.timeout(timeout_s):
            found: dict[str, Any] = json.loads(await self.raw.recv())
        return found

    async def hear_until(self, kind: str) -> list[dict[str, Any]]:
        """Every frame up to the first of this type or update kind."""
        heard = [await self.hear()]
        while kind not in (heard[-1]["type"], heard[-1].get("kind")):
            heard.append(await self.hear())
        return heard

    async def hear_to_the_close(self) -> list[dict[str, Any]]:
        """Every frame that is still to be had of a connection that the server has closed."""
        heard: list[dict[str, Any]] = []
        with suppress(websockets.ConnectionClosed):
            while True:
                heard.append(await self.hear())
        return heard

    async def closed(self, timeout_s: float = 10) -> tuple[int, str]:
        """The close code, when it comes."""
        async with asyncio.timeout(timeout_s):
            await self.raw.wait_closed()
        return self.raw.close_code, self.raw.close_reason


def tasks(hr: Headrace, gates: dict[str, threading.Event]) -> None:
    """What the tests enqueue."""

    @hr.task(public=True)
    async def add(ctx: JobContext, a: int, b: int = 0) -> int:
        return a + b

    @hr.task(public=True)
    async def count(ctx: JobContext, items: int, size: int = 1) -> str:
        for n in range(items):
            await ctx.progress(n, items, "counting")
            await ctx.emit({"n": n, "pad": "x" * size}, key=str(n))
        return "counted"

    @hr.task(public=True, timeout=60)
    async def gated(ctx: JobContext, gate: str, items: int = 0) -> str:
        for n in range(items):
            await ctx.emit(n)
        while not gates.setdefault(gate, threading.Event()).is_set():  # noqa: ASYNC110 - opened from other threads
            await asyncio.sleep(0.02)
        return gate

    @hr.task(public=True, retry=Retry(max_attempts=1))
    async def fails(ctx: JobContext, right: bool = False) -> str:
        if not right:
            raise ValueError("it is wrong")
        return "right"

    @hr.task()
    async def private(ctx: JobContext) -> None:
        """Not to be enqueued over HTTP."""


@contextmanager
def running(app: FastAPI, **config: Any) -> Iterator[tuple[int, asyncio.AbstractEventLoop]]:
    """Serve an app on a free port until the end."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    loops: list[asyncio.AbstractEventLoop] = []
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, **config))

    def serve() -> None:
        async def main() -> None:
            loops.append(asyncio.get_running_loop())
            await server.serve(sockets=[listening])

        asyncio.run(main())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        assert server.started, "the server did not start"
        yield listening.getsockname()[1], loops[0]
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive(), "the server did not stop"


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers; they end with the test."""
    with ExitStack() as stack:

        def start(
            workers: int = 1,
            app: FastAPI | None = None,
            prefix: str | None = None,
            *,
            config: dict[str, Any] | None = None,
            hr: dict[str, Any] | None = None,
            define: Callable[[Headrace], Any] | None = None,
            **settings: Any,
        ) -> Served:
            path = settings.pop("store", f"sqlite:///{tmp_path}/jobs.db")
            made = Headrace(settings=Settings(store=path, grace_s=0, **settings), **(hr or {}))
            gates: dict[str, threading.Event] = {}
            tasks(made, gates)
            defined = None if define is None else define(made)
            host = FastAPI() if app is None else app
            made.install(host, workers=workers, prefix=prefix)
            port, loop = stack.enter_context(running(host, **(config or {})))
            return Served(made, host, port, gates, loop, made.prefix, defined=defined)

        yield start


@pytest.fixture
def served(serve: Serve) -> Served:
    """One server, closed by default, with one embedded worker."""
    return serve()


@dataclass
class Impatient:
    """What the servers of this process do with their WebSockets: a frame may take a second, not ten."""

    cores: list[SessionCore] = field(default_factory=list[SessionCore])
    peak: int = 0  # bytes that waited for one

    async def closed(self, timeout_s: float = 10) -> None:
        """The newest one was closed by its server."""
        async with asyncio.timeout(timeout_s):
            while not self.cores[-1].closed:  # noqa: ASYNC110 - it lives on another loop
                await asyncio.sleep(0.05)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Impatient:
    """From now on."""
    watch = Impatient()

    class Watched(SessionCore):
        def __init__(self, limits: SessionLimits, now: float, age_s: float | None = None) -> None:
            super().__init__(replace(limits, write_s=1.0), now, age_s)
            watch.cores.append(self)

        def handle(self, event: SessionEvent, now: float) -> list[SessionEffect]:
            effects = super().handle(event, now)
            watch.peak = max(watch.peak, self.queued_bytes)
            return effects

    monkeypatch.setattr(live, "SessionCore", Watched)
    return watch


def sse_events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The events of a stream: name, id, data."""
    event: dict[str, Any] = {}
    for line in response.iter_lines():
        if not line:
            if "event" in event:
                yield event
            event = {}
            continue
        name, _, value = line.partition(": ")
        if name in ("event", "id"):
            event[name] = value
        elif name == "data":
            event["data"] = json.loads(value)
