"""Upstreams over HTTP: what there is, what holds a job, breakers set by hand; the page, the metrics."""

import asyncio
import re
from datetime import datetime
from typing import Any

import pytest

from headrace import Breaker, Headrace, JobContext, Upstream
from tests.integration.web.conftest import Serve, Served, until
from tests.integration.web.test_http import problem
from tests.integration.web.test_metrics import value

BREAKER = Breaker(
    sliding_window_size=4,
    minimum_number_of_calls=4,
    permitted_number_of_calls_in_half_open_state=2,
    wait_duration_in_open_state=60,
)


class BankError(Exception):
    """What the bank does when it is down."""


def banking(hr: Headrace, breaker: Breaker = BREAKER) -> Upstream:
    """An upstream, and a task that needs it."""
    bank = hr.upstream("bank", breaker=breaker)
    gate = asyncio.Event()

    @hr.task(public=True, needs=[bank])
    async def pay(ctx: JobContext, slowly: bool = False) -> str:
        async with bank:
            if slowly:
                await gate.wait()
            return "paid"

    @hr.task(public=True)
    async def open_gate(ctx: JobContext) -> None:
        gate.set()

    return bank


async def use(bank: Upstream, calls: int, *, well: bool) -> None:
    for _ in range(calls):
        try:
            async with bank:
                if not well:
                    raise BankError("down")  # noqa: TRY301
        except BankError:
            pass


def only(served: Served) -> dict[str, Any] | None:
    """The one upstream, as the fleet sees it."""
    with served.client("read") as client:
        found = client.get("/api/upstreams").raise_for_status().json()["upstreams"]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.fixture
def bank(serve: Serve) -> tuple[Served, Upstream]:
    served = serve(define=banking)
    return served, served.defined


def test_what_there_is_and_what_holds_a_job(bank: tuple[Served, Upstream]) -> None:
    served, upstream = bank
    served.call(use(upstream, 4, well=False))
    seen = until(lambda: (found := only(served)) and found["state"] == "open" and found)
    assert (seen["name"], seen["tasks"], seen["processes"], seen["definitions"]) == ("bank", ["pay"], 1, 1)
    assert 50 < seen["retry_in_s"] <= 60
    assert "4" in seen["reason"]
    job = served.enqueue("pay")["id"]
    with served.client() as client:
        view = client.get(f"/api/jobs/{job}").json()
        (hold,) = view["holds"]
        assert (hold["kind"], hold["upstream"], hold["state"]) == ("upstream", "bank", "open")
        assert hold["since"] == seen["since"]
        assert (
            59 < (datetime.fromisoformat(hold["next_try"]) - datetime.fromisoformat(hold["since"])).total_seconds() < 61
        )
        assert hold["reason"] in view["why"]
        closed = client.post("/api/upstreams/bank/close").json()
        assert (closed["state"], closed["reason"], closed["retry_in_s"]) == ("closed", "", None)
    ended = served.ended(job)
    assert (ended["state"], ended["attempt"], ended["failures"]) == ("succeeded", 1, 0)
    assert served.ended(job)["holds"] == []


def test_by_hand(bank: tuple[Served, Upstream]) -> None:
    served, upstream = bank
    served.call(use(upstream, 1, well=True))
    with served.client() as client:
        opened = client.post("/api/upstreams/bank/open").json()
        assert (opened["state"], opened["reason"], opened["retry_in_s"]) == ("forced_open", "by hand", None)
        job = served.enqueue("pay")["id"]
        (hold,) = client.get(f"/api/jobs/{job}").json()["holds"]
        assert (hold["state"], hold["next_try"]) == ("forced_open", None)
        disabled = client.post("/api/upstreams/bank/disable").json()
        assert disabled["state"] == "disabled"
        assert served.ended(job)["state"] == "succeeded"
        for verb in ("open", "close", "disable"):
            said = problem(client.post(f"/api/upstreams/tank/{verb}"), 404, "unknown-upstream")
            assert "'tank'" in str(said["detail"])
        problem(client.post("/api/upstreams/bank/shut"), 404, "not-found")
        problem(client.post(f"/api/upstreams/{'x' * 65}/open"), 422, "invalid-request")


def test_other_holds_have_no_upstream(serve: Serve) -> None:
    served = serve(workers=0)
    job = served.enqueue("add", a=1)["id"]
    with served.client() as client:
        assert client.get(f"/api/jobs/{job}").json()["holds"] == [
            {"kind": "no-worker", "reason": "no worker is running"}
        ]


def page(served: Served) -> str:
    """What a person reads of the upstreams; "" where there is no such table."""
    with served.client("read") as client:
        shown = client.get("/").raise_for_status().text
    found = re.search(r"<h2>Upstreams</h2>.*?<tbody>(.*?)</tbody>", shown)
    return "" if found is None else " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


def test_the_page_and_the_metrics_follow_an_outage(serve: Serve) -> None:
    probed = Breaker(
        sliding_window_size=4,
        minimum_number_of_calls=4,
        permitted_number_of_calls_in_half_open_state=2,
        wait_duration_in_open_state=1.4,
    )
    assert page(serve()) == ""  # who has none reads nothing of it
    served = serve(define=lambda hr: banking(hr, probed))
    until(lambda: re.match(r"bank closed \d s 0 of 0$", page(served)))
    served.call(use(served.defined, 1, well=True))
    served.call(use(served.defined, 3, well=False))
    opened = until(lambda: (shown := page(served)).startswith("bank open") and shown)
    assert opened == "bank open 0 s pay 3 of 4 calls failed (75 %, threshold 50 %) ; tried again in 1 s"
    first = served.enqueue("pay", slowly=True)["id"]
    until(lambda: re.match(r"bank half open \d s pay .* ; probes: 0 ended, 0 failed, [12] under way$", page(served)))
    served.enqueue("open_gate")
    assert served.ended(first)["state"] == "succeeded"
    served.ended(served.enqueue("pay")["id"])
    assert value(served, "headrace_upstream_calls_total", upstream="bank", outcome="succeeded") == 3
    assert value(served, "headrace_upstream_calls_total", upstream="bank", outcome="failed") == 3
    assert value(served, "headrace_upstream_call_seconds_count", upstream="bank") == 6
    until(lambda: value(served, "headrace_upstream_state", upstream="bank", state="closed") == 1)
    assert value(served, "headrace_upstream_transitions_total", upstream="bank") == 3
    until(lambda: re.match(r"bank closed \d+ s \d of \d closed after its probes; .*$", page(served)))
