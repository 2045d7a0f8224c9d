"""A database of a real server with the tables of Headrace and of a shop, shared by the tests of a file."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from servers.postgres import Postgres
from tests.integration.joins.kit import ASYNC, SYNC, Now, Shop, User, migrate


@pytest.fixture(scope="module")
def shop_url(postgres: Postgres) -> Iterator[str]:
    url = postgres.create_database()
    asyncio.run(migrate(url))
    postgres.sql("CREATE TABLE payment (amount integer NOT NULL)", url.rpartition("/")[2])
    yield url
    postgres.drop_database(url)


@pytest.fixture
async def shop(shop_url: str) -> AsyncIterator[Shop]:
    shop = Shop(shop_url)
    await shop.open()
    yield shop
    await shop.store.close()


@pytest.fixture(params=[*SYNC, *ASYNC])
async def user(request: pytest.FixtureRequest, shop: Shop) -> AsyncIterator[User]:
    kind = request.param
    async with (SYNC | ASYNC)[kind](shop.url) as user:
        if kind in SYNC:
            whole = shop.store.join
            shop.store.join = lambda using: Now(whole(using))  # type: ignore[method-assign, return-value]
        yield user
