"""Webhooks over HTTP: what there is, enabled again, a delivery replayed; the page and its buttons."""

import html
import re
from typing import Any

import pytest

from headrace import Headrace, Retry, Webhook
from headrace.app import webhooks
from tests.integration.calling.flaky import Flaky, Say, Thread
from tests.integration.web.conftest import Serve, Served, until
from tests.integration.web.test_http import problem


@pytest.fixture
def served(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(webhooks, "SCHEDULE", Retry(max_attempts=1))
    with Thread(Flaky()) as flaky:

        def define(hr: Headrace) -> Webhook:
            allow = ["127.0.0.0/8"]
            return hr.webhook("partner", f"{flaky.url}/hidden", types=["order.*"], allow=allow, insecure=True)

        yield serve(define=define), flaky


def publish(served: Served) -> str:
    return str(served.call(served.hr.publish(served.defined, {"<b>": 1}, type="order.<paid>")))


def listed(served: Served) -> dict[str, Any]:
    with served.client("read") as client:
        (found,) = client.get("/api/webhooks").raise_for_status().json()["webhooks"]
    assert isinstance(found, dict)
    return found


def answered(served: Served, words: str) -> dict[str, Any]:
    """The latest delivery, once it was answered so."""
    found = until(lambda: (last := listed(served)["last"]) and last["answer"] and words in last["answer"] and last)
    assert isinstance(found, dict)
    return found


def test_the_list_a_replay_and_410(served: tuple[Served, Flaky]) -> None:
    server, flaky = served
    flaky.will(Say(500, b"oops"), Say(200), Say(410, b"gone away"))
    event = publish(server)
    last = answered(server, "it answered 500")
    assert (last["event"], last["type"], last["state"]) == (event, "order.<paid>", "failed")
    whole = listed(server)
    assert whole["endpoint"] == flaky.url
    assert (whole["types"], whole["enabled"], whole["state"]) == (["order.*"], True, "closed")
    with server.client() as client:
        assert client.post(f"/api/webhooks/deliveries/{last['job']}/replay").json() == {"job": last["job"]}
        assert answered(server, "it answered 200")["job"] == last["job"]
        again = client.post(f"/api/webhooks/deliveries/{last['job']}/replay").json()["job"]
        assert again != last["job"]
        assert answered(server, "it answered 410 Gone: gone away")["job"] == again
        until(lambda: not listed(server)["enabled"])
        assert listed(server)["reason"] == "it answered 410 Gone: gone away"
        waiting = publish(server)
        assert client.post("/api/webhooks/partner/enable").json()["enabled"]
        until(lambda: listed(server)["last"]["event"] == waiting and listed(server)["last"]["state"] == "succeeded")
    assert {heard.headers["webhook-id"] for heard in flaky.heard} == {event, waiting}


def test_what_is_not_there(served: tuple[Served, Flaky]) -> None:
    server, _ = served
    job = server.enqueue("add", a=1)["id"]
    with server.client() as client:
        problem(client.post("/api/webhooks/tank/enable"), 404, "unknown-webhook")
        problem(client.post(f"/api/webhooks/deliveries/{job}/replay"), 404, "unknown-job")
        problem(client.post(f"/api/webhooks/{'x' * 57}/enable"), 422, "invalid-request")


def test_the_page_shows_the_answer_and_buttons_to_those_who_may(served: tuple[Served, Flaky]) -> None:
    server, flaky = served
    flaky.will(Say(418, b"<script>alert(1)</script>"))
    publish(server)
    job = answered(server, "418")["job"]
    with server.client("read") as client:
        shown = client.get("/").text
    assert standing(shown)[0] == '<span class="succeeded">enabled</span>'
    assert standing(shown)[1].startswith("it answered 418 I&#x27;m a Teapot")
    assert "<h2>Webhooks</h2>" in shown
    assert "data-post=" not in shown
    assert "hidden" not in shown
    assert "<script>alert" not in shown
    assert "418 I&#x27;m a Teapot: &lt;script&gt;" in shown
    with server.client() as client:
        answer = client.get("/")
        buttons = re.findall(r'<button data-post="([^"]+)">(\w+)<', answer.text)
        assert buttons == [(f"api/webhooks/deliveries/{job}/replay", "Replay")]
        assert client.post("/" + html.unescape(buttons[0][0])).status_code == 200
        until(lambda: listed(server)["last"]["state"] == "succeeded")
        assert standing(client.get("/").text) == ['<span class="succeeded">enabled</span>', ""]
        server.call(server.hr.force_upstream("webhook:partner", "open"))
        shown = client.get("/").text
        assert '<button data-post="api/webhooks/partner/enable">Enable</button>' in shown
        assert standing(shown)[0] == '<span class="failed">disabled</span>'


def test_the_page_says_that_an_endpoint_does_not_answer(served: tuple[Served, Flaky]) -> None:
    server, flaky = served
    flaky.will(*[Say(503)] * 20)
    for _ in range(20):
        publish(server)
    until(lambda: listed(server)["state"] == "open")
    with server.client("read") as client:
        state, why = standing(client.get("/").text)
    assert state == '<span class="failed">open</span>'
    assert why == "10 of 10 calls failed (100 %, threshold 50 %)"


def standing(page: str) -> list[str]:
    """What the page says of the one webhook: its state, and why."""
    (table,) = re.findall(r"<h2>Webhooks</h2>.*?</table>", page, re.DOTALL)
    return [re.findall(rf'data-head="{head}">(.*?)</td>', table)[0] for head in ("state", "why")]


def test_who_has_none_reads_nothing_of_it(serve: Serve) -> None:
    server = serve()
    with server.client() as client:
        assert "Webhooks" not in client.get("/").text
        assert client.get("/api/webhooks").json() == {"webhooks": []}
