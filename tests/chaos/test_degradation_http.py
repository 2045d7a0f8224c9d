"""The rows of the degradation table that are about HTTP: enqueues, browsers, and a deploy; see test_degradation.py."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from degradation_app import Tasks
from degradation_kit import is_of, worker_on
from kit import lines_of

from headrace import Headrace, JobContext, JobState
from headrace.core.ladder import Ladder, Level
from headrace.runtime import pressure
from headrace.settings import Settings
from servers.postgres import Postgres
from tests.integration.spool.kit import Api, api_on
from tests.integration.web.conftest import Feed, Impatient, Serve, Served, until

pytestmark = pytest.mark.timeout(120)
AT_ONCE_S = 3.0  # on a busy machine


# --- the store is away -----------------------------------------------------------------------


@pytest.fixture
def server(postgres: Postgres) -> Iterator[Postgres]:
    """A server of its own, which the test stops; the session's says whether there is one at all."""
    del postgres
    with Postgres() as server:
        yield server


def noted(api: Api, number: int) -> httpx.Response:
    return httpx.post(f"{api.url}/notes/{number}", timeout=20)


def spooled(api: Api, number: int) -> str:
    answer = noted(api, number)
    assert (answer.status_code, answer.json()["state"]) == (202, "spooled")
    found: str = answer.json()["id"]
    return found


def joined_is_never_spooled(store: str, directory: Path, connection: "psycopg.Connection[Any]") -> None:
    """In a process that spools its other enqueues."""
    hr = Headrace(settings=Settings(store=store, spool=str(directory)))
    quick = Tasks(hr).quick
    with pytest.raises(Exception, match=r"cannot be reached|connection"):
        quick.options(using=connection).enqueue_sync(100)
    assert hr.services.spooling.spool is not None
    assert hr.services.spooling.spool.idle
    assert quick.enqueue_sync(101).state == "spooled"
    hr.close_sync()


def test_store_down_enqueue(server: Postgres, tmp_path: Path) -> None:
    store = server.create_database()
    (tmp_path / "plain").mkdir()
    with (
        api_on(store, tmp_path, HEADRACE_THREADS="1") as api,  # one thread: they run in the order of the store
        api_on(store, tmp_path / "plain", workers=0, HEADRACE_SPOOL="") as plain,
        psycopg.connect(store) as connection,
        api.machine() as machine,
    ):
        assert machine.get("/api/jobs").status_code == 200  # its key is known from now on
        assert noted(api, 0).json()["state"] == "ready"
        until(lambda: api.ran == [0])
        server.down("immediate")
        began = time.monotonic()
        jobs = [spooled(api, number) for number in range(1, 6)]
        assert time.monotonic() - began < AT_ONCE_S
        asked_at = time.time()
        body = {"task": "note", "args": {"number": 99}, "options": {"delay": 3600}}
        late = machine.post("/api/jobs", json=body)
        assert (late.status_code, late.json()["state"]) == (202, "spooled")
        for _ in range(2):
            began = time.monotonic()
            refused = noted(plain, 50)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert time.monotonic() - began < AT_ONCE_S
        joined_is_never_spooled(store, tmp_path / "mine", connection)
        time.sleep(1)
        server.start()
        jobs += [noted(api, number).json()["id"] for number in range(6, 9)]  # behind what is spooled, if some is
        until(lambda: len(api.ran) >= 9)
        assert api.ran == list(range(9))
        until(lambda: all(machine.get(f"/api/jobs/{job}").json()["state"] == "succeeded" for job in jobs))
        due = machine.get(f"/api/jobs/{late.json()['id']}").json()["due_at"]
        assert abs(datetime.fromisoformat(due).timestamp() - asked_at - 3600) < 1
        assert api.ran == list(range(9)), "each of them once"
        left = server.sql("SELECT count(*) FROM headrace_job", store.rpartition("/")[2])
        assert left == "1", "the late one; what was refused is nowhere"


# --- more than a queue takes -----------------------------------------------------------------


def ends(served: Served, jobs: list[str]) -> Counter[tuple[JobState, int]]:
    """How many are in which state, after how many attempts."""
    records = served.call(served.hr.store.get([UUID(job).bytes for job in jobs]))
    return Counter((record.state, record.attempt) for record in records)


def slow(hr: Headrace) -> None:
    hr.queue("busy", age_target=1, interval=0.2)

    @hr.task(public=True, queue="busy")
    async def takes(ctx: JobContext, seconds: float) -> None:
        await asyncio.sleep(seconds)


def test_overload(serve: Serve, postgres_url: str) -> None:
    served = serve(workers=1, store=postgres_url, concurrency=1, define=slow)
    body: dict[str, Any] = {"task": "takes", "args": {"seconds": 0.05}}
    urgent = body | {"options": {"priority": 9}}
    with served.client() as client:
        batch = client.post("/api/jobs/batch", json={"jobs": [body] * 80}).json()["jobs"]
        accepted: list[str] = [each["id"] for each in batch]

        def asked(what: dict[str, Any]) -> httpx.Response:
            answer = client.post("/api/jobs", json=what)
            if answer.status_code == 202:
                accepted.append(answer.json()["id"])
            return answer

        def shed() -> httpx.Response | None:
            assert asked(urgent).status_code == 202
            low = asked(body)
            return low if low.status_code == 429 else None

        refused = until(shed, 10)
        assert refused.json()["type"] == "urn:headrace:problem:shed"
        assert 1 <= int(refused.headers["retry-after"]) <= 60  # by the pace that was seen: slow on a busy machine
        assert {asked(urgent).status_code for _ in range(5)} == {202}
        until(lambda: asked(body).status_code == 202, 60)  # nobody has done anything about it
        until(lambda: ends(served, accepted) == {(JobState.SUCCEEDED, 1): len(accepted)}, 60)  # what was let in is done
        assert {asked(body).status_code for _ in range(5)} == {202}


# --- a browser that does not read ------------------------------------------------------------


async def test_a_slow_browser(serve: Serve, postgres_url: str, impatient: Impatient) -> None:
    served = await asyncio.to_thread(lambda: serve(store=postgres_url, connection_bytes_max=64 * 1024))
    job = await asyncio.to_thread(lambda: served.enqueue("count", items=400, size=30_000))
    topic, start = f"job:{job['id']}", f"{job['position'].partition(':')[0]}:0"
    async with served.slow_socket(job["token"]) as feed:
        await feed.say(type="subscribe", id="s", topic=topic, position=start)
        assert (await feed.hear())["recovered"] is True
        await impatient.closed()
        heard = await feed.hear_to_the_close()
        assert feed.raw.close_code == 4408
    async with served.socket(job["token"]) as feed:
        await feed.say(type="subscribe", id="s", topic=topic, position=heard[-1]["position"])
        resumed, *rest = await feed.hear_until("end")
        assert resumed["recovered"] is True
    heard += rest
    offsets = [int(each["position"].rpartition(":")[2]) for each in heard if each["kind"] != "progress"]
    assert offsets == list(range(1, len(offsets) + 1)), "no gap, in order, none twice"
    assert [each["data"]["data"]["n"] for each in heard if each["kind"] == "item"] == list(range(400))
    progress = [each["data"]["done"] for each in heard if each["kind"] == "progress"]
    assert progress == sorted(progress)
    assert len(progress) < 200, "of 400, the latest that there was room for"
    assert impatient.peak < 64 * 1024 + 2 * 31_000


# --- an API process that cannot keep up ------------------------------------------------------

SOON = Ladder((Level("sparing", 0.2, 0.05, rise=0.5, fall=1), Level("closed", 1, 0.2, rise=1, fall=1)))


@contextmanager
def busy(served: Served, bite_s: float) -> Iterator[None]:
    """Its event loop has so much to do in each turn."""
    done = False

    async def work() -> None:
        while not done:
            time.sleep(bite_s)  # noqa: ASYNC251 - what a careless endpoint does
            await asyncio.sleep(0.02)

    working = asyncio.run_coroutine_threadsafe(work(), served.loop)
    try:
        yield
    finally:
        done = True
        working.result(10)


def level(served: Served) -> int:
    return served.hr.feed.pressure.level


def asked_for_updates(served: Served, job: str) -> httpx.Response:
    """The head of the answer."""
    with served.client() as client, client.stream("GET", f"/api/jobs/{job}/updates") as answer:
        return answer


async def test_api_process_that_cannot_keep_up(
    serve: Serve, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pressure, "LADDER", SOON)
    served = await asyncio.to_thread(lambda: serve(workers=0, store=postgres_url, define=Tasks))
    key = await asyncio.to_thread(served.key)
    came: list[tuple[float, int]] = []

    async def read(feed: Feed, job: str) -> None:
        await feed.say(type="subscribe", id="s", topic=f"job:{job}", position=f"{served.hr.store.epoch}:0")
        kind = None
        while kind != "end":
            frame = await feed.hear(20)
            kind = frame.get("kind")
            came.append((time.monotonic(), int(frame["position"].rpartition(":")[2])))

    env = {"HEADRACE_STORE": postgres_url, "HEADRACE_GRACE_S": "1"}
    with worker_on(tmp_path, **env):
        async with served.socket(key) as feed:
            job = str((await asyncio.to_thread(lambda: served.call(served.defined.ticks.enqueue(300)))).id)
            reading = asyncio.create_task(read(feed, job))
            with busy(served, 0.6):
                await asyncio.to_thread(until, lambda: level(served) == 1, 10)
                began = time.monotonic()

                def gaps() -> list[float]:
                    """Between what came together, and what came next."""
                    found = [later - before for (before, _), (later, _) in pairwise(came) if before > began]
                    return [gap for gap in found if gap > 0.4]

                await asyncio.to_thread(until, lambda: len(gaps()) >= 3, 15)
                assert min(gaps()) > 0.9, "once a second, not after each long turn"
            with busy(served, 1.6):
                await asyncio.to_thread(until, lambda: level(served) == 2, 10)
                assert (await asyncio.to_thread(asked_for_updates, served, job)).status_code == 503
                async with served.socket() as late:
                    assert (await late.closed())[0] == 4430
                assert (await asyncio.to_thread(shown, served, job))["id"] == job, "a plain request is answered"
            await asyncio.to_thread(until, lambda: level(served) == 0, 20)
            async with served.socket(key):
                pass
            await reading
    assert [offset for _, offset in came[1:]] == list(range(1, len(came))), "in order, without a gap"


# --- a deploy --------------------------------------------------------------------------------


def shown(served: Served, job: str) -> dict[str, Any]:
    """What GET says about it."""
    with served.client() as client:
        found: dict[str, Any] = client.get(f"/api/jobs/{job}").json()
    return found


def test_deploy_with_old_and_new_workers(serve: Serve, postgres_url: str, tmp_path: Path) -> None:
    served = serve(workers=0, store=postgres_url, define=Tasks)
    env = {"HEADRACE_STORE": postgres_url, "HEADRACE_GRACE_S": "1"}
    with worker_on(tmp_path, **env, RELEASE="old") as old:
        known = served.call(served.defined.quick.enqueue(1), 30)
        assert served.ended(str(known.id))["attempt"] == 1
        jobs = [str(served.call(served.defined.fresh.enqueue(number)).id) for number in range(20)]
        view = shown(served, jobs[0])
        assert (view["state"], [hold["kind"] for hold in view["holds"]]) == ("ready", ["unknown-task"])
        assert "no running worker knows the task 'fresh'" in view["why"]
        later = served.call(served.defined.quick.enqueue(2))
        assert served.ended(str(later.id))["state"] == "succeeded", "they are not in its way"
        assert ends(served, jobs) == {(JobState.READY, 0): 20}
        with worker_on(tmp_path, **env, RELEASE="next") as new:
            until(lambda: ends(served, jobs) == {(JobState.SUCCEEDED, 1): 20})
            lines = lines_of(tmp_path / "log", "fresh")
            assert len(lines) == 20
            assert all(is_of(new, line) and not is_of(old, line) for line in lines)
