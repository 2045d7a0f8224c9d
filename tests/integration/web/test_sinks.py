"""Sinks over HTTP: what waits, who sends, and in the metrics."""

import time
from typing import Any

from headrace import Headrace, JobContext, kafka
from headrace.testing import MemoryBroker
from tests.integration.web.conftest import Serve, Served, until
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
