"""Sinks over HTTP: what waits, who sends, what is parked and becomes of it; in the metrics and on the page."""

import html
import json
import re
import time
from typing import Any

from headrace import Headrace, JobContext, kafka
from headrace.core.relay_events import Refusal
from headrace.testing import MemoryBroker
from tests.integration.web.conftest import Serve, Served, until
from tests.integration.web.test_http import problem
from tests.integration.web.test_metrics import value


def only(served: Served) -> dict[str, Any] | None:
    with served.client("read") as client:
        found = client.get("/api/sinks").raise_for_status().json()["sinks"]
    assert len(found) <= 1
    return found[0] if found else None


def test_sinks_are_told(serve: Serve) -> None:
    broker = MemoryBroker()
    broker.topic("orders")
    broker.cut("kafka:9092 refuses connections")

    def define(hr: Headrace) -> None:
        hr.broker("kafka", broker)

        @hr.task(public=True)
        async def sell(ctx: JobContext, order: int) -> None:
            await ctx.publish(kafka("orders"), order)

    served = serve(define=define)
    assert only(served) is None
    with served.client("enqueue") as client:
        client.post("/api/jobs", json={"task": "sell", "args": {"order": 7}}).raise_for_status()

    def away() -> bool:
        found = only(served)
        return found is not None and found["state"] == "sink_away"

    until(away)
    found = only(served)
    assert found is not None
    assert (found["name"], found["waiting"], found["parked"], found["why"]) == (
        "kafka",
        1,
        0,
        "kafka:9092 refuses connections",
    )
    with served.client("read") as client:
        assert client.get("/health/ready").json()["bridges"] == {"kafka": "sink_away: kafka:9092 refuses connections"}
    broker.mend()
    until(lambda: (only(served) or {})["waiting"] == 0)
    assert [record.body for record in broker.topics["orders"][0]] == [b"7"]
    time.sleep(1.1)  # so long one look serves all who ask for metrics
    assert value(served, "headrace_sink_waiting", sink="kafka") == 0
    assert value(served, "headrace_sink_events_total", sink="kafka", result="sent") == 1


def test_parked_events_are_listed_sent_again_and_dropped(serve: Serve) -> None:
    served = serve(workers=0)
    for target in ("orders", "gone", "gone", "lost"):
        served.call(served.hr.publish(kafka(target), {"order": 7}, key=f"<{target}>"))
    places = [out.place for out in served.call(served.hr.post.outgoing("kafka", 0, 10, 1 << 20)).events]
    refused = [Refusal(place, "no <topic>", parked=True) for place in places[1:]]
    served.call(served.hr.post.sent("kafka", (), refused))
    with served.client("read") as client:
        found = client.get("/api/sinks/kafka/parked").raise_for_status().json()
        problem(client.get("/api/sinks/nats/parked"), 404, "not-found")
        problem(client.post("/api/sinks/kafka/retry", json={}), 403, "forbidden")
        assert "data-post=" not in client.get("/").text
    first, second, third = found["parked"]
    assert (found["next_after"], first["target"], first["key"], first["bytes"]) == (None, "gone", "<gone>", 11)
    assert (first["why"], first["refused"]) == ("no <topic>", 1)
    with served.client() as client:
        beyond = client.get("/api/sinks/kafka/parked", params={"after": second["place"]}).json()["parked"]
        assert [each["id"] for each in beyond] == [third["id"]]
        shown = client.get("/").text
        assert "&lt;gone&gt;" in shown
        assert "<gone>" not in shown
        buttons = [
            (word, html.unescape(path), json.loads(html.unescape(body)))
            for path, body, word in re.findall(r'<button data-post="([^"]+)" data-body="([^"]+)"[^>]*>([^<]+)<', shown)
        ]
        assert [word for word, _, _ in buttons] == ["Send all again", *["Send again", "Drop"] * 3]
        drop = buttons[2]
        assert client.post("/" + drop[1], json=drop[2]).json() == {"dropped": 1}
        assert client.post("/" + drop[1], json=drop[2]).json() == {"dropped": 0}
        for button in (buttons[3], buttons[0]):
            assert client.post("/" + button[1], json=button[2]).json() == {"retried": 1}
        problem(client.post("/api/sinks/kafka/drop", json={"places": []}), 422, "invalid-request")
        problem(client.post("/api/sinks/nats/retry", json={}), 404, "not-found")
    left = only(served)
    assert left is not None
    assert (left["waiting"], left["parked"]) == (3, 0)
