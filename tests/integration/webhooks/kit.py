"""A receiver of webhooks, plain or behind TLS, and a resolver that says what a test wants."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from headrace import Headrace, Retry, Webhook, verify_webhook
from headrace.core.model import JobFilter, JobRecord
from tests.integration.calling.flaky import Flaky, Heard

T = TypeVar("T")

LOCAL = ("127.0.0.0/8",)
QUICKLY = Retry(schedule=(0.05,) * 4, jitter=False)
NAME = "partner.example"


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Flaky]:
    """A server on this loop that answers as it is told."""
    flaky = Flaky()
    server = await asyncio.start_server(flaky.answer, "127.0.0.1", 0, ssl=tls)
    flaky.port = server.sockets[0].getsockname()[1]
    try:
        yield flaky
    finally:
        server.close()
        rest = tuple(flaky.answering)
        for each in rest:
            each.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        for writer in flaky.writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


def endpoint(hr: Headrace, flaky: Flaky, name: str = "partner", **options: Any) -> Webhook:
    """A webhook at the receiver."""
    return hr.webhook(name, f"{flaky.url}/hooks", **{"allow": LOCAL, "insecure": True, "timeout": 5, **options})


async def publish(webhook: Webhook, event: object, kind: str | None = "order.paid", using: object = None) -> str:
    """Publish; the event's id."""
    return str(await webhook.task.headrace.publish(webhook, event, type=kind, using=using))


async def deliveries(hr: Headrace, name: str = "partner") -> list[JobRecord]:
    """The jobs of a webhook, oldest first."""
    await hr.open()
    return list((await hr.store.find(JobFilter(task=f"webhook:{name}"), limit=100)).jobs)[::-1]


async def ended(hr: Headrace, count: int = 1, name: str = "partner") -> list[JobRecord]:
    """The jobs of a webhook once so many have ended."""

    async def look() -> list[JobRecord]:
        found = await deliveries(hr, name)
        return found if sum(job.state.terminal for job in found) >= count else []

    return await until(look)


async def until(look: Callable[[], Awaitable[T]]) -> T:
    """What somebody asks, once it is true."""
    async with asyncio.timeout(20):
        while not (found := await look()):  # noqa: ASYNC110 - what is asked has no event
            await asyncio.sleep(0.02)
    return found


async def verified(webhook: Webhook, heard: Heard) -> dict[str, Any]:
    """The event of a delivery, once its signature was found right."""
    secrets = [secret.reveal() for secret in await webhook.secrets()]
    delivery = verify_webhook(heard.headers, heard.body, secrets)
    assert delivery.id == heard.headers["webhook-id"]
    return dict(json.loads(heard.body))


@dataclass
class Names:
    """What the resolver says of a name, one answer a question, the last one for ever."""

    answers: list[Sequence[str]] = field(default_factory=list[Sequence[str]])
    asked: int = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = socket.getaddrinfo

        def ask(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host not in (NAME, NAME.encode()):
                return whole(host, port, *args, **kwargs)
            said = self.answers[min(self.asked, len(self.answers) - 1)]
            self.asked += 1
            if not said:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [
                (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
                for each in said
            ]

        monkeypatch.setattr(socket, "getaddrinfo", ask)
