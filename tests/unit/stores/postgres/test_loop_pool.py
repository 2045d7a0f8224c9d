"""Connections of one loop, where the server has none left."""

import asyncio
from typing import Any

import asyncpg
import pytest

from headrace.stores.postgres.loop_pool import LoopPool


class Connection:
    """As much of one as a pool looks at."""

    closed = False

    def is_closed(self) -> bool:
        return self.closed

    def is_in_transaction(self) -> bool:
        return False

    def terminate(self) -> None:
        self.closed = True

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - as asyncpg's
        del timeout
        self.closed = True


async def test_whoever_is_refused_takes_what_became_free_while_the_server_was_asked() -> None:
    made: list[Connection] = []

    async def connect() -> Any:
        if made:
            await asyncio.sleep(0.05)  # longer than the others need their connection
            raise asyncpg.TooManyConnectionsError("sorry, too many clients already")
        made.append(Connection())
        return made[0]

    pool = LoopPool(connect, 10)

    async def work() -> None:
        connection = await pool.take()
        await asyncio.sleep(0.01)
        pool.give_back(connection)

    await work()
    async with asyncio.timeout(5):
        await asyncio.gather(*(work() for _ in range(2)))
    assert len(made) == 1
    await pool.close()


async def test_without_any_connection_the_refusal_is_told() -> None:
    async def connect() -> Any:
        raise asyncpg.TooManyConnectionsError("sorry, too many clients already")

    pool = LoopPool(connect, 10)
    with pytest.raises(asyncpg.TooManyConnectionsError):
        await pool.take()


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (None, True),
        (asyncpg.UniqueViolationError("the server's answer"), True),
        (asyncio.CancelledError(), False),
        (TimeoutError(), False),
        (asyncpg.InterfaceError("another operation is in progress"), False),
    ],
)
async def test_only_what_was_interrupted_is_not_used_again(error: BaseException | None, kept: bool) -> None:
    async def connect() -> Any:
        return Connection()

    pool = LoopPool(connect, 1)
    first = await pool.take()
    pool.give_back(first, error)
    assert (await pool.take() is first) is kept
    assert first.is_closed() is not kept
    await pool.close()
