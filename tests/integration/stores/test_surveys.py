"""When a claim looks through the whole index: never before what it has found may start, nor twice for nothing."""

import math
from collections.abc import AsyncIterator

import pytest

from headrace.stores.postgres import PostgresStore, lines
from headrace.stores.postgres.sql import query
from headrace.testing.conformance.store_base import WORKER, ids_of, new_job, register, request

STATEMENTS = {query(name): name for name in ("exchange", "survey", "lines")}


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator[PostgresStore]:
    """Another process's."""
    made = PostgresStore(postgres_url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def store(
    other: PostgresStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PostgresStore]:
    """One that knows of a line, and has just surveyed."""
    monkeypatch.setattr(lines, "_DEAR_S", math.inf)  # on a slow machine one is put off
    await other.enqueue([new_job()])
    made = PostgresStore(postgres_url)
    await made.open()
    await register(made)
    assert (await made.exchange(WORKER, (), request())).claimed
    yield made
    await made.close()


@pytest.fixture
def asked(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the database is asked for."""
    said: list[str] = []
    fetch = store._pools.fetch

    async def noted(sql: str, *params: object) -> list[object]:
        said.append(STATEMENTS[sql])
        return await fetch(sql, *params)

    monkeypatch.setattr(store._pools, "fetch", noted)
    return said


def due(store: PostgresStore) -> None:
    """Let a survey be due, whether or not a claim finds something."""
    store._lines._surveyed_at = float("-inf")


async def test_what_was_claimed_is_handed_over_before_a_survey_that_is_merely_due(
    store: PostgresStore, other: PostgresStore, asked: list[str]
) -> None:
    known, unheard = new_job(), new_job(queue="unheard-of")
    await other.enqueue([unheard, known])
    due(store)
    first = await store.exchange(WORKER, (), request())
    assert (ids_of(first.claimed), first.again, asked) == ([known.id], True, ["exchange"])
    asked.clear()
    second = await store.exchange(WORKER, (), request())
    assert (ids_of(second.claimed), second.again) == ([unheard.id], False)
    assert asked == ["exchange", "survey", "lines", "exchange"]


async def test_a_survey_is_put_off_for_one_claim_whatever_the_next_finds(
    store: PostgresStore, other: PostgresStore, asked: list[str]
) -> None:
    due(store)
    for again, made in ((True, 0), (False, 1), (False, 1)):
        await other.enqueue([new_job()])
        answer = await store.exchange(WORKER, (), request())
        assert (len(answer.claimed), answer.again, asked.count("survey")) == (1, again, made)


async def test_after_a_survey_that_found_nothing_the_database_is_not_asked_again(
    store: PostgresStore, other: PostgresStore, asked: list[str]
) -> None:
    await other.enqueue([new_job(queue="of-others")])
    for _ in range(2):  # the first learns of the line
        assert not (await store.exchange(WORKER, (), request(queues=[new_job().queue]))).claimed
    assert asked == ["exchange", "survey", "lines", "exchange", "survey"]
