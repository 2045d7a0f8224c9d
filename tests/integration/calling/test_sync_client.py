"""`bank.client_sync()`: as the asynchronous one, in threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from headrace import BreakerOpen, Upstream
from headrace.runtime.blame import blamed_upstream
from tests.integration.calling.counting import CountingGuard
from tests.integration.calling.flaky import Flaky, Say


def test_outcomes(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(), Say(404), Say(500), Say(drop="before"), Say(drop="half"))
    with bank.client_sync(base_url=flaky.url) as http:
        assert http.post("/").text == "fine"
        assert http.post("/").status_code == 404
        with pytest.raises(httpx.HTTPStatusError) as raised:
            http.post("/").raise_for_status()
        assert blamed_upstream(raised.value) == ("bank", None)
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError) as broken:
                http.post("/")
            assert blamed_upstream(broken.value) == ("bank", None)
    assert guard.outcomes == ["succeeded", "succeeded", "failed", "failed", "failed"]


def test_timeout(guard: CountingGuard, flaky: Flaky) -> None:
    guard.timeout_s = 0.1
    flaky.will(Say(delay_s=5))
    with Upstream("bank", guard).client_sync(base_url=flaky.url) as http, pytest.raises(httpx.ReadTimeout):
        http.post("/", timeout=60)
    assert guard.outcomes == ["failed"]


def test_repeats_within_the_budget(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(503), Say(drop="before"), Say(body=b"third"))
    with bank.client_sync(base_url=flaky.url) as http:
        assert http.get("/").text == "third"
        guard.budget = 0
        flaky.will(Say(503))
        assert http.get("/").status_code == 503
    assert guard.outcomes == ["failed", "failed", "succeeded", "failed"]


def test_a_breaker_that_opens_meanwhile_leaves_the_answer(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    guard.refuse_after = 1
    flaky.will(Say(503, b"shut"))
    with bank.client_sync(base_url=flaky.url) as http:
        assert http.get("/").text == "shut"
        with pytest.raises(BreakerOpen):
            http.get("/")
    assert len(flaky.heard) == 1


def test_streams(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.default = Say(body=b"ab" * 100_000)
    with bank.client_sync(base_url=flaky.url) as http:
        with http.stream("GET", "/") as answer:
            assert guard.under_way == 1
            next(answer.iter_raw(10))
        assert guard.outcomes == ["succeeded"]
        http.send(http.build_request("GET", "/"), stream=True)
    assert guard.outcomes == ["succeeded", "ignored"]


def test_ten_threads_call_at_once(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.default = Say(delay_s=0.3)
    start = threading.Barrier(10, timeout=10)

    def call() -> int:
        start.wait()
        return http.get("/").status_code

    with bank.client_sync(base_url=flaky.url) as http, ThreadPoolExecutor(10) as threads:
        assert [each.result(10) for each in [threads.submit(call) for _ in range(10)]] == [200] * 10
    assert (guard.peak, flaky.peak) == (10, 10)
