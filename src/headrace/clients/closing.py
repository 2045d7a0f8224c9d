"""How connections are let go of, whatever a client makes of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress


async def finished(work: Awaitable[object]) -> None:
    """Do it to its end, whatever that is, though who waits for it may be cancelled meanwhile, and is then."""
    task = asyncio.ensure_future(work)  # noqa: TID251 - for as long as this is awaited
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    _ = task.cancelled() or task.exception()
    if cancelled is not None:
        raise cancelled


async def shortly(close: Callable[[], Awaitable[object]], most_s: float) -> None:
    """Do it, whatever comes of it, and leave it after so much time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(most_s):
            await _whatever(close)


async def _whatever(close: Callable[[], Awaitable[object]]) -> None:
    """Some clients wait for tasks that they have cancelled, and tell whoever waits that he is."""
    task = asyncio.ensure_future(close())  # noqa: TID251 - for as long as this is awaited
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
    _ = task.cancelled() or task.exception()
