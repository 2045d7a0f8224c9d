"""`bank.client()` against a server that misbehaves."""

import asyncio
import socket

import httpx
import pytest

from headrace import BreakerOpen, Classify, InvalidConfig, Upstream
from headrace.runtime.blame import blamed_upstream
from tests.integration.calling.counting import CountingGuard
from tests.integration.calling.flaky import Flaky, Say


async def test_a_good_answer_is_a_success(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    async with bank.client(base_url=flaky.url) as http:
        answer = await http.post("/charge", json={"invoice": 7})
    assert (answer.status_code, answer.text) == (200, "fine")
    assert flaky.heard[0].body == b'{"invoice":7}'
    assert guard.outcomes == ["succeeded"]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, "succeeded") for status in (200, 204, 404, 409, 422, 501)),
        *((status, "failed") for status in (429, 500, 502, 503, 599)),
    ],
)
async def test_what_counts(status: int, outcome: str, bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(status, b"" if status == 204 else b"words"))
    async with bank.client(base_url=flaky.url) as http:
        answer = await http.post("/charge")
    assert answer.status_code == status
    assert guard.outcomes == [outcome]


async def test_statuses_are_the_users_to_say(guard: CountingGuard, flaky: Flaky) -> None:
    bank = Upstream("bank", guard, classify=Classify(failure_statuses=frozenset({404})))
    flaky.will(Say(404), Say(500))
    async with bank.client(base_url=flaky.url) as http:
        await http.post("/")
        await http.post("/")
    assert guard.outcomes == ["failed", "succeeded"]


@pytest.mark.parametrize("status", [429, 503])
async def test_raise_for_status_knows_its_upstream(
    status: int, bank: Upstream, guard: CountingGuard, flaky: Flaky
) -> None:
    flaky.will(Say(status, headers=(("Retry-After", "30"),)))
    async with bank.client(base_url=flaky.url) as http:
        answer = await http.post("/charge")
    with pytest.raises(httpx.HTTPStatusError) as raised:
        answer.raise_for_status()
    assert blamed_upstream(raised.value) == ("bank", 30.0)
    assert guard.retry_afters == [30.0]


async def test_a_refusal_of_ours_is_not_the_upstreams(bank: Upstream, flaky: Flaky) -> None:
    flaky.will(Say(404))
    async with bank.client(base_url=flaky.url) as http:
        answer = await http.get("/charge")
    with pytest.raises(httpx.HTTPStatusError) as raised:
        answer.raise_for_status()
    assert blamed_upstream(raised.value) is None


async def test_no_connection_raises_as_httpx_does(bank: Upstream, guard: CountingGuard) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with bank.client() as http:
            with pytest.raises(httpx.ConnectError) as raised:
                await http.post(url)
            assert blamed_upstream(raised.value) == ("bank", None)
            with pytest.raises(httpx.ConnectError):
                await http.get(url)
    assert guard.outcomes == ["failed"] * 4
    assert guard.asked == 2


async def test_our_own_timeout_is_a_failure(guard: CountingGuard, flaky: Flaky) -> None:
    guard.timeout_s = 0.1
    flaky.will(Say(delay_s=5))
    async with Upstream("bank", guard).client(base_url=flaky.url) as http:
        with pytest.raises(httpx.TimeoutException) as raised:
            await http.get("/slow")
    assert guard.outcomes == ["failed"]
    assert blamed_upstream(raised.value) == ("bank", None)


async def test_a_server_that_drips_its_headers_is_bounded_as_a_whole(guard: CountingGuard) -> None:
    """Each read is quick; httpx alone would read on for ever."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\n")
        try:
            for number in range(1000):
                writer.write(b"X-%d: y\r\n" % number)
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()

    guard.timeout_s = 0.2
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server, Upstream("bank", guard).client() as http:
        async with asyncio.timeout(5):
            with pytest.raises(httpx.ReadTimeout, match=r"within 0\.2 s"):
                await http.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        server.close()
    assert guard.outcomes == ["failed"]


async def test_a_request_may_have_a_shorter_timeout_and_not_a_longer_one(guard: CountingGuard, flaky: Flaky) -> None:
    guard.timeout_s = 0.2
    flaky.default = Say(delay_s=5)
    async with Upstream("bank", guard).client(base_url=flaky.url) as http, asyncio.timeout(2):
        with pytest.raises(httpx.TimeoutException):
            await http.post("/", timeout=0.05)
        with pytest.raises(httpx.TimeoutException):
            await http.post("/", timeout=60)
        with pytest.raises(httpx.TimeoutException):
            await http.post("/", timeout=None)
    assert guard.outcomes == ["failed"] * 3


async def test_a_cancelled_call_is_no_outcome(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(delay_s=5))
    async with bank.client(base_url=flaky.url) as http:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await http.get("/slow")
    assert guard.outcomes == ["ignored"]


async def test_an_error_of_our_own_is_no_outcome(bank: Upstream, guard: CountingGuard) -> None:
    async with bank.client() as http:
        with pytest.raises(httpx.UnsupportedProtocol):
            await http.get("gopher://example")
    assert guard.outcomes == ["ignored"]


async def test_a_refused_call_is_not_sent(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    guard.refuse_after = 0
    async with bank.client(base_url=flaky.url) as http:
        with pytest.raises(BreakerOpen) as refused:
            await http.get("/")
    assert blamed_upstream(refused.value) == ("bank", 7.0)
    assert flaky.heard == []


# -- repeats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [Say(502), Say(503), Say(504), Say(429), Say(drop="before")])
async def test_a_read_is_tried_again(bad: Say, bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(bad, bad)
    async with bank.client(base_url=flaky.url) as http:
        assert (await http.get("/invoice")).text == "fine"
    assert guard.outcomes == ["failed", "failed", "succeeded"]
    assert guard.asked == 2


async def test_a_repeat_does_not_wait_for_the_connection_of_the_try_before(bank: Upstream, flaky: Flaky) -> None:
    flaky.will(Say(503, b"busy" * 100_000), Say(503, b"busy" * 100_000))
    async with bank.client(base_url=flaky.url, limits=httpx.Limits(max_connections=1), timeout=2) as http:
        assert (await http.get("/")).text == "fine"


async def test_at_most_so_often(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.default = Say(503, b"busy")
    async with bank.client(base_url=flaky.url) as http:
        answer = await http.get("/")
        assert (answer.status_code, answer.text) == (503, "busy")
    async with bank.client(base_url=flaky.url, retries=0) as http:
        await http.get("/")
    assert guard.outcomes == ["failed"] * 4
    assert guard.asked == 2


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_what_may_have_an_effect_is_not(method: str, bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(503))
    async with bank.client(base_url=flaky.url) as http:
        assert (await http.request(method, "/")).status_code == 503
    assert len(flaky.heard) == 1


async def test_unless_it_is_idempotent_and_asked_for(bank: Upstream, flaky: Flaky) -> None:
    flaky.will(Say(503))
    async with bank.client(base_url=flaky.url, retry_methods=("get", "PUT")) as http:
        assert (await http.put("/", content=b"all of it")).status_code == 200
    assert [each.body for each in flaky.heard] == [b"all of it"] * 2


async def test_a_500_is_not_tried_again(bank: Upstream, flaky: Flaky) -> None:
    flaky.will(Say(500))
    async with bank.client(base_url=flaky.url) as http:
        assert (await http.get("/")).status_code == 500
    assert len(flaky.heard) == 1


async def test_no_budget_no_repeat(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    guard.budget = 1
    flaky.default = Say(503)
    async with bank.client(base_url=flaky.url) as http:
        assert (await http.get("/")).status_code == 503
    assert (len(flaky.heard), guard.asked) == (2, 2)


async def test_a_breaker_that_opens_meanwhile_leaves_the_answer(
    bank: Upstream, guard: CountingGuard, flaky: Flaky
) -> None:
    guard.refuse_after = 1
    flaky.will(Say(503, b"the bank is shut"))
    async with bank.client(base_url=flaky.url) as http:
        async with http.stream("GET", "/") as answer:
            assert await answer.aread() == b"the bank is shut"
        guard.refuse_after = 2
        flaky.will(Say(drop="before"))
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/")
    assert guard.outcomes == ["failed", "failed"]


async def test_a_short_retry_after_is_waited_for(bank: Upstream, flaky: Flaky) -> None:
    flaky.will(Say(503, headers=(("Retry-After", "1"),)))
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with bank.client(base_url=flaky.url) as http:
        assert (await http.get("/")).status_code == 200
    assert 1.0 <= loop.time() - began < 4


@pytest.mark.parametrize("after", ["60", "Fri, 31 Dec 2999 23:59:59 GMT"])
async def test_a_long_one_is_the_callers(after: str, bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(429, headers=(("Retry-After", after),)))
    async with bank.client(base_url=flaky.url) as http:
        assert (await http.get("/")).status_code == 429
    assert len(flaky.heard) == 1
    assert guard.asked == 0
    assert (guard.retry_afters[0] or 0) >= 60


async def test_a_cancel_while_it_waits_leaves_nothing_open(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(503, headers=(("Retry-After", "4"),)))
    async with bank.client(base_url=flaky.url) as http:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await http.get("/")
    assert guard.outcomes == ["failed"]


# -- bodies -------------------------------------------------------------------------------------


async def test_a_call_is_over_when_its_body_is(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(body=b"ab" * 1000))
    async with bank.client(base_url=flaky.url) as http:
        async with http.stream("GET", "/big") as answer:
            assert (answer.status_code, guard.under_way, guard.outcomes) == (200, 1, [])
            assert len(await answer.aread()) == 2000
        assert guard.outcomes == ["succeeded"]


async def test_a_body_that_breaks_off_is_a_failure(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(drop="half"))
    async with bank.client(base_url=flaky.url) as http:
        with pytest.raises(httpx.RemoteProtocolError) as raised:
            await http.post("/")
    assert blamed_upstream(raised.value) == ("bank", None)
    assert guard.outcomes == ["failed"]


async def test_one_of_a_failed_answer_is_blamed_and_counts_once(
    bank: Upstream, guard: CountingGuard, flaky: Flaky
) -> None:
    flaky.will(Say(500, drop="half"))
    async with bank.client(base_url=flaky.url) as http:
        with pytest.raises(httpx.RemoteProtocolError) as raised:
            await http.post("/")
    assert blamed_upstream(raised.value) == ("bank", None)
    assert guard.outcomes == ["failed"]


async def test_a_body_that_stalls_is_a_failure(guard: CountingGuard, flaky: Flaky) -> None:
    guard.timeout_s = 0.1
    flaky.will(Say(body_delay_s=1))
    async with Upstream("bank", guard).client(base_url=flaky.url) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/")
    assert guard.outcomes == ["failed"]


async def test_a_reader_that_stops_early_is_content(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(body=b"ab" * 200_000))
    async with bank.client(base_url=flaky.url) as http, http.stream("GET", "/big") as answer:
        async for _ in answer.aiter_bytes(10):
            break
    assert guard.outcomes == ["succeeded"]


async def test_a_reader_that_closes_its_iterator_is_content_too(
    bank: Upstream, guard: CountingGuard, flaky: Flaky
) -> None:
    flaky.will(Say(body=b"ab" * 200_000))
    async with bank.client(base_url=flaky.url) as http, http.stream("GET", "/big") as answer:
        parts = answer.stream.__aiter__()  # type: ignore[union-attr]
        await anext(parts)
        await parts.aclose()  # type: ignore[attr-defined]
    assert guard.outcomes == ["succeeded"]


async def test_an_answer_that_nobody_closed_gives_its_permit_back(
    bank: Upstream, guard: CountingGuard, flaky: Flaky
) -> None:
    async with bank.client(base_url=flaky.url) as http:
        await http.send(http.build_request("GET", "/"), stream=True)
        assert guard.under_way == 1
    assert guard.outcomes == ["ignored"]


# -- what is around -----------------------------------------------------------------------------


async def test_redirects_are_calls_of_their_own(bank: Upstream, guard: CountingGuard, flaky: Flaky) -> None:
    flaky.will(Say(302, b"", headers=(("Location", "/there"),)))
    async with bank.client(base_url=flaky.url, follow_redirects=True) as http:
        assert (await http.get("/here")).text == "fine"
    assert [each.path for each in flaky.heard] == ["/here", "/there"]
    assert guard.outcomes == ["succeeded", "succeeded"]


async def test_proxies_of_the_environment_stay_and_are_guarded(
    bank: Upstream, guard: CountingGuard, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", flaky.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with bank.client() as http:
        assert (await http.get("http://bank.example/balance")).text == "fine"
    assert flaky.heard[0].path == "http://bank.example/balance"
    assert guard.outcomes == ["succeeded"]


async def test_a_transport_of_the_users_is_guarded(bank: Upstream, guard: CountingGuard) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    async with bank.client(transport=httpx.ASGITransport(app), base_url="http://bank", retries=1) as http:
        assert (await http.get("/")).status_code == 503
    assert guard.outcomes == ["failed", "failed"]


async def test_outside_of_jobs_nothing_is_added(bank: Upstream, flaky: Flaky) -> None:
    async with bank.client(base_url=flaky.url) as http:
        await http.post("/", json={})
    added = {"idempotency-key", "headrace-fence", "traceparent", "x-envoy-expected-rq-timeout-ms"}
    assert not added & set(flaky.heard[0].headers)


@pytest.mark.parametrize("wrong", [{"retries": -1}, {"retries": 11}, {"retry_methods": ("GET", "POST")}])
def test_what_cannot_work_is_refused(wrong: dict[str, object], bank: Upstream) -> None:
    with pytest.raises(InvalidConfig):
        bank.client(**wrong)  # type: ignore[arg-type]


def test_without_httpx_it_says_what_to_install(bank: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.app.upstream.find_spec", lambda name: None)
    with pytest.raises(InvalidConfig, match=r"headrace\[http\]"):
        bank.client()
    with pytest.raises(InvalidConfig, match=r"headrace\[http\]"):
        bank.client_sync()
