"""Notifiers on one database of a real server: each stands for a process."""

import os
import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest

from headrace.notifiers import postgres_line
from headrace.notifiers.postgres import PostgresNotifier
from headrace.notifiers.postgres_line import channel_of
from tests.integration.notifiers.kit import Admin, Make, sessions, until


@pytest.fixture
async def make(postgres_url: str) -> AsyncIterator[Make]:
    made: list[PostgresNotifier] = []

    def new(url: str = postgres_url, schema: str = "headrace") -> PostgresNotifier:
        made.append(PostgresNotifier(url, schema))
        return made[-1]

    yield new
    for notifier in made:
        await notifier.stop()


@pytest.fixture
async def pair(make: Make) -> tuple[PostgresNotifier, PostgresNotifier]:
    """Two that are known to hear; the first has the older session."""
    one, other = make(), make()
    for each in (one, other):
        await each.start()
        await until(lambda each=each: each.working)
    return one, other


@pytest.fixture
async def admin(postgres_url: str) -> AsyncIterator[Admin]:
    connection = await asyncpg.connect(postgres_url, timeout=10)
    yield connection
    connection.terminate()


@pytest.fixture
async def messages(admin: Admin) -> list[str]:
    """What goes over the channel, probes left out."""
    seen: list[str] = []

    def keep(connection: object, pid: int, channel: str, payload: object) -> None:
        _, _, message = str(payload).partition(" ")
        if not message.startswith("?"):
            seen.append(message.partition(" ")[2] if message.startswith("#") else message)

    await admin.add_listener(channel_of("headrace"), keep)
    return seen


@pytest.fixture
async def stuck(make: Make, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresNotifier]:
    """One that worked, until its session stood still."""
    monkeypatch.setattr(PostgresNotifier, "probe_every_s", 0.1)
    monkeypatch.setattr(postgres_line, "ANSWER_S", 0.5)
    monkeypatch.setattr(postgres_line, "CLOSE_S", 0.1)
    notifier = make()
    await notifier.start()
    await until(lambda: notifier.working)
    (its,) = await sessions(admin, 1)
    os.kill(its, signal.SIGSTOP)
    yield notifier
    os.kill(its, signal.SIGCONT)
