"""Brokers that are away, or refuse us: told in one sentence without the password, and the app works by polling."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from redis.asyncio import Redis as Client

from headrace import Headrace, JobContext
from headrace.cli.checks import Grade
from headrace.cli.checks_notifier import check_notifier
from headrace.core.broker import broker
from headrace.notifiers import kafka_line
from headrace.notifiers.brokers import BrokerNotifier
from headrace.settings import Settings
from servers.kafka import Kafka
from servers.nats import Nats
from servers.rabbitmq import RabbitMQ
from servers.redis import Redis
from servers.server import free_port
from tests.integration.notifiers.kit import until

REFUSED = "refuses the user or the password that HEADRACE_NOTIFIER gives, or lets that user do too little"
JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required"
    ' username="admin" password="admin" user_admin="admin" user_ada="right";'
)


@pytest.mark.parametrize("scheme", ["redis", "nats", "amqp", "kafka"])
async def test_a_broker_that_is_away_at_the_start_costs_hints_only(
    scheme: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"{scheme}://ada:s3cret@127.0.0.1:{free_port()}"
    settings = Settings(store=f"sqlite:///{tmp_path}/jobs.db", notifier=url, auth="off", poll_s=0.05)
    hr, app = Headrace(settings=settings), FastAPI()

    @hr.task()
    async def add(ctx: JobContext, one: int, other: int) -> int:
        return one + other

    hr.install(app)
    async with hr.embedded(), AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1") as browser:
        job = await add.enqueue(3, 4)
        assert await job.result(timeout=10) == 7
        await until(lambda: "is not reached" in (hr.notifier.health.trouble or ""))
        ready = await browser.get("/headrace/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        told = ready.json()["notifier"]
        stats = (await browser.get("/headrace/api/stats")).json()["notifier"]
    assert told == {"kind": stats["kind"], "working": False, "trouble": stats["trouble"]}
    assert (stats["working"], stats["echo_s"]) == (False, None)
    assert told["trouble"].startswith(f"{scheme}://ada:…@127.0.0.1:")
    assert "is not reached (" in told["trouble"]
    assert caplog.text.count("no connection for hints") == 1
    assert "s3cret" not in caplog.text
    await hr.close()


async def told(url: str) -> str:
    """What a notifier says of a broker that refuses it."""
    notifier = BrokerNotifier(broker(url, "HEADRACE_NOTIFIER"), lambda: "headrace.test")
    await notifier.start()
    await until(lambda: notifier.health.trouble not in {None, "not connected yet"})
    trouble = notifier.health.trouble
    await notifier.stop()
    return str(trouble)


async def works(url: str) -> None:
    notifier = BrokerNotifier(broker(url, "HEADRACE_NOTIFIER"), lambda: "headrace.test")
    await notifier.start()
    await until(lambda: notifier.working)
    await notifier.stop()


async def test_the_doctor_feels_whether_it_works(redis: Redis, tmp_path: Path) -> None:
    hr = Headrace(f"sqlite:///{tmp_path}/jobs.db", notifier=redis.url())
    await hr.open()
    check = await check_notifier(hr)
    assert check.grade is Grade.OK
    assert check.saw.startswith("hints go by redis, and a probe was back in ")
    await hr.close()


async def test_redis_refuses(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    at = f"127.0.0.1:{redis.port}"
    client: Any = Client.from_url(redis.url())
    await client.execute_command("ACL", "SETUSER", "ada", "on", ">right", "+@all", "allchannels")
    await client.execute_command("ACL", "SETUSER", "bob", "on", ">right", "+@all", "resetchannels")
    await client.aclose()
    assert await told(f"redis://ada:wr0ng@{at}") == f"redis://ada:…@{at} {REFUSED}"
    assert await told(f"redis://bob:right@{at}") == f"redis://bob:…@{at} {REFUSED}"
    await works(f"redis://ada:right@{at}")
    assert "wr0ng" not in caplog.text


async def test_nats_refuses(own: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    users = "{ users: [{ user: any, password: any }, { user: ada, password: right }] }"
    server = await asyncio.to_thread(own, lambda: Nats({"authorization": users, "no_auth_user": "any"}))
    at = f"127.0.0.1:{server.port}"
    assert await told(f"nats://ada:wr0ng@{at}") == f"nats://ada:…@{at} {REFUSED}"
    await works(f"nats://ada:right@{at}")
    assert "wr0ng" not in caplog.text


async def test_rabbitmq_refuses(rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    at = f"127.0.0.1:{rabbitmq.port}"
    assert await told(f"amqp://guest:wr0ng@{at}/") == f"amqp://guest:…@{at} {REFUSED}"
    assert await told(f"amqp://guest:guest@{at}/nowhere") == f"amqp://guest:…@{at}/nowhere {REFUSED}"
    assert "wr0ng" not in caplog.text


async def test_a_kafka_that_says_nothing_is_left_without_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_line, "CONNECT_S", 0.5)
    begun = ended = 0

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun, ended
        begun += 1
        while await reader.read(1000):
            pass
        ended += 1
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        url = f"kafka://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        notifier = BrokerNotifier(broker(url, "HEADRACE_NOTIFIER"), lambda: "headrace.test")
        await notifier.start()
        await until(lambda: notifier.health.trouble not in {None, "not connected yet"})
        await notifier.stop()
        await until(lambda: 0 < begun == ended)


async def test_kafka_refuses(own: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = await asyncio.to_thread(
        own,
        lambda: Kafka(
            {
                "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
                "sasl.enabled.mechanisms": "PLAIN",
                "sasl.mechanism.inter.broker.protocol": "PLAIN",
                "listener.name.plaintext.plain.sasl.jaas.config": JAAS,
            }
        ),
    )
    at = f"127.0.0.1:{server.port}"
    assert await told(f"kafka://ada:wr0ng@{at}") == f"kafka://ada:…@{at} {REFUSED}"
    await works(f"kafka://ada:right@{at}")
    assert "wr0ng" not in caplog.text
