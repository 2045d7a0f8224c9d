"""PostgreSQL is stopped under a running API and comes back: nothing is lost, doubled or out of order."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.sync.client

from servers.postgres import Postgres
from tests.integration.spool.kit import Api, api_on, until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[Postgres]:
    """A server of its own, which the tests stop; the session's says whether there is one at all."""
    del postgres
    with Postgres() as server:
        yield server


@pytest.fixture
def workers(request: pytest.FixtureRequest) -> int:
    """How many run in the API's process."""
    found: int = getattr(request, "param", 1)
    return found


@pytest.fixture
def api(server: Postgres, tmp_path: Path, workers: int) -> Iterator[Api]:
    with api_on(server.create_database(), tmp_path, workers) as api:
        yield api
    if server.pid is None:
        server.start()


def follow(url: str, token: str, heard: list[str]) -> None:
    with httpx.stream("GET", url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                told = json.loads(line.removeprefix("data: "))
                heard.append(told.get("kind", told["type"]))


BODY = {"task": "note", "args": {"number": 0}}


def spooled_in_every_way(api: Api, machine: httpx.Client) -> list[dict[str, Any]]:
    """The answers to seven enqueues."""
    answers = [httpx.post(f"{api.url}/{'sync' if n % 2 else 'notes'}/{n}").json() for n in range(1, 5)]
    single = machine.post("/api/jobs", json=BODY | {"args": {"number": 5}})
    batch = machine.post("/api/jobs/batch", json={"jobs": [BODY | {"args": {"number": n}} for n in (6, 7)]})
    assert (single.status_code, batch.status_code) == (202, 202)
    assert single.headers["location"].endswith(single.json()["id"])
    told = [*answers, single.json(), *batch.json()["jobs"]]
    assert {each["state"] for each in told} == {"spooled"}
    assert all(each["token"] for each in told)
    return told


def what_is_said_meanwhile(api: Api, machine: httpx.Client, job: str) -> None:
    seen = machine.get(f"/api/jobs/{job}").json()
    assert (seen["state"], seen["args"], "spooled" in seen["why"]) == ("spooled", {"number": 5}, True)
    cancel = machine.post(f"/api/jobs/{job}/cancel")
    assert (cancel.status_code, cancel.headers["retry-after"]) == (503, "1")
    assert machine.post(f"/api/jobs/{job}/token").status_code == 200
    once = machine.post("/api/jobs", json=BODY, headers={"Idempotency-Key": "a"})
    assert (once.status_code, once.headers["retry-after"]) == (503, "1")
    health = machine.get("/health/ready").json()
    assert health["status"] == "spooling"
    assert (health["spool"]["files"], health["spool"]["jobs"]) == (1, 7)
    assert httpx.get(f"{api.url}/headrace/health/ready").json() == {"status": "spooling"}
    assert "headrace_spool_jobs 7.0" in machine.get("/metrics").text


def hears_over_websocket(api: Api, told: dict[str, Any], meanwhile: Callable[[], None]) -> None:
    """Subscribed while the job is spooled, it is pending; then it hears all of it."""
    url = f"ws{api.url.removeprefix('http')}/headrace/ws"
    with websockets.sync.client.connect(url, subprotocols=["headrace.v1"], proxy=None) as ws:  # type: ignore[list-item]
        ws.send(json.dumps({"type": "connect", "token": told["token"]}))
        assert json.loads(ws.recv(10))["type"] == "connected"
        ws.send(json.dumps({"type": "subscribe", "id": "1", "topic": f"job:{told['id']}"}))
        assert json.loads(ws.recv(10))["type"] == "pending"
        meanwhile()
        while (frame := json.loads(ws.recv(10))).get("kind") != "end":
            assert frame["type"] in ("subscribed", "update")


def test_an_outage(api: Api, server: Postgres) -> None:
    with api.machine() as machine:
        assert machine.post("/api/jobs", json=BODY).json()["state"] == "ready"
        until(lambda: api.ran == [0])
        server.down("immediate")
        told = spooled_in_every_way(api, machine)
        what_is_said_meanwhile(api, machine, told[4]["id"])
        heard: list[str] = []
        updates = f"{api.url}{told[0]['links']['updates']}"
        reader = threading.Thread(target=follow, args=(updates, told[0]["token"], heard))
        reader.start()

        def meanwhile() -> None:
            time.sleep(2.2)  # longer than HEADRACE_PENDING_S, and than what is known of API keys is fresh
            late = machine.post("/api/jobs", json=BODY | {"args": {"number": 8}})
            assert late.json()["state"] == "spooled"
            assert (api.ran, heard) == ([0], ["pending"])
            server.start()
            until(lambda: len(api.ran) == 9)

        hears_over_websocket(api, told[1], meanwhile)
        reader.join(20)
        assert (heard[:2], heard[-1]) == (["pending", "subscribed"], "end")
        assert sorted(api.ran) == list(range(9))
        metrics = machine.get("/metrics").text
        assert "headrace_spool_jobs 0.0" in metrics
        assert "headrace_spool_drained_total 8.0" in metrics
        assert machine.get("/health/ready").json()["status"] == "ready"
        assert machine.post("/api/jobs", json=BODY | {"args": {"number": 9}}).json()["state"] == "ready"


@pytest.mark.parametrize("workers", [0], indirect=True)
def test_a_process_that_is_killed_while_it_spools(api: Api, server: Postgres) -> None:
    server.down("immediate")
    acknowledged: list[list[int]] = [[] for _ in range(4)]

    def client(which: int) -> None:
        number = which * 100_000
        with httpx.Client(base_url=api.url) as mine:
            while True:
                try:
                    answer = mine.post(f"/notes/{number}")
                except httpx.TransportError:
                    return
                assert answer.json()["state"] == "spooled"
                acknowledged[which].append(number)
                number += 1

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, which) for which in range(4)]
        until(lambda: sum(map(len, acknowledged)) > 150)
        api.stop(signal.SIGKILL)
        for each in clients:
            each.result(20)
    api.start()  # while the store is still away
    answer = httpx.post(f"{api.url}/notes/999999").json()
    assert (answer["state"], answer["token"]) == ("spooled", None)  # the signing secret is in the store
    server.start()
    spool = Path(api.environment["HEADRACE_SPOOL"])
    until(lambda: not list(spool.iterdir()))
    database = api.environment["HEADRACE_STORE"].rpartition("/")[2]
    rows = server.sql("SELECT args FROM headrace_job ORDER BY seq", database).splitlines()
    stored = [json.loads(row)["number"] for row in rows]
    wanted = {number for each in acknowledged for number in each} | {999_999}
    assert wanted <= set(stored)
    assert len(stored) == len(set(stored))
    assert len(set(stored) - wanted) <= 4  # whose answers the kill took
    for each in acknowledged:
        assert [number for number in stored if number in set(each)] == each
