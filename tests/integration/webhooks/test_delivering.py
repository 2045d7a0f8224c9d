"""Events on their way to a real receiver: signed, tried again, held, disabled, replayed."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from headrace import Breaker, CloudEvent, Headrace, InvalidWebhook, JobContext, JobState, verify_webhook
from headrace.app import webhooks
from headrace.core.fleet import BreakerState
from headrace.core.ids import as_uuid
from headrace.core.model import AttemptOutcome, Cause, JobRecord
from headrace.core.retry import Retry
from headrace.core.webhooks import Secret
from headrace.runtime import promises
from tests.integration.calling.flaky import Flaky, Say
from tests.integration.webhooks.kit import deliveries, ended, endpoint, publish, until, verified


async def test_an_event_arrives_signed_and_the_job_says_how_it_was_answered(
    hr: Headrace, receiver: Flaky, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    partner = endpoint(hr, receiver)
    receiver.will(Say(202, b"thanks"))
    async with hr.embedded():
        event_id = await publish(partner, {"order": 7})
        (job,) = await ended(hr)
    (heard,) = receiver.heard
    event = await verified(partner, heard)
    assert (heard.method, heard.path, heard.headers["webhook-id"]) == ("POST", "/hooks", event_id)
    assert heard.headers["content-type"] == "application/cloudevents+json"
    assert (event["type"], event["source"], event["data"]) == ("order.paid", "headrace", {"order": 7})
    assert abs(int(heard.headers["webhook-timestamp"]) - time.time()) < 10
    assert {"headrace-fence", "idempotency-key", "cookie", "x-envoy-expected-rq-timeout-ms"}.isdisjoint(heard.headers)
    assert (job.state, job.queue, job.tags) == (JobState.SUCCEEDED, "webhooks", ("order.paid",))
    assert "hooks" not in caplog.text  # the path of a webhook is often its secret
    assert {**json.loads(job.result or ""), "seconds": 0} == {"status": 202, "seconds": 0, "body": "thanks"}
    with pytest.raises(InvalidWebhook, match="no signature is right"):
        verify_webhook(heard.headers, heard.body + b" ", (await partner.secrets())[0].reveal())


async def test_what_fails_comes_again_under_the_same_id_and_each_answer_is_kept(hr: Headrace, receiver: Flaky) -> None:
    partner = endpoint(hr, receiver)
    receiver.will(Say(500, b"oops\nagain"), Say(drop="before"), Say(404))
    async with hr.embedded():
        await publish(partner, {"order": 7})
        (job,) = await ended(hr)
    assert (job.state, job.failures) == (JobState.SUCCEEDED, 3)
    assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1
    for heard in receiver.heard:
        await verified(partner, heard)
    told = [each.failure.message for each in await hr.store.attempts(job.id) if each.failure is not None]
    assert told[0] == "it answered 500 Internal Server Error: oops again"
    assert "RemoteProtocolError" in told[1]
    assert told[2] == "it answered 404 Not Found: fine"


async def test_the_last_failure_ends_it_and_a_replay_sends_it_once_more(hr: Headrace, receiver: Flaky) -> None:
    partner = endpoint(hr, receiver)
    receiver.default = Say(400, b"bad")
    async with hr.embedded():
        event_id = await publish(partner, {"order": 7})
        (job,) = await ended(hr)
        assert (job.state, len(receiver.heard)) == (JobState.FAILED, 5)
        receiver.default = Say()
        assert (await hr.replay_delivery(as_uuid(job.id))).id.bytes == job.id
        (job,) = await ended(hr)
        assert job.state is JobState.SUCCEEDED
        again = await hr.replay_delivery(as_uuid(job.id))
        assert (again.created, again.id.bytes == job.id) == (True, False)
        await ended(hr, 2)
    assert {heard.headers["webhook-id"] for heard in receiver.heard} == {event_id}
    assert len(receiver.heard) == 7


async def test_with_two_secrets_each_is_right(hr: Headrace, receiver: Flaky) -> None:
    old, new = (Secret(bytes([at]) * 32).reveal() for at in (1, 2))
    partner = endpoint(hr, receiver, secret=[new, old])
    async with hr.embedded():
        await publish(partner, {})
        await ended(hr)
    (heard,) = receiver.heard
    for secret in (old, new):
        verify_webhook(heard.headers, heard.body, secret)
    assert old not in repr(partner) + str(partner.__dict__)


async def test_a_secret_is_made_once_for_all_processes(hr: Headrace, receiver: Flaky) -> None:
    other = Headrace(hr.settings.store)
    mine, theirs = [await endpoint(each, receiver).secrets() for each in (hr, other)]
    assert mine == theirs
    await other.close()


async def test_gone_disables_it_for_all_processes_and_what_is_published_waits(hr: Headrace, receiver: Flaky) -> None:
    partner, other = endpoint(hr, receiver), Headrace(hr.settings.store)
    theirs = endpoint(other, receiver)
    receiver.will(Say(410, b"moved out"))
    async with hr.embedded(), other.embedded():
        await publish(partner, {"order": 1})
        (job,) = await ended(hr)
        assert (job.state, job.failure and job.failure.cause) == (JobState.FAILED, Cause.ABANDONED)
        assert job.failure is not None
        assert job.failure.message.startswith("it answered 410 Gone: moved out; nothing is sent there until")
        await asyncio.sleep(1)  # until every process has looked
        await publish(partner, {"order": 2})
        await publish(theirs, {"order": 3})
        await asyncio.sleep(0.5)
        assert [each.state for each in await deliveries(hr)] == [JobState.FAILED, JobState.READY, JobState.READY]
        assert len(receiver.heard) == 1
        (record,) = await other.webhooks()
        assert (record.enabled, record.upstream and record.upstream.reason) == (
            False,
            "it answered 410 Gone: moved out",
        )
        await other.enable_webhook("partner")
        assert [each.attempt for each in (await ended(hr, 3))[1:]] == [1, 1]
    assert len(receiver.heard) == 3
    await other.close()


async def test_an_endpoint_that_is_down_holds_its_deliveries(hr: Headrace, receiver: Flaky) -> None:
    breaker = Breaker(
        minimum_number_of_calls=3,
        wait_duration_in_open_state=1,
        permitted_number_of_calls_in_half_open_state=1,
        ramp=0,
    )
    partner, fine = endpoint(hr, receiver, breaker=breaker), endpoint(hr, receiver, "fine", breaker=breaker)
    receiver.will(*(Say(503) for _ in range(3)))
    async with hr.embedded():
        for order in range(3):
            await publish(partner, {"order": order})
        await until(lambda: _is_open(hr))
        late = [await publish(partner, {"late": order}) for order in range(5)]
        await publish(fine, {})
        await ended(hr, 1, "fine")  # others are not held
        jobs = await ended(hr, 8)
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
    held = [job for job in jobs if json.loads(job.args)["id"] in late]
    assert [(job.failures, job.attempt) for job in held] == [(0, 1)] * 5
    assert sum(job.failures for job in jobs) == 3


async def test_what_it_asks_for_is_waited_for(hr: Headrace, receiver: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    partner = endpoint(hr, receiver)
    receiver.will(Say(429, headers=(("Retry-After", "3600"),)))
    async with hr.embedded():
        await publish(partner, {})
        job = await until(lambda: _scheduled(hr))
    assert job.failure is not None
    assert job.failure.message == "it answered 429 Too Many Requests: fine"
    assert 3590 < (job.run_at or 0) - time.time() <= 3600


async def test_a_short_word_does_not_use_up_the_attempts(
    hr: Headrace, receiver: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly = Retry(schedule=(600.0,), jitter=0.2)
    monkeypatch.setattr(webhooks, "SCHEDULE", slowly)
    monkeypatch.setattr("headrace.runtime.webhook.SCHEDULE", slowly)
    partner = endpoint(hr, receiver)
    receiver.will(Say(503, headers=(("Retry-After", "0"),)))
    async with hr.embedded():
        await publish(partner, {})
        job = await until(lambda: _scheduled(hr))
    assert 470 < (job.run_at or 0) - time.time() <= 600


@pytest.mark.parametrize(
    ("answer", "body_s", "kept"),
    [
        (Say(200, b"x" * (1 << 20), body_delay_s=60), 30.0, "x" * 300),
        (Say(200, b"slowly", body_delay_s=60), 0.1, "slo"),
        (Say(200, b"half", drop="half"), 30.0, "ha"),
        (Say(200, b"\x1f\x8b\0\0", headers=(("Content-Encoding", "gzip"),)), 30.0, ""),
        (Say(200, b"\xff\0"), 30.0, "\ufffd\ufffd"),
    ],
    ids=["flood", "drops", "broken", "packed", "no text"],
)
async def test_of_an_answer_little_is_read_and_not_for_long(
    hr: Headrace, receiver: Flaky, monkeypatch: pytest.MonkeyPatch, *, answer: Say, body_s: float, kept: str
) -> None:
    monkeypatch.setattr("headrace.runtime.webhook.BODY_S", body_s)
    partner = endpoint(hr, receiver, timeout=30)
    receiver.will(answer)
    began = time.monotonic()
    async with hr.embedded():
        await publish(partner, {})
        (job,) = await ended(hr)
    assert time.monotonic() - began < 10
    assert json.loads(job.result or "")["body"] == kept


async def test_a_silent_receiver_is_a_failure_after_the_timeout(hr: Headrace, receiver: Flaky) -> None:
    partner = endpoint(hr, receiver, timeout=0.3)
    receiver.will(Say(delay_s=20))
    async with hr.embedded():
        await publish(partner, {})
        (job,) = await ended(hr)
    first, _ = await hr.store.attempts(job.id)
    assert first.outcome is AttemptOutcome.RETRY
    assert first.failure is not None
    assert first.failure.message == "there was no answer within 0.3 s"


async def test_events_of_other_types_make_no_job_and_a_published_one_only_one(hr: Headrace, receiver: Flaky) -> None:
    partner = endpoint(hr, receiver, types=["order.*"])
    await publish(partner, {}, "invoice.sent")
    await publish(partner, {}, None)
    event = CloudEvent(id="7", source="/shop", type="order.paid", data=b"{}", datacontenttype="application/json")
    ids = {await publish(partner, event, None) for _ in range(3)}
    (job,) = await deliveries(hr)
    assert ids == {json.loads(job.args)["id"]}


async def test_a_job_publishes_once_whatever_its_attempts_and_its_deadline_is_not_the_events(
    hr: Headrace, receiver: Flaky
) -> None:
    partner = endpoint(hr, receiver)

    @hr.task(retry=Retry(initial=0.01))
    async def pay(ctx: JobContext) -> None:
        await ctx.publish(partner, {"order": 7}, type="order.paid")
        if ctx.attempt == 1:
            raise RuntimeError("try again")

    paid = await pay.options(deadline=60).enqueue()
    async with hr.embedded():
        await paid.result(timeout=20)
        (job,) = await ended(hr)
    assert (job.deadline_at, len(receiver.heard)) == (None, 1)


async def _is_open(hr: Headrace) -> bool:
    return any(
        each.name == "webhook:partner" and each.state is not BreakerState.CLOSED for each in await hr.upstreams()
    )


async def _scheduled(hr: Headrace) -> JobRecord | None:
    (job,) = await deliveries(hr)
    return job if job.state is JobState.SCHEDULED else None


@pytest.fixture
async def session(hr: Headrace) -> AsyncIterator[AsyncSession]:
    await hr.open()
    scheme, _, where = hr.settings.store.partition("://")
    engine = create_async_engine(f"{'sqlite+aiosqlite' if scheme == 'sqlite' else 'postgresql+asyncpg'}://{where}")
    async with AsyncSession(engine) as made:
        yield made
    await engine.dispose()


async def test_it_lands_with_the_users_transaction_or_not_at_all(
    hr: Headrace, receiver: Flaky, session: AsyncSession
) -> None:
    partner = endpoint(hr, receiver)
    await publish(partner, {"order": 1}, using=session)
    await session.rollback()
    assert await deliveries(hr) == []
    await publish(partner, {"order": 2}, using=session)
    await session.commit()
    (job,) = await deliveries(hr)
    assert '"order":2' in json.loads(job.args)["body"]


async def test_an_end_whose_result_would_make_it_too_large_is_told_without_it(
    hr: Headrace, receiver: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promises, "SWEEP_S", 0.05)
    hr.outcomes(endpoint(hr, receiver), data="result")

    @hr.task()
    async def much() -> list[str]:
        return ["ä"] * 200_000  # 1.0 MB of JSON, and 1.4 MB once it is a text in the arguments of a delivery

    async with hr.embedded():
        job = await much.enqueue()
        await ended(hr)
        async with asyncio.timeout(10):
            while (await hr.post.promised(None, 10)).ended:  # noqa: ASYNC110 - a sweep brings it about
                await asyncio.sleep(0.05)
    (heard,) = receiver.heard
    said = json.loads(heard.body)["data"]
    assert (said["id"], said["result"], said["result_too_large"]) == (str(job.id), None, True)
