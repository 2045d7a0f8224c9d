"""Hints that go out with the transaction that they tell of, a round trip earlier."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from headrace.core.errors import Conflict
from headrace.core.model import NewJob
from headrace.notifiers.keeper import GATHER_S
from headrace.notifiers.postgres import PostgresNotifier
from headrace.stores.postgres import PostgresStore
from headrace.testing.conformance.store_base import WORKER, ids_of, register, request
from tests.integration.notifiers.kit import until
from tests.unit.notifiers.ear import Ear

Pair = tuple[PostgresNotifier, PostgresNotifier]


def job(number: int, queue: str = "mail", key: str | None = None, digest: str | None = None) -> NewJob:
    id_ = bytes(6) + b"\x70" + bytes(8) + number.to_bytes(1)
    return NewJob(id=id_, task="send", queue=queue, args="{}", key=key, key_digest=digest)


class Published(list[frozenset[str]]):
    """What the store has published apart."""

    def __call__(self, hints: Iterable[str]) -> None:
        self.append(frozenset(hints))


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
async def store(postgres_url: str, pair: Pair, published: Published) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(postgres_url, notify=published, wants=pair[0].wants, ride=pair[0].riding)
    await opened.open()
    yield opened
    await opened.close()


async def test_others_hear_of_an_enqueue_by_its_own_commit(
    store: PostgresStore, pair: Pair, published: Published, messages: list[str]
) -> None:
    here, there = Ear(), Ear()
    pair[0].subscribe(("queue:",), here)
    pair[1].subscribe(("queue:",), there)
    await store.enqueue([job(1), job(2, "post")])
    await there.hears("queue:mail", "queue:post")
    await here.hears("queue:mail", "queue:post")
    await asyncio.sleep(2 * GATHER_S)
    pair[1].publish(["queue:after"])
    await here.hears("queue:after")  # behind it, an echo would have come
    assert (here.times("queue:mail"), there.times("queue:mail")) == (1, 1)
    await until(lambda: any("queue:after" in message for message in messages))
    assert len(messages) == 2
    assert published == []


async def test_of_enqueues_in_a_row_few_carry_a_message(
    store: PostgresStore, pair: Pair, published: Published, messages: list[str]
) -> None:
    began = asyncio.get_running_loop().time()
    for number in range(100):
        await store.enqueue([job(number)])
    lasted = asyncio.get_running_loop().time() - began
    pair[0].publish(["queue:last"])
    await until(lambda: any("queue:last" in message for message in messages))
    ridden = sum("queue:mail" in message for message in messages)
    assert ridden + len(published) == 100
    assert 1 <= ridden <= 1 + lasted / GATHER_S


async def test_what_was_refused_is_told_to_nobody(
    store: PostgresStore, pair: Pair, published: Published, messages: list[str]
) -> None:
    await store.enqueue([job(1, key="k", digest="one")])
    await asyncio.sleep(2 * GATHER_S)
    with pytest.raises(Conflict):
        await store.enqueue([job(2, "other", key="k", digest="two")])
    there = Ear()
    pair[1].subscribe(("queue:",), there)
    pair[0].publish(["queue:last"])
    await there.hears("queue:last")
    assert "queue:other" not in there.heard
    assert not any("queue:other" in message for message in messages)
    assert published == []


async def test_a_claim_is_told_of_when_its_answer_is_at_hand(store: PostgresStore, published: Published) -> None:
    await register(store)
    await store.enqueue([job(1)])
    published.clear()
    answer = await store.exchange(WORKER, (), request(tasks=["send"]))
    assert (ids_of(answer.claimed), published) == ([job(1).id], [])
    await asyncio.sleep(0)
    assert published == [{f"job:{job(1).id.hex()}"}]


async def test_nothing_rides_where_nobody_is_known_to_hear(postgres_url: str, published: Published) -> None:
    deaf = PostgresNotifier(postgres_url)
    store = PostgresStore(postgres_url, notify=published, ride=deaf.riding)
    await store.open()
    await store.enqueue([job(1)])
    await store.close()
    assert published == [{"queue:mail"}]


async def test_one_that_only_says_is_heard_and_not_woken(postgres_url: str, pair: Pair) -> None:
    quiet, here, there = PostgresNotifier(postgres_url), Ear(), Ear()
    quiet.only_say()
    await quiet.start()
    quiet.subscribe(("queue:",), here)
    pair[0].subscribe(("queue:",), there)
    quiet.publish(["queue:said"])
    await there.hears("queue:said")
    await until(lambda: quiet.health.trouble is None)
    pair[1].publish(["queue:back"])
    await there.hears("queue:back")
    quiet.publish(["queue:again"])
    await there.hears("queue:again")  # behind it, what came back would have been heard
    assert here.heard == {"queue:said", "queue:again"}  # here, at once
    assert not quiet.working
    await quiet.stop()
