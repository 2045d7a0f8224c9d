"""Webhooks as they are defined, listed, enabled and replayed; nothing is sent."""

import sqlite3
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace import (
    Headrace,
    IllegalTransition,
    InvalidConfig,
    InvalidEvent,
    NotEncodable,
    PayloadTooLarge,
    UnknownJob,
    UnknownWebhook,
    UsageError,
    verify_webhook,
)
from headrace.app.webhook_views import delivery_view, last_answer, webhook_view
from headrace.core.fleet import BreakerState
from headrace.core.webhooks import Secret, signed_headers

URL = "https://partner.example/hooks?token=hidden"
SECRET = Secret(b"s" * 32).reveal()


@pytest.fixture
async def hr() -> AsyncIterator[Headrace]:
    made = Headrace("memory://")
    yield made
    await made.close()


def test_what_it_is_made_of(hr: Headrace) -> None:
    partner = hr.webhook("partner", URL, secret=SECRET, timeout=2)
    definition = partner.task.definition
    assert (definition.name, definition.queue, definition.needs) == (
        "webhook:partner",
        "webhooks",
        ("webhook:partner",),
    )
    assert (definition.retry.max_attempts, definition.timeout_s, definition.public) == (10, 32, False)
    assert "hidden" not in repr(partner)
    hr.check()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": f"https://{'x' * 64}.example/"}, "the webhook 'partner': write its URL"),
        ({"url": "http://partner.example/"}, "the webhook 'partner': its URL begins with https://"),
        ({"secret": "whsec_short"}, "the webhook 'partner': a webhook secret"),
        ({"secret": ""}, "has 24 to 64 bytes, and this one 0"),
        ({"secret": []}, "give one secret, or two"),
        ({"secret": [SECRET] * 5}, "give one secret, or two"),
        ({"types": ["no type"]}, "types are texts as order.paid"),
        ({"allow": "10.0.0.0/8"}, "allow is a list of networks"),
        ({"allow": ["10.0.0.1/8"]}, "allow has '10.0.0.1/8', which is an address of the network 10.0.0.0/8"),
        ({"timeout": 61}, "timeout"),
        ({"timeout": 0}, "timeout"),
    ],
    ids=str,
)
def test_what_cannot_be_one(hr: Headrace, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        hr.webhook("partner", **{"url": URL, **options})
    assert "hidden" not in str(caught.value)
    assert hr.endpoints == {}


def test_a_name_is_taken_once_and_is_not_too_long(hr: Headrace) -> None:
    hr.webhook("partner", URL)
    with pytest.raises(InvalidConfig, match="the webhook 'partner' is defined twice"):
        hr.webhook("partner", URL, timeout=3)
    for name in ("x" * 57, "", "a/b", "a b", "é", None):
        with pytest.raises(InvalidConfig, match="a webhook's name has 1 to 56"):
            hr.webhook(name, URL)  # type: ignore[arg-type]
    hr.webhook("x" * 56, URL)


def test_without_httpx_it_says_what_to_install(hr: Headrace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.app.webhooks.find_spec", lambda _: None)
    with pytest.raises(InvalidConfig, match=r"needs httpx: pip install 'headrace\[http\]'"):
        hr.webhook("partner", URL)


async def test_what_cannot_be_sent_is_refused_when_it_is_published(hr: Headrace) -> None:
    partner = hr.webhook("partner", URL)
    with pytest.raises(InvalidEvent, match="not UTF-8"):
        await hr.publish(partner, b"\xff")
    with pytest.raises(UsageError, match="leave headers= out"):
        await hr.publish(partner, {}, headers={"X-One": "1"})
    with pytest.raises(NotEncodable):
        await hr.publish(partner, {"n": float("nan")})
    with pytest.raises(NotEncodable, match="NUL"):
        await hr.publish(partner, b"a\0b")
    with pytest.raises(PayloadTooLarge):
        await hr.publish(partner, "x" * (1 << 20))
    assert await hr.jobs() == []


async def test_the_same_event_is_one_job_even_if_the_time_in_it_differs(hr: Headrace) -> None:
    partner = hr.webhook("partner", URL)
    first = await hr.publish(partner, {"n": 1}, type="order.paid", id="order-7")
    assert await hr.publish(partner, {"n": 2}, type="order.paid", id="order-7") == first
    assert await hr.publish(partner, {"n": 1}, type="order.paid") != first
    assert len(await hr.jobs(task="webhook:partner")) == 2
    assert len(await hr.jobs(tag="order.paid")) == 2


def test_blocking(hr: Headrace) -> None:
    partner = hr.webhook("partner", URL)
    hr.publish_sync(partner, {"n": 1})
    assert hr.wait(hr.jobs(), "")[0].args is not None
    hr.close_sync()


def test_blocking_within_a_transaction(tmp_path: Path) -> None:
    hr = Headrace(f"sqlite:///{tmp_path / 'jobs.db'}")
    partner = hr.webhook("partner", URL)
    hr.wait(hr.open(), "")
    mine = sqlite3.connect(tmp_path / "jobs.db")
    hr.publish_sync(partner, {"n": 1}, using=mine)
    mine.rollback()
    assert hr.wait(hr.jobs(), "") == []
    hr.publish_sync(partner, {"n": 1}, using=mine)
    mine.commit()
    assert len(hr.wait(hr.jobs(), "")) == 1
    mine.close()
    hr.close_sync()


async def test_it_is_listed_from_its_definition_on(hr: Headrace) -> None:
    partner = hr.webhook("partner", URL, types=["order.*", "x"])
    (record,) = await hr.webhooks()
    assert webhook_view(record) == {
        "name": "partner",
        "endpoint": "https://partner.example",
        "types": ["order.*", "x"],
        "enabled": True,
        "state": None,
        "since": None,
        "reason": "",
        "last": None,
    }
    await hr.publish(partner, {}, type="x", id="00000000-0000-4000-8000-000000000007")
    (record,) = await hr.webhooks()
    assert record.last is not None
    assert {**delivery_view(record.last), "job": "", "created_at": ""} == {
        "job": "",
        "event": "00000000-0000-4000-8000-000000000007",
        "type": "x",
        "state": "ready",
        "failures": 0,
        "created_at": "",
        "answer": None,
    }


async def test_disabled_and_enabled(hr: Headrace) -> None:
    hr.webhook("partner", URL)
    with pytest.raises(UnknownWebhook, match="there is no webhook 'tank'"):
        await hr.enable_webhook("tank")
    assert (await hr.enable_webhook("partner")).enabled
    await hr.force_upstream("webhook:partner", "open")
    other = Headrace("memory://")
    other.services.store = hr.services.store
    (record,) = await other.webhooks()  # a process that has not defined it
    assert (record.name, record.defined, record.enabled) == ("partner", None, False)
    enabled = await other.enable_webhook("partner")
    assert (enabled.enabled, enabled.upstream and enabled.upstream.state) == (True, BreakerState.CLOSED)


async def test_what_is_replayed_has_ended_and_is_a_delivery(hr: Headrace) -> None:
    partner = hr.webhook("partner", URL)

    @hr.task()
    async def other() -> None:
        pass

    with pytest.raises(UnknownJob, match="no delivery"):
        await hr.replay_delivery(uuid.UUID(int=0))
    with pytest.raises(UsageError, match="a job's id is a UUID"):
        await hr.replay_delivery("7")
    with pytest.raises(UnknownJob, match="no delivery"):
        await hr.replay_delivery((await other.enqueue()).id)
    await hr.publish(partner, {})
    (job,) = await hr.jobs(task="webhook:partner")
    with pytest.raises(IllegalTransition, match="it is ready"):
        await hr.replay_delivery(job.id)
    await job.cancel()
    assert (await hr.replay_delivery(job.id)).id == job.id
    assert (await job.refresh()).state == "ready"
    (record,) = await hr.store.get([job.id.bytes])
    assert record is not None
    assert last_answer(record) is None


def test_verifying_with_this_machines_clock() -> None:
    body = b'{"a": 1}'
    old = signed_headers([Secret.parse(SECRET)], "e1", 1_000_000, body)
    assert verify_webhook(old, body, SECRET, now=1_000_001).id == "e1"
    assert verify_webhook(old, body, ["whsec_" + "A" * 44, SECRET], now=1_000_001).at == 1_000_000
    with pytest.raises(UsageError, match="seconds ago"):
        verify_webhook(old, body, SECRET)
    with pytest.raises(UsageError, match=r"await request.body\(\)"):
        verify_webhook(old, body.decode(), SECRET)  # type: ignore[arg-type]
