"""Overload over real HTTP: low priority is refused first, told when to come back, and let in again by itself."""

import http.client
import time
from typing import Any

import httpx
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

from headrace import Full, Headrace, Job, JobCancelled, Rejected
from tests.integration.web.conftest import Serve, Served, until


def post(client: httpx.Client, task: str = "add", **options: Any) -> httpx.Response:
    args = {"add": {"a": 1}, "gated": {"gate": "work"}}[task]
    return client.post("/api/jobs", json={"task": task, "args": args, "options": {"queue": "billing", **options}})


def test_low_priority_is_refused_first_and_comes_back_by_itself(serve: Serve) -> None:
    served = serve(workers=0)
    served.hr.queue("billing", age_target=1, interval=0.2)
    with served.client() as client:
        oldest = post(client)
        assert oldest.status_code == 202

        def refused() -> httpx.Response | None:
            high, low = post(client, priority=9), post(client)
            assert high.status_code == 202, high.text
            return low if low.status_code == 429 else None

        answer = until(refused, 10)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:headrace:problem:shed"
        assert answer.json()["detail"] == "queue 'billing' is overloaded: a job of priority 0 would come too late"
        assert 1 <= int(answer.headers["retry-after"]) <= 20
        assert answer.headers["cache-control"] == "no-store"
        assert post(client, queue="mail").status_code == 202  # another queue, that nobody declared
        served.call(work_off(served.hr), 20)
        until(lambda: post(client).status_code == 202, 10)
        shown = served.metrics()
    assert 'headrace_shed_total{queue="billing",reason="age"}' in shown
    assert 'headrace_shed_total{queue="billing",reason="depth"} 0.0' in shown


async def work_off(hr: Headrace) -> None:
    """A worker comes and does all that waits."""
    async with hr.embedded(1):
        for job in await hr.jobs(queue="billing", state="ready"):
            await job.result(timeout=15)


def test_a_full_queue_says_what_is_left_and_when_to_come_again(serve: Serve) -> None:
    served = serve(workers=0)
    served.hr.queue("billing", depth_max=3)
    with served.client() as client:
        first = post(client)
        assert (first.status_code, first.headers["ratelimit-policy"]) == (202, '"billing";q=3')
        assert first.headers["ratelimit"] == '"billing";r=2'
        body = {"task": "add", "args": {"a": 1}, "options": {"queue": "billing"}}
        assert client.post("/api/jobs/batch", json={"jobs": [body] * 3}).status_code == 429
        batch = client.post("/api/jobs/batch", json={"jobs": [body] * 2})
        assert (batch.status_code, batch.headers["ratelimit"]) == (202, '"billing";r=0')
        key = {"Idempotency-Key": "once"}
        answer = client.post("/api/jobs", json=body, headers=key)
        assert answer.status_code == 429
        assert answer.json()["type"] == "urn:headrace:problem:full"
        assert answer.json()["detail"] == "queue 'billing' is full: at most 3 jobs may wait in it"
        assert (answer.headers["retry-after"], answer.headers["ratelimit"]) == ("2", '"billing";r=0')
        assert "ratelimit" not in post(client, queue="mail").headers
        job = client.get("/api/jobs", params={"queue": "billing"}).json()["jobs"][0]["id"]
        client.post(f"/api/jobs/{job}/cancel")
        time.sleep(0.15)  # figures that are older than a tenth of a second refuse nobody
        assert client.post("/api/jobs", json=body, headers=key).status_code == 202


def endpoints(app: FastAPI, hr: Headrace) -> None:
    @app.post("/orders")
    async def order() -> Job[Any]:
        job, _ = await hr.enqueue_raw("add", {"a": 1}, {"queue": "billing é"})
        return job

    @app.post("/broken")
    async def broken() -> None:
        raise Rejected("a breaker is open, says /etc/secret", retry_in=6.2)


def test_the_hosts_own_endpoints_answer_the_same(serve: Serve) -> None:
    app = FastAPI()
    served = serve(app=app, workers=0)
    endpoints(app, served.hr)
    served.hr.queue("billing é", depth_max=1)
    host = f"http://127.0.0.1:{served.port}"
    assert httpx.post(f"{host}/orders").status_code == 200
    answer = httpx.post(f"{host}/orders")
    assert (answer.status_code, answer.headers["ratelimit"]) == (429, '"billing %C3%A9";r=0')
    assert answer.json() == {
        "type": "urn:headrace:problem:full",
        "title": "A bound was reached",
        "status": 429,
        "detail": "A bound was reached",
    }
    broken = httpx.post(f"{host}/broken")
    assert (broken.status_code, broken.headers["retry-after"]) == (503, "7")
    assert "secret" not in broken.text


def test_the_hosts_own_answer_to_a_refusal_stands(serve: Serve) -> None:
    app = FastAPI()

    @app.exception_handler(Rejected)
    async def own(request: Request, error: Full) -> JSONResponse:
        return JSONResponse(error.code, 598)

    served = serve(app=app, workers=0)
    endpoints(app, served.hr)
    served.hr.queue("billing é", depth_max=1)
    host = f"http://127.0.0.1:{served.port}"
    httpx.post(f"{host}/orders")
    assert httpx.post(f"{host}/orders").status_code == 598


def waiting(app: FastAPI, served: Served, told: list[str]) -> None:
    @app.post("/wait")
    async def wait(request: Request, gate: str) -> str:
        job, _ = await served.hr.enqueue_raw("gated", {"gate": gate})
        told.append(str(job.id))
        try:
            found: str = await job.result(timeout=30, cancel_on_disconnect=request)
        except JobCancelled as error:
            told.append(str(error))
            raise
        return found


def test_a_client_that_goes_away_takes_its_job_along(serve: Serve) -> None:
    app, told = FastAPI(), list[str]()
    served = serve(app=app, workers=1)
    waiting(app, served, told)
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.request("POST", "/wait?gate=never")
    (job,) = until(lambda: told)
    with served.client() as client:
        until(lambda: client.get(f"/api/jobs/{job}").json()["state"] == "running")
        connection.close()
        until(lambda: client.get(f"/api/jobs/{job}").json()["state"] == "cancelled", 5)
    assert until(lambda: told[1:]) == [f"job {job} (gated) was cancelled: its client went away"]


def test_a_client_that_stays_gets_its_result(serve: Serve) -> None:
    app, told = FastAPI(), list[str]()
    served = serve(app=app, workers=1)
    waiting(app, served, told)
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.request("POST", "/wait?gate=open")
    until(lambda: told)
    time.sleep(1.2)  # longer than it takes to see whether the client is there
    served.open_gate("open")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b'"open"')
    connection.close()
