"""Sources over HTTP: how they stand, the raw message of a letter, health, figures."""

from typing import Any

import pytest

from headrace import Headrace, JobContext, rabbitmq
from headrace.testing import MemoryBroker
from tests.integration.web.conftest import Serve, Served, until
from tests.integration.web.test_metrics import value


@pytest.fixture
def broker() -> MemoryBroker:
    """One in this process, with a queue."""
    made = MemoryBroker()
    made.queue("orders")
    return made


@pytest.fixture
def taking(serve: Serve, broker: MemoryBroker) -> Served:
    """A server whose embedded worker takes from it."""

    def define(hr: Headrace) -> None:
        hr.broker("rabbitmq", broker)

        @hr.on(rabbitmq("orders"))
        async def take(ctx: JobContext, number: int) -> int:
            return number

    return serve(define=define)


def letter(served: Served) -> dict[str, Any]:
    with served.client("read") as client:
        found: list[dict[str, Any]] = until(
            lambda: client.get("/api/jobs", params={"tag": "letter", "state": "failed"}).json()["jobs"]
        )
    return found[0]


def test_a_letter_is_listed_downloaded_and_retried(taking: Served, broker: MemoryBroker) -> None:
    broker.put("orders", b"\xff<script>", id="m", headers={"h": "ä"}, content_type="text/html; charset=ä")
    job = letter(taking)
    said = job["args"]["headrace.letter"]
    assert (said["source"], said["headers"], said["bytes"]) == ("rabbitmq:orders", {"h": "ä"}, 9)
    with taking.client("read") as client:
        raw = client.get(f"/api/jobs/{job['id']}/message")
        assert (raw.status_code, raw.content) == (200, b"\xff<script>")
        assert raw.headers["Content-Type"] == "application/octet-stream"
        assert raw.headers["X-Content-Type-Options"] == "nosniff"
        assert raw.headers["Content-Disposition"] == f'attachment; filename="{job["id"]}.bin"'
        assert raw.headers["Headrace-Source"] == "rabbitmq:orders"
        token = client.post(f"/api/jobs/{job['id']}/token").json()["token"]
    with taking.anonymous(headers={"Authorization": f"Bearer {token}"}) as watcher:
        assert watcher.get(f"/api/jobs/{job['id']}").status_code == 200
        assert watcher.get(f"/api/jobs/{job['id']}/message").status_code == 403, "what outsiders sent is not for it"
    with taking.client() as client:
        assert client.post(f"/api/jobs/{job['id']}/retry").json()["state"] == "ready"
        until(lambda: client.get(f"/api/jobs/{job['id']}").json()["attempt"] == 2)
        until(lambda: client.get(f"/api/jobs/{job['id']}").json()["state"] == "failed")
        edited = client.patch(f"/api/jobs/{job['id']}", json={"args": {"number": 3}})
        assert edited.json()["state"] == "failed"
        client.post(f"/api/jobs/{job['id']}/retry")
    assert taking.ended(job["id"])["result"] == 3


def test_a_job_that_fitted_has_no_message(taking: Served) -> None:
    job = taking.enqueue("add", a=1)
    with taking.client("read") as client:
        answer = client.get(f"/api/jobs/{job['id']}/message")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:headrace:problem:unknown-job")


def test_sources_say_how_they_stand_and_an_absent_broker_is_no_reason_to_be_unready(
    taking: Served, broker: MemoryBroker
) -> None:
    broker.put("orders", b"5", id="m")
    broker.put("orders", b"5", id="m")
    with taking.client("read") as client:

        def source() -> dict[str, Any]:
            (found,) = client.get("/api/sources").raise_for_status().json()["sources"]
            return dict(found)

        until(lambda: source()["repeated"] == 1)
        found = source()
        assert (found["name"], found["task"], found["state"]) == ("rabbitmq:orders", "take", "consuming")
        assert (found["taken"], found["letters"], found["processes"], found["bookmarks"]) == (1, 0, 1, {})
        broker.cut("127.0.0.1:5672 refuses connections")
        until(lambda: source()["state"] == "away")
        assert source()["why"] == "127.0.0.1:5672 refuses connections"
        ready = client.get("/health/ready")
        page = client.get("/").text
        assert "rabbitmq:orders" in page
        assert "127.0.0.1:5672 refuses connections" in page
    assert ready.status_code == 200
    assert ready.json()["bridges"] == {"rabbitmq:orders": "away: 127.0.0.1:5672 refuses connections"}
    with taking.anonymous() as nobody:
        assert nobody.get("/health/ready").json() == {"status": "ready"}
        assert nobody.get("/api/sources").status_code == 401
    assert value(taking, "headrace_source_messages_total", source="rabbitmq:orders", result="taken") == 1
    assert value(taking, "headrace_source_messages_total", source="rabbitmq:orders", result="repeated") == 1
    assert value(taking, "headrace_enqueued_total", task="take") == 1
    assert 0 <= value(taking, "headrace_source_taken_age_seconds", source="rabbitmq:orders") < 60
