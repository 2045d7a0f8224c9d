"""The live feed over real sockets: SSE and WebSocket, resumed, slow, refused, and ended with the server."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.integration.web.conftest import PROTOCOL, Impatient, Serve, Served, sse_events, until


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **more}


def drops_hints(served: Served) -> None:
    """From now on no hint arrives."""
    served.hr.notifier.publish = lambda hints: None  # type: ignore[method-assign]


# --- SSE -------------------------------------------------------------------------------------


def test_sse_from_snapshot_to_204(served: Served) -> None:
    job = served.enqueue("count", items=30)
    url = f"{served.url}/api/jobs/{job['id']}/updates"
    with httpx.stream("GET", url, headers=bearer(job["token"])) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        events = list(sse_events(response))
    first, last = events[0], events[-1]
    assert (first["event"], first["data"]["recovered"]) == ("subscribed", False)
    assert first["data"]["snapshot"]["job"]["id"] == job["id"]
    assert (last["event"], last["data"]["data"]["result"]) == ("end", "counted")
    served.ended(job["id"])
    over = httpx.get(url, headers=bearer(job["token"], **{"Last-Event-ID": last["id"]}))
    assert (over.status_code, over.content) == (204, b"")
    with httpx.stream("GET", url, headers=bearer(job["token"], **{"Last-Event-ID": "nonsense"})) as response:
        again = list(sse_events(response))
    assert again[0]["data"]["recovered"] is False
    assert [item["data"]["n"] for item in again[0]["data"]["snapshot"]["items"]] == list(range(30))
    assert again[-1]["event"] == "end"


def test_sse_resumes_without_gap_or_repeat(served: Served) -> None:
    job = served.enqueue("count", items=40)
    served.ended(job["id"])
    url = f"{served.url}/api/jobs/{job['id']}/updates"
    epoch = job["position"].partition(":")[0]
    last, offsets, ended = f"{epoch}:0", [], False
    while not ended:
        with httpx.stream("GET", url, headers=bearer(job["token"], **{"Last-Event-ID": last})) as response:
            events = sse_events(response)
            assert next(events)["data"]["recovered"] is True
            for _ in range(3):  # a reader that drops after every third update
                event = next(events)
                last = event["id"]
                offsets.append(int(last.partition(":")[2]))
                if event["event"] == "end":
                    ended = True
                    break
    assert offsets == list(range(1, len(offsets) + 1))
    assert len(offsets) >= 40


def test_sse_of_another_job_or_without_a_token_is_refused(served: Served) -> None:
    one, two = served.enqueue("add", a=1), served.enqueue("add", a=1)
    url = f"{served.url}/api/jobs/{two['id']}/updates"
    assert httpx.get(url, headers=bearer(one["token"])).status_code == 403
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, params={"token": two["token"]}).status_code == 400


def test_an_sse_stream_ends_with_its_token(serve: Serve) -> None:
    served = serve(token_ttl_s=3)
    job = served.enqueue("gated", gate="g")
    url = f"{served.url}/api/jobs/{job['id']}/updates"
    with httpx.stream("GET", url, headers=bearer(job["token"]), timeout=10) as response:
        assert response.status_code == 200
        assert [event["event"] for event in sse_events(response)][:1] == ["subscribed"]
    answer = until(lambda: (it := httpx.get(url, headers=bearer(job["token"]), timeout=5)).status_code == 401 and it)
    assert answer.json()["type"].endswith("token-expired")
    served.open_gate("g")


# --- WebSocket -------------------------------------------------------------------------------


async def test_two_readers_see_the_same_to_the_end(served: Served) -> None:
    job = await asyncio.to_thread(lambda: served.enqueue("gated", gate="g", items=5))
    async with served.socket(job["token"]) as one, served.socket(job["token"]) as two:
        for feed in (one, two):
            await feed.say(type="subscribe", id="s", topic=f"job:{job['id']}")
            assert (await feed.hear())["type"] == "subscribed"
        served.open_gate("g")
        ends = [(await feed.hear_until("end"))[-1] for feed in (one, two)]
    assert ends[0] == ends[1]
    assert ends[0]["data"]["result"] == "g"


async def test_a_reader_that_reconnects_at_each_update_sees_each_once(served: Served) -> None:
    job = await asyncio.to_thread(lambda: served.enqueue("count", items=25))
    position = job["position"].partition(":")[0] + ":0"
    seen: list[int] = []
    kind = ""
    while kind != "end":
        async with served.socket(job["token"]) as feed:
            await feed.say(type="subscribe", id="s", topic=f"job:{job['id']}", position=position)
            assert (await feed.hear())["recovered"] is True
            frame = await feed.hear()
            while frame.get("kind") == "progress":
                frame = await feed.hear()
            kind, position = frame["kind"], frame["position"]
            if kind == "item":
                seen.append(frame["data"]["data"]["n"])
    assert seen == list(range(25))


async def test_the_end_arrives_when_every_hint_is_lost(served: Served) -> None:
    drops_hints(served)
    job = await asyncio.to_thread(lambda: served.enqueue("gated", gate="g"))
    async with served.socket(job["token"]) as one:
        await one.say(type="subscribe", id="s", topic=f"job:{job['id']}")
        await one.hear()
        served.open_gate("g")
        await asyncio.to_thread(lambda: served.ended(job["id"]))
        async with served.socket(job["token"]) as two:  # what it reads must not hide the news from the first
            await two.say(type="subscribe", id="s", topic=f"job:{job['id']}")
            await two.hear_until("end")
        assert (await one.hear_until("end"))[-1]["data"]["result"] == "g"


async def test_a_job_is_pending_until_its_commit_is_seen(served: Served, tmp_path: Path) -> None:
    add = next(task for task in served.hr.registry if task.name == "add")
    from headrace.app.task import Task  # noqa: PLC0415

    def inside() -> tuple[Any, Any]:
        session = sqlite3.connect(tmp_path / "jobs.db", check_same_thread=False)
        session.execute("BEGIN IMMEDIATE")
        return session, Task(served.hr, add).options(using=session)

    session, task = await asyncio.to_thread(inside)
    job = await asyncio.to_thread(lambda: task.enqueue_sync(1))
    token = job.token()
    async with served.socket(token) as feed:
        await feed.say(type="subscribe", id="s", topic=f"job:{job.id}")
        assert (await feed.hear())["type"] == "pending"
        await asyncio.to_thread(session.commit)
        heard = await feed.hear_until("end")
        assert heard[0]["type"] == "subscribed"
    session.close()


async def test_what_a_token_does_not_cover(serve: Serve) -> None:
    served = await asyncio.to_thread(lambda: serve(pending_s=0.3, topics_max=3))
    one, two = await asyncio.to_thread(lambda: (served.enqueue("add", a=1), served.enqueue("gated", gate="g")))
    async with served.socket(one["token"]) as feed:
        await feed.say(type="subscribe", id="two", topic=f"job:{two['id']}")
        refused = await feed.hear()
        assert (refused["type"], refused["id"]) == ("error", "two")
        assert refused["problem"]["type"].endswith(":forbidden")
        await feed.say(type="subscribe", id="two", topic=f"job:{two['id']}", token=two["token"])
        assert (await feed.hear())["type"] == "subscribed"
        await feed.say(type="subscribe", id="two", topic=f"job:{two['id']}")
        assert (await feed.hear_until("error"))[-1]["problem"]["type"].endswith(":subscription-exists")
        await feed.say(type="unsubscribe", id="two")
        await feed.say(type="refresh", token=two["token"])
        assert (await feed.hear_until("refreshed"))[-1]["expires_in_ms"] > 800_000
        await feed.say(type="subscribe", id="again", topic=f"job:{two['id']}")
        assert (await feed.hear_until("subscribed"))[-1]["id"] == "again"
    async with served.socket(served.hr.services.signer.for_jobs([uuid.UUID(int=7).bytes])) as feed:
        await feed.say(type="subscribe", id="s", topic=f"job:{uuid.UUID(int=7)}")
        assert [(await feed.hear())["type"] for _ in range(2)] == ["pending", "error"]
    key = await asyncio.to_thread(lambda: served.key("read"))
    async with served.socket(key) as feed:
        for n in range(4):
            await feed.say(type="subscribe", id=str(n), topic=f"job:{two['id']}")
        error = (await feed.hear_until("error"))[-1]
        assert error["problem"]["type"].endswith(":too-many-topics")
    served.open_gate("g")


async def test_what_ends_a_connection(serve: Serve) -> None:
    served = await asyncio.to_thread(lambda: serve(connect_timeout_s=0.3, workers=0, heartbeat_s=0.2))
    job = await asyncio.to_thread(lambda: served.enqueue("add", a=1))
    signer = served.hr.services.signer

    async with served.socket() as feed:
        assert (await feed.closed())[0] == 4407  # says nothing
    async with served.socket() as feed:
        await feed.say(type="connect", token=signer.for_jobs([b"x" * 16], ttl_s=-1))
        assert (await feed.closed())[0] == 4401
    for frames, code in (
        (["{"], 4500),
        ([b"binary"], 4500),
        (['{"type":"subscribe","id":"s","topic":"job:x"}'], 4500),
        (['{"type":"connect","token":"\\ud800"}'], 4500),
        (['{"type":"connect"}'], 4501),
        (['{"type":"connect","token":"wrong"}'], 4501),
        (["x" * 20_000], 4509),
    ):
        async with served.socket() as feed:
            for frame in frames:
                await feed.raw.send(frame)
            assert (await feed.closed())[0] == code, frames
    async with served.socket(job["token"]) as feed:
        assert (await feed.hear())["type"] == "heartbeat"
        for _ in range(400):
            await feed.say(type="unsubscribe", id="x")
        assert (await feed.closed())[0] == 4429


async def test_a_token_that_expires_closes_its_connection(serve: Serve) -> None:
    served = await asyncio.to_thread(lambda: serve(token_ttl_s=2, workers=0))
    job = await asyncio.to_thread(lambda: served.enqueue("add", a=1))
    async with served.socket(job["token"]) as feed:
        assert (await feed.closed())[0] == 4401


@pytest.mark.parametrize(
    "options",
    [{"origin": "https://evil.example"}, {"subprotocols": None}, {"subprotocols": ["other.v1"]}, {"origin": "null"}],
)
async def test_handshakes_that_are_refused(served: Served, options: dict[str, Any]) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with websockets.connect(served.ws_url, proxy=None, **{"subprotocols": [PROTOCOL], **options}):
            pass
    assert refused.value.response.status_code == 403


async def test_origins_and_tokens_in_urls(serve: Serve) -> None:
    served = await asyncio.to_thread(lambda: serve(workers=0, hr={"origins": ["https://app.example"]}))
    for origin in ("https://app.example", f"http://127.0.0.1:{served.port}"):
        async with served.socket(origin=origin):
            pass
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(f"{served.ws_url}?token=x", subprotocols=[PROTOCOL], proxy=None):
            pass


async def test_the_cookie_speaks_for_a_browser(served: Served) -> None:
    job = await asyncio.to_thread(lambda: served.enqueue("add", a=1))
    session = httpx.post(f"{served.url}/api/session", json={"key": served.keys["all"]})  # noqa: ASYNC210 - nothing else runs on this loop yet
    cookie = session.headers["set-cookie"].partition(";")[0]
    async with served.socket(additional_headers={"Cookie": cookie}) as feed:
        await feed.say(type="connect")
        assert (await feed.hear())["type"] == "connected"
        await feed.say(type="subscribe", id="s", topic=f"job:{job['id']}")
        assert (await feed.hear_until("end"))[-1]["data"]["result"] == 1


async def test_a_reader_that_never_reads_is_asked_to_come_back(serve: Serve, impatient: Impatient) -> None:
    served = await asyncio.to_thread(lambda: serve(connection_bytes_max=64 * 1024))
    job = await asyncio.to_thread(lambda: served.enqueue("count", items=400, size=30_000))
    await asyncio.to_thread(lambda: served.ended(job["id"]))
    position = job["position"].partition(":")[0] + ":0"
    async with served.slow_socket(job["token"]) as feed:
        await feed.say(type="subscribe", id="s", topic=f"job:{job['id']}", position=position)
        assert (await feed.hear())["recovered"] is True
        await impatient.closed()
        seen = [0, *(int(each["position"].rpartition(":")[2]) for each in await feed.hear_to_the_close())]
        assert feed.raw.close_code == 4408
    assert seen == list(range(len(seen)))
    assert impatient.peak < 64 * 1024 + 2 * 31_000
    async with served.socket(job["token"]) as feed:
        last = f"{position.partition(':')[0]}:{seen[-1]}"
        await feed.say(type="subscribe", id="s", topic=f"job:{job['id']}", position=last)
        rest = await feed.hear_until("end")
        assert int(rest[1]["position"].rpartition(":")[2]) == seen[-1] + 1
    assert 'headrace_live_closes_total{reason="slow",transport="websocket"} 1.0' in served.metrics()


# --- the server stops ------------------------------------------------------------------------

APP = """
import asyncio
from fastapi import FastAPI
from headrace import Headrace, JobContext

hr = Headrace("sqlite:///jobs.db")

@hr.task(public=True)
async def waits(ctx: JobContext) -> None:
    await asyncio.sleep(600)

app = FastAPI()
hr.install(app)
"""


async def test_sigterm_ends_open_feeds_and_the_process(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    headrace = Path(sys.executable).parent / "headrace"
    for command in (["migrate"], ["keys", "create", "test", "--json"]):
        made = subprocess.run(  # noqa: ASYNC221 - nothing else runs on this loop yet
            [headrace, *command, "--store", "sqlite:///jobs.db"],
            cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    key = json.loads(made.stdout)["key"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}/headrace"
    env = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop yet
            [headrace, "serve", "shop:app", "--port", str(port)], cwd=tmp_path, env=env, stdout=log, stderr=log
        )
    try:

        def alive() -> bool:
            try:
                return httpx.get(f"{base}/health/ready").status_code == 200
            except httpx.TransportError:
                return False

        await asyncio.to_thread(lambda: until(alive, 40))
        job = httpx.post(f"{base}/api/jobs", json={"task": "waits"}, headers=bearer(key)).json()  # noqa: ASYNC210 - nothing else runs on this loop yet
        async with (
            websockets.connect(f"ws{base[4:]}/ws", subprotocols=[PROTOCOL], proxy=None) as feed,
            httpx.AsyncClient(timeout=20) as client,
            client.stream("GET", f"{base}/api/jobs/{job['id']}/updates", headers=bearer(job["token"])) as stream,
        ):
            await feed.send(json.dumps({"type": "connect", "token": job["token"]}))
            assert json.loads(await feed.recv())["type"] == "connected"
            lines = stream.aiter_lines()
            while not (await anext(lines)).startswith("event: subscribed"):
                pass
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                await feed.wait_closed()
                assert feed.close_code == 4400
                async for _ in lines:  # ends whole: a cut stream raises here
                    pass
            assert await asyncio.to_thread(lambda: process.wait(20)) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert "without completing response" not in (tmp_path / "log").read_text()
