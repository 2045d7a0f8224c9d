# ruff: noqa: D102, PLR2004 - the names of the tests describe them, numbers are their point
"""The vault: secrets, API keys, idempotency records."""

import asyncio
from dataclasses import replace

from headrace.core.model import Succeeded
from headrace.ports.vault import IN_FLIGHT_S, ApiKey, Replay, Taken
from headrace.testing.conformance.store_base import (
    FOREVER_S,
    FullStore,
    MakeStore,
    StoreSuite,
    TimeControl,
    enqueue_claimed,
    opened,
    settle,
)

KEY = ApiKey("ak_1", "ci é", bytes(range(32)), ("read", "enqueue"), 1_800_000_000.0)


class VaultConformance(StoreSuite):
    """Every sentence of `ports.vault`, as tests."""

    async def test_the_first_candidate_becomes_the_secret(self, store: FullStore) -> None:
        assert await store.secret("signing", b"\x00first\xff") == b"\x00first\xff"
        assert await store.secret("signing", b"second") == b"\x00first\xff"
        assert await store.secret("other", b"third") == b"third"

    async def test_all_who_ask_at_once_get_one_secret(self, store: FullStore) -> None:
        answers = await asyncio.gather(*(store.secret("signing", bytes([n]) * 32) for n in range(10)))
        assert len(set(answers)) == 1

    async def test_a_secret_survives(self, make_store: MakeStore) -> None:
        async with opened(make_store) as store:
            durable = store.capabilities.durable
            await store.secret("signing", b"first")
            await store.add_api_key(KEY)
            await store.begin("me", "k", b"f", FOREVER_S)
        async with opened(make_store) as store:
            assert (await store.secret("signing", b"second") == b"first") is durable
            assert (await store.api_keys() == [KEY]) is durable
            assert (await store.begin("me", "k", b"f", FOREVER_S) == Replay(b"f", None)) is durable

    async def test_api_keys_are_listed_oldest_first(self, store: FullStore) -> None:
        assert await store.api_keys() == []
        newer = replace(KEY, id="ak_0", digest=bytes(32), created_at=KEY.created_at + 1, scopes=("operate",))
        await store.add_api_key(newer)
        await store.add_api_key(KEY)
        assert await store.api_keys() == [KEY, newer]

    async def test_a_revoked_key_stays_listed(self, store: FullStore, time: TimeControl) -> None:
        await store.add_api_key(KEY)
        assert not await store.revoke_api_key("ak_unknown")
        assert await store.revoke_api_key("ak_1")
        (key,) = await store.api_keys()
        assert key.revoked_at is not None
        assert replace(key, revoked_at=None) == KEY
        await time.pass_time(time.tick)
        assert await store.revoke_api_key("ak_1")
        assert await store.api_keys() == [key]

    async def test_an_idempotency_key_is_taken_once(self, store: FullStore) -> None:
        assert isinstance(await store.begin("me", "k", b"body", FOREVER_S), Taken)
        assert await store.begin("me", "k", b"other body", FOREVER_S) == Replay(b"body", None)
        await store.finish("me", "k", b"202 \x00")
        assert await store.begin("me", "k", b"body", FOREVER_S) == Replay(b"body", b"202 \x00")

    async def test_scopes_do_not_meet(self, store: FullStore) -> None:
        assert isinstance(await store.begin("me", "k", b"f", FOREVER_S), Taken)
        assert isinstance(await store.begin("you", "k", b"f", FOREVER_S), Taken)
        assert isinstance(await store.begin("me", "l", b"f", FOREVER_S), Taken)

    async def test_a_request_that_failed_lets_the_key_go(self, store: FullStore) -> None:
        await store.begin("me", "k", b"f", FOREVER_S)
        await store.finish("me", "k", None)
        assert isinstance(await store.begin("me", "k", b"g", FOREVER_S), Taken)

    async def test_finishing_what_nobody_began_does_nothing(self, store: FullStore) -> None:
        await store.finish("me", "k", b"answer")
        await store.finish("me", "l", None)
        assert isinstance(await store.begin("me", "k", b"f", FOREVER_S), Taken)

    async def test_one_of_many_takes_it(self, store: FullStore) -> None:
        answers = await asyncio.gather(*(store.begin("me", "k", bytes([n]), FOREVER_S) for n in range(10)))
        assert sum(isinstance(answer, Taken) for answer in answers) == 1

    async def test_a_request_that_never_ended_is_taken_over(self, store: FullStore, time: TimeControl) -> None:
        if time.tick < 1:
            return  # a minute of somebody's time; the manual clock shows it
        first = await store.begin("me", "k", b"f", FOREVER_S)
        await time.pass_time(IN_FLIGHT_S / 2)
        assert await store.begin("me", "k", b"f", FOREVER_S) == Replay(b"f", None)
        await time.pass_time(IN_FLIGHT_S)
        assert await store.begin("me", "k", b"other", FOREVER_S) == Replay(b"f", None)
        again = await store.begin("me", "k", b"f", FOREVER_S)
        assert isinstance(first, Taken)
        assert isinstance(again, Taken)
        assert abs(again.begun_at - first.begun_at) < 0.001
        await store.finish("me", "k", b"answer")
        assert await store.begin("me", "k", b"f", FOREVER_S) == Replay(b"f", b"answer")

    async def test_an_idempotency_key_expires(self, store: FullStore, time: TimeControl) -> None:
        await store.begin("me", "k", b"f", time.tick)
        await store.finish("me", "k", b"answer")
        await time.pass_time(2 * time.tick)
        assert isinstance(await store.begin("me", "k", b"g", FOREVER_S), Taken)
        assert await store.begin("me", "k", b"g", FOREVER_S) == Replay(b"g", None)

    async def test_expired_records_are_pruned(self, store: FullStore, time: TimeControl) -> None:
        for n in range(5):
            await store.begin("me", str(n), b"f", time.tick)
        await store.begin("me", "lasting", b"f", FOREVER_S)
        await store.finish("me", "lasting", b"answer")
        await settle(store, await enqueue_claimed(store), Succeeded())
        await time.pass_time(2 * time.tick)
        pruned = 0
        while count := await store.prune(2):
            assert count <= 2
            pruned += count
        assert pruned == 5
        assert await store.begin("me", "lasting", b"f", FOREVER_S) == Replay(b"f", b"answer")
