"""`GET /metrics`, over a real socket: closed, parsed, counting what this process does, and bounded."""

import sys
from typing import Any

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from headrace.core.ids import IdMaker
from headrace.core.model import NewJob
from headrace.observers.tally import LABELS_MAX, OTHER
from tests.integration.web.conftest import Serve, Served, until
from tests.integration.web.test_http import problem


def read(served: Served) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(served.metrics())}


def value(served: Served, name: str, **labels: str) -> float:
    """Of one line; 0 where there is none."""
    family = name.removesuffix("_total").removesuffix("_count")
    for sample in read(served)[family].samples:
        if sample.name == name and sample.labels == labels:
            return float(sample.value)
    return 0.0


def test_it_is_closed_and_needs_the_scope_read(served: Served) -> None:
    with served.anonymous() as client:
        problem(client.get("/metrics"), 401, "unauthorized")
        problem(client.get("/metrics", params={"token": served.key("read")}), 400, "token-in-url")
    for scope in ("enqueue", "operate"):
        with served.client(scope) as client:
            problem(client.get("/metrics"), 403, "forbidden")
    job = served.enqueue("add", a=1)
    one = httpx.get(f"{served.url}/metrics", headers={"Authorization": f"Bearer {job['token']}"})
    problem(one, 403, "forbidden")  # the scope is read, but for one job
    with served.client("read") as client:
        answer = client.get("/metrics")
        problem(client.post("/metrics"), 405, "method-not-allowed")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"


def test_without_auth_it_answers_this_machine_alone(serve: Serve) -> None:
    served = serve(auth="off", config={"proxy_headers": False})
    with served.anonymous() as client:
        assert client.get("/metrics").status_code == 200
        problem(client.get("/metrics", headers={"Host": "evil.example"}), 403, "forbidden")


def test_it_counts_what_this_process_enqueues_and_runs(served: Served) -> None:
    assert value(served, "headrace_enqueued_total", task="add") == 0
    for _ in range(3):
        served.ended(served.enqueue("add", a=1)["id"])
    served.ended(served.enqueue("fails", {"queue": "mail"})["id"])
    served.enqueue("add", {"key": "k"}, a=1)
    served.enqueue("add", {"key": "k"}, a=1)
    assert value(served, "headrace_enqueued_total", task="add") == 4
    until(lambda: value(served, "headrace_attempts_total", task="add", outcome="succeeded") == 4)
    assert value(served, "headrace_attempts_total", task="fails", outcome="failed") == 1
    assert value(served, "headrace_attempt_seconds_count", task="add") == 4
    assert value(served, "headrace_wait_seconds_count", queue="mail") == 1
    assert value(served, "headrace_settles_total", result="settled") == 5
    assert value(served, "headrace_exchange_seconds_count") >= 5
    assert value(served, "headrace_workers", role="embedded", state="alive") == 1
    until(lambda: value(served, "headrace_jobs", queue="mail", state="failed") == 1)


def test_holds_and_ages(serve: Serve) -> None:
    served = serve(workers=0)
    with served.client() as client:
        client.post("/api/queues/mail/pause")
    served.enqueue("add", {"queue": "mail"}, a=1)
    until(lambda: value(served, "headrace_queue_oldest_ready_seconds", queue="mail") > 0)
    assert value(served, "headrace_queue_paused", queue="mail") == 1
    assert value(served, "headrace_jobs", queue="mail", state="ready") == 1


async def test_live_connections_and_how_they_end(served: Served) -> None:
    job = served.enqueue("gated", gate="g")
    async with served.socket(job["token"]) as feed:
        await feed.say(type="subscribe", id="s", topic=f"job:{job['id']}")
        assert (await feed.hear())["type"] == "subscribed"
        url, token = f"{served.url}/api/jobs/{job['id']}/updates", {"Authorization": f"Bearer {job['token']}"}
        with httpx.stream("GET", url, headers=token) as stream:
            lines = stream.iter_lines()
            while not next(lines).startswith("event: subscribed"):
                pass
            for transport in ("sse", "websocket"):
                assert value(served, "headrace_live_connections", transport=transport) == 1
            assert value(served, "headrace_followed_feeds") == 1
            served.open_gate("g")
            for _ in lines:
                pass
        await feed.hear_until("end")
    until(lambda: value(served, "headrace_live_closes_total", transport="websocket", reason="gone") == 1)
    until(lambda: value(served, "headrace_live_closes_total", transport="sse", reason="ended") == 1)
    assert value(served, "headrace_live_connections", transport="sse") == 0
    assert value(served, "headrace_followed_feeds") == 0


def test_a_scrape_of_ten_thousand_queues_is_bounded(serve: Serve) -> None:
    served = serve(workers=0)
    ids = IdMaker()
    jobs = [NewJob(ids.make(0.0, n.to_bytes(8)), "add", f"queue-{n:05}", "{}") for n in range(10_000)]
    for start in range(0, len(jobs), 1_000):
        served.call(served.hr.store.enqueue(jobs[start : start + 1_000]), 60)
    body = served.metrics()
    assert len(body) < 300_000
    ready: dict[str, Any] = {
        sample.labels["queue"]: sample.value
        for sample in read(served)["headrace_jobs"].samples
        if sample.labels["state"] == "ready"
    }
    assert len(ready) == LABELS_MAX + 1
    assert ready[OTHER] == 10_000 - LABELS_MAX


def test_without_the_package_it_says_what_to_install(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    served = serve()
    assert served.ended(served.enqueue("add", a=1)["id"])["state"] == "succeeded"
    with served.anonymous() as client:
        problem(client.get("/metrics"), 401, "unauthorized")
    with served.client("read") as client:
        said = problem(client.get("/metrics"), 501, "not-installed")
    assert 'pip install "headrace[metrics]"' in str(said["detail"])
