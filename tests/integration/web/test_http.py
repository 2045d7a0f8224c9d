"""HTTP, over a real socket: who may do what, how refusals look, jobs from enqueue to retry."""

import json
import threading

import httpx
import pytest

from tests.integration.web.conftest import Serve, Served, until

PROBLEM = "application/problem+json"
JOB = "018f0000-0000-7000-8000-000000000000"
ROUTES = [
    ("POST", "/api/jobs", "enqueue"),
    ("POST", "/api/jobs/batch", "enqueue"),
    ("GET", "/api/jobs", "read"),
    ("POST", "/api/jobs/retry", "operate"),
    ("GET", f"/api/jobs/{JOB}", "read"),
    ("PATCH", f"/api/jobs/{JOB}", "operate"),
    ("GET", f"/api/jobs/{JOB}/attempts", "read"),
    ("GET", f"/api/jobs/{JOB}/updates", "read"),
    ("POST", f"/api/jobs/{JOB}/cancel", "operate"),
    ("POST", f"/api/jobs/{JOB}/retry", "operate"),
    ("POST", f"/api/jobs/{JOB}/token", "read"),
    ("GET", f"/api/jobs/{JOB}/message", "read"),
    ("GET", "/api/tasks", "read"),
    ("GET", "/api/queues", "read"),
    ("POST", "/api/queues/default/pause", "operate"),
    ("POST", "/api/queues/default/resume", "operate"),
    ("GET", "/api/upstreams", "read"),
    ("POST", "/api/upstreams/bank/open", "operate"),
    ("POST", "/api/upstreams/bank/close", "operate"),
    ("POST", "/api/upstreams/bank/disable", "operate"),
    ("GET", "/api/sources", "read"),
    ("GET", "/api/sinks", "read"),
    ("GET", "/api/sinks/kafka/parked", "read"),
    ("POST", "/api/sinks/kafka/retry", "operate"),
    ("POST", "/api/sinks/kafka/drop", "operate"),
    ("GET", "/api/webhooks", "read"),
    ("POST", "/api/webhooks/partner/enable", "operate"),
    ("POST", f"/api/webhooks/deliveries/{JOB}/replay", "operate"),
    ("GET", "/api/workers", "read"),
    ("GET", "/api/stats", "read"),
    ("GET", "/metrics", "read"),
]
BODIES = {
    "/api/jobs": {"task": "add", "args": {"a": 1}},
    "/api/jobs/batch": {"jobs": [{"task": "add", "args": {"a": 1}}]},
    "/api/jobs/retry": {},
    "/api/sinks/kafka/retry": {},
    "/api/sinks/kafka/drop": {"places": [1]},
    f"/api/jobs/{JOB}": {"args": {}},
}


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
    said: dict[str, object] = answer.json()
    assert said["type"] == f"urn:headrace:problem:{code}", said
    assert said["status"] == status
    return said


def test_every_route_is_in_the_table_of_the_tests(served: Served) -> None:
    documented = {
        (
            method.upper(),
            path.removeprefix("/headrace").format(
                job_id=JOB, queue="default", upstream="bank", webhook="partner", sink="kafka"
            ),
        )
        for path, methods in served.app.openapi()["paths"].items()
        for method in methods
    }
    open_to_all = {("GET", "/health/live"), ("GET", "/health/ready"), ("POST", "/api/session"),
                   ("DELETE", "/api/session")}  # fmt: skip
    assert documented == {(method, path) for method, path, _ in ROUTES} | open_to_all


def test_without_a_credential_nothing_answers(served: Served) -> None:
    with served.anonymous() as client:
        for method, path, _ in ROUTES:
            for body in (BODIES.get(path), {"nonsense": True}):
                answer = client.request(method, path, json=body if method != "GET" else None)
                problem(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"].startswith("Bearer")
        assert client.get("/api/nothing").status_code == 401
        assert client.get("/").status_code == 401
        assert client.get("/health/live").json() == {"status": "live"}
        assert client.get("/health/ready").json() == {"status": "ready"}
        problem(client.post("/api/session", json={}), 401, "unauthorized")


def test_each_scope_opens_its_own_routes(served: Served) -> None:
    for scope in ("read", "enqueue", "operate"):
        with served.client(scope) as client:
            for method, path, wanted in ROUTES:
                answer = client.request(method, path, json=BODIES.get(path) if method != "GET" else None)
                if wanted == scope:
                    assert answer.status_code in (200, 202, 404), (method, path, answer.text)
                else:
                    problem(answer, 403, "forbidden")
    with served.client("read") as client:
        ready = client.get("/health/ready").json()
        assert ready["store"] == "sqlite"
        assert "version" in ready


def test_wrong_credentials(served: Served) -> None:
    with served.anonymous() as client:
        for bad in ("hr_", "hr_x_y", "nonsense", "é", "a.b.c", served.key()[:-1] + "!", "x" * 9000):
            problem(client.get("/api/jobs", headers={"Authorization": f"Bearer {bad}".encode()}), 401, "unauthorized")
        for name in ("token", "access_token", "api_key"):
            problem(client.get("/api/jobs", params={name: served.key()}), 400, "token-in-url")


def test_keys_are_hashed_at_rest_and_revoked_within_seconds(served: Served) -> None:
    with served.client("read") as client, served.anonymous() as browser:
        key = served.key("read")
        assert browser.post("/api/session", json={"key": key}).status_code == 200
        assert browser.get("/api/stats").status_code == 200
        (kept,) = served.call(served.hr.vault.api_keys())
        secret = key.split("_", 2)[2].encode()  # in which there may be more of them
        for path in served.hr.store.directory.parent.glob("jobs.db*"):
            if path.is_file():
                assert secret not in path.read_bytes()
        assert served.call(served.hr.vault.revoke_api_key(kept.id))
        until(lambda: client.get("/api/stats").status_code == 401, 5)
        problem(browser.get("/api/stats"), 401, "unauthorized")


def test_the_session_cookie(served: Served) -> None:
    with served.anonymous() as browser:
        said = browser.post("/api/session", json={"key": served.key()})
        assert said.json()["scopes"] == ["enqueue", "operate", "read"]
        cookie = said.headers["set-cookie"]
        for flag in ("HttpOnly", "SameSite=strict", "Path=/headrace"):
            assert flag in cookie
        assert "Secure" not in cookie  # this server speaks plain http
        here = f"http://127.0.0.1:{served.port}"
        pause = "/api/queues/default/pause"
        assert browser.post(pause).status_code == 200
        assert browser.post(pause, headers={"Origin": here}).status_code == 200
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
            problem(browser.post(pause, headers={"Origin": origin}), 403, "origin-refused")
        session = {"Origin": "https://evil.example"}
        problem(browser.post("/api/session", json={"key": served.key()}, headers=session), 403, "origin-refused")
        bearer = {"Authorization": f"Bearer {browser.cookies['headrace_session']}"}
        problem(httpx.get(f"{served.url}/api/stats", headers=bearer), 401, "unauthorized")
        assert browser.delete("/api/session").status_code == 204
        assert browser.get("/api/stats").status_code == 401


def test_open_mode_answers_this_machine_alone(serve: Serve) -> None:
    served = serve(auth="off", config={"proxy_headers": False})
    with served.anonymous() as client:
        assert client.get("/api/jobs").status_code == 200
        host = f"localhost:{served.port}"
        assert client.get("/api/jobs", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200
        for refused in (
            {"Host": "evil.example"},
            {"Host": "localhost.evil.example"},
            {"Host": "192.168.1.7:8000"},
            {"X-Forwarded-For": "203.0.113.9"},
            {"Forwarded": "for=203.0.113.9"},
            {"Via": "1.1 proxy"},
        ):
            problem(client.get("/api/jobs", headers=refused), 403, "forbidden")
        problem(client.get("/api/jobs", headers={"Origin": "http://evil.example"}), 403, "origin-refused")


def test_bodies_are_bounded(serve: Serve) -> None:
    served = serve(body_bytes_max=20_000, args_bytes_max=5_000, workers=0)
    big = json.dumps({"task": "add", "args": {"a": 1}, "pad": "x" * 30_000}).encode()

    def chunks():  # noqa: ANN202
        for start in range(0, len(big), 1000):
            yield big[start : start + 1000]

    with served.client() as client:
        problem(client.post("/api/jobs", content=big), 413, "body-too-large")
        problem(client.post("/api/jobs", content=chunks()), 413, "body-too-large")
        args = {"task": "count", "args": {"items": 1, "size": "9" * 6_000}}
        problem(client.post("/api/jobs", json=args), 413, "payload-too-large")
        problem(
            client.post("/api/jobs", content=b"{", headers={"Content-Type": "application/json"}), 400, "bad-request"
        )


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({"task": "add", "args": {"a": "x"}}, "invalid-arguments", "a"),
        ({"task": "add", "args": {}}, "invalid-arguments", "a"),
        ({"task": "add", "args": {"a": 1, "c": 1}}, "invalid-arguments", "c"),
        ({"task": "add", "args": {"a": 1}, "options": {"delay": -1}}, "usage", "delay"),
        ({"task": "add", "args": {"a": 1}, "options": {"\ud800": 1}}, "usage", "option"),
        ({"task": "nothing", "args": {}}, "unknown-task", "nothing"),
        ({"task": "private", "args": {}}, "unknown-task", "private"),
        ({"task": "add", "extra": 1}, "invalid-request", "extra"),
        ({}, "invalid-request", "task"),
    ],
)
def test_what_does_not_fit_is_named(served: Served, body: dict[str, object], code: str, named: str) -> None:
    with served.client() as client:
        answer = client.post("/api/jobs", content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert named in json.dumps(problem(answer, 422, code))


def test_what_is_not_there(served: Served) -> None:
    with served.client() as client:
        problem(client.get(f"/api/jobs/{JOB}"), 404, "unknown-job")
        problem(client.get(f"/api/jobs/{JOB}/updates"), 404, "unknown-job")
        problem(client.get("/api/jobs/not-a-uuid"), 422, "invalid-request")
        problem(client.get("/api/nothing"), 404, "not-found")
        answer = client.put("/api/jobs")
        problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "GET, POST"


def test_from_enqueue_to_result(served: Served) -> None:
    with served.client() as client:
        answer = client.post("/api/jobs", json={"task": "add", "args": {"a": 1, "b": 2}})
        assert answer.status_code == 202
        told = answer.json()
        assert answer.headers["location"] == f"/headrace/api/jobs/{told['id']}" == told["links"]["self"]
        seen = served.ended(told["id"])
        assert (seen["state"], seen["result"]) == ("succeeded", 3)
        (attempt,) = client.get(f"/api/jobs/{told['id']}/attempts").json()["attempts"]
        assert attempt["outcome"] == "succeeded"
        problem(client.post(f"/api/jobs/{told['id']}/cancel"), 409, "illegal-transition")
        problem(client.post(f"/api/jobs/{told['id']}/retry"), 409, "illegal-transition")
        with served.anonymous(headers={"Authorization": f"Bearer {told['token']}"}) as browser:
            assert browser.get(f"/api/jobs/{told['id']}").json()["result"] == 3
            problem(browser.get("/api/jobs"), 403, "forbidden")
            problem(browser.post(f"/api/jobs/{told['id']}/cancel"), 403, "forbidden")
            renewed = browser.post(f"/api/jobs/{told['id']}/token").json()
            assert renewed["expires_in_s"] == 900
            other = served.enqueue("add", a=1)
            problem(browser.get(f"/api/jobs/{other['id']}"), 403, "forbidden")


def test_a_batch_is_all_or_none(served: Served) -> None:
    with served.client() as client:
        good = {"task": "add", "args": {"a": 1}}
        told = client.post("/api/jobs/batch", json={"jobs": [good, good]}).json()["jobs"]
        assert len({job["id"] for job in told}) == 2
        before = sum(client.get("/api/stats").json()["counts"].values())
        problem(client.post("/api/jobs/batch", json={"jobs": [good, {"task": "add"}]}), 422, "invalid-arguments")
        assert sum(client.get("/api/stats").json()["counts"].values()) == before == 2


def test_a_key_belongs_to_one_job(serve: Serve) -> None:
    served = serve(workers=0)
    first = served.enqueue("add", {"key": "k"}, a=1)
    assert served.enqueue("add", {"key": "k"}, a=1)["id"] == first["id"]
    with served.client() as client:
        body = {"task": "add", "args": {"a": 2}, "options": {"key": "k"}}
        problem(client.post("/api/jobs", json=body), 409, "conflict")


def test_an_idempotency_key_replays_byte_for_byte(served: Served) -> None:
    with served.client() as client:
        sent = {
            "content": b'{"task":"add","args":{"a":1}}',
            "headers": {"Idempotency-Key": '"abc"', "Content-Type": "application/json"},
        }
        first = client.post("/api/jobs", **sent)
        again = client.post("/api/jobs", **sent)
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["location"] == first.headers["location"]
        bare = client.post("/api/jobs", content=sent["content"], headers={**sent["headers"], "Idempotency-Key": "abc"})
        assert bare.content == first.content
        other = {"task": "add", "args": {"a": 2}}
        problem(client.post("/api/jobs", json=other, headers={"Idempotency-Key": "abc"}), 422, "idempotency-mismatch")
        wrong = client.post("/api/jobs", json=other, headers={"Idempotency-Key": '""'})
        problem(wrong, 400, "invalid-idempotency-key")
        assert sum(client.get("/api/stats").json()["counts"].values()) == 1
    with served.client("enqueue") as other_client:
        assert other_client.post("/api/jobs", **sent).json()["id"] != first.json()["id"]


def test_a_failed_request_lets_its_key_go(served: Served) -> None:
    key = {"Idempotency-Key": "k"}
    with served.client() as client:
        problem(client.post("/api/jobs", json={"task": "add"}, headers=key), 422, "invalid-arguments")
        assert client.post("/api/jobs", json={"task": "add", "args": {"a": 1}}, headers=key).status_code == 202


def test_while_the_first_is_in_flight(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    store = served.hr.store
    entered, go, enqueue = threading.Event(), threading.Event(), store.enqueue

    async def held(jobs):  # noqa: ANN001, ANN202
        entered.set()
        await served.loop.run_in_executor(None, go.wait)
        return await enqueue(jobs)

    sent = {"json": {"task": "add", "args": {"a": 1}}, "headers": {"Idempotency-Key": "k"}}
    answers: list[httpx.Response] = []
    with served.client() as client:
        monkeypatch.setattr(store, "enqueue", held)
        first = threading.Thread(target=lambda: answers.append(client.post("/api/jobs", **sent)))
        first.start()
        assert entered.wait(30)
        answer = client.post("/api/jobs", **sent)
        problem(answer, 409, "idempotency-in-flight")
        assert answer.headers["retry-after"] == "1"
        go.set()
        first.join(30)
        assert client.post("/api/jobs", **sent).content == answers[0].content


def test_a_request_that_died_is_done_again_without_a_second_job(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = served.hr.vault.finish

    async def dies(scope, key, answer) -> None:  # noqa: ANN001
        raise SystemError("the process ends here")

    sent = {"json": {"task": "add", "args": {"a": 1}}, "headers": {"Idempotency-Key": "k"}}
    with served.client() as client:
        monkeypatch.setattr(served.hr.vault, "finish", dies)
        problem(client.post("/api/jobs", **sent), 500, "internal")
        monkeypatch.setattr(served.hr.vault, "finish", finish)
        problem(client.post("/api/jobs", **sent), 409, "idempotency-in-flight")
        for module in ("headrace.stores.sqlite.vault",):
            monkeypatch.setattr(f"{module}.IN_FLIGHT_S", 0.0)
        again = client.post("/api/jobs", **sent)
        assert again.status_code == 202
        (job,) = client.get("/api/jobs").json()["jobs"]
        assert job["id"] == again.json()["id"]


def test_paging_to_the_end_while_jobs_are_added(serve: Serve) -> None:
    served = serve(workers=0)
    with served.client() as client:
        add = {"jobs": [{"task": "add", "args": {"a": n}} for n in range(25)]}
        first = {job["id"] for job in client.post("/api/jobs/batch", json=add).json()["jobs"]}
        seen: list[str] = []
        token = None
        while token != "":
            more = {"page_token": token} if token else {}
            page = client.get("/api/jobs", params={"page_size": 4, "task": "add", **more}).json()
            seen += [job["id"] for job in page["jobs"]]
            token = page["next_page_token"]
            client.post("/api/jobs", json={"task": "add", "args": {"a": 0}})
        assert len(seen) == len(set(seen))
        assert first <= set(seen)
        token = client.get("/api/jobs", params={"page_size": 4}).json()["next_page_token"]
        problem(client.get("/api/jobs", params={"page_token": token, "task": "add"}), 400, "invalid-page-token")
        problem(client.get("/api/jobs", params={"page_token": "éé"}), 400, "invalid-page-token")
        assert len(client.get("/api/jobs", params={"page_size": 0}).json()["jobs"]) == 1
        assert len(client.get("/api/jobs", params={"page_size": 10**30}).json()["jobs"]) > 25
        for wrong in ({"state": "x"}, {"page_size": "x"}, {"created_after": "2030-01-01T00:00:00"}):
            assert client.get("/api/jobs", params=wrong).status_code == 422


def test_edit_and_retry_a_failed_job(served: Served) -> None:
    job = served.enqueue("fails")["id"]
    seen = served.ended(job)
    assert (seen["state"], seen["error"]["message"]) == ("failed", "it is wrong")
    assert "it failed" in seen["why"]
    with served.client() as client:
        problem(client.patch(f"/api/jobs/{job}", json={"args": {"right": "perhaps"}}), 422, "invalid-arguments")
        assert client.patch(f"/api/jobs/{job}", json={"args": {"right": True}}).json()["state"] == "failed"
        assert client.post(f"/api/jobs/{job}/retry").json()["state"] in ("ready", "running", "succeeded")
        assert served.ended(job)["result"] == "right"
        problem(client.patch(f"/api/jobs/{job}", json={"args": {}}), 409, "illegal-transition")


def test_retry_by_filter_is_capped(served: Served) -> None:
    jobs = [served.enqueue("fails", {"tags": ["t"]})["id"] for _ in range(3)]
    other = served.enqueue("fails")["id"]
    for job in [*jobs, other]:
        served.ended(job)
    with served.client() as client:
        client.post("/api/queues/default/pause")
        body = {"tag": "t", "limit": 2, "per_second": 1000}
        assert client.post("/api/jobs/retry", json=body).json() == {"retried": 2, "more": True}
        assert client.post("/api/jobs/retry", json=body).json() == {"retried": 1, "more": False}
        assert client.get(f"/api/jobs/{other}").json()["state"] == "failed"
        problem(client.post("/api/jobs/retry", json={"limit": 1000, "per_second": 1}), 422, "usage")
        problem(client.post("/api/jobs/retry", json={"limit": 1001}), 422, "invalid-request")


def test_why_is_this_not_running(serve: Serve) -> None:
    served = serve(workers=0)
    jobs = [served.enqueue("add", a=n)["id"] for n in range(3)]
    later = served.enqueue("add", {"delay": 7300}, a=0)["id"]
    with served.client() as client:

        def look(job: str) -> tuple[list[str], str]:
            seen = client.get(f"/api/jobs/{job}").json()
            return [hold["kind"] for hold in seen["holds"]], seen["why"]

        assert look(jobs[0]) == (["no-worker"], "it is held: no worker is running")
        assert "in 2 hours" in look(later)[1]
        client.post("/api/queues/default/pause")
        assert look(jobs[0])[0] == ["queue-paused", "no-worker"]
        assert client.get("/api/queues").json()["queues"][0]["paused"] is True
        client.post("/api/queues/default/resume")
        assert look(jobs[0])[0] == ["no-worker"]


def test_a_place_in_line(serve: Serve) -> None:
    served = serve(concurrency=1)
    served.enqueue("gated", gate="g")
    with served.client() as client:
        until(lambda: client.get("/api/stats").json()["counts"]["running"] == 1)
        lines = [served.enqueue("gated", gate="g")["id"] for _ in range(20)]
        urgent = served.enqueue("gated", {"priority": 5}, gate="g")["id"]

        def why(job: str) -> str:
            found: str = client.get(f"/api/jobs/{job}").json()["why"]
            return found

        assert "is ahead of it" in why(lines[-1]) or "are ahead of it" in why(lines[-1])
        assert "first in line" in why(urgent) or "it is running" in why(urgent)
        served.open_gate("g")
