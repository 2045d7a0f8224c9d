"""From `publish` to a job in another process's stead, for each broker: killed while events wait for it."""

import asyncio
from collections import Counter

import pytest

from headrace import Headrace, JobContext, Message
from headrace.core.relay_events import RelayState
from tests.integration.bridges.test_taking import Feed, Order, feed, hr, until

__all__ = ["feed", "hr"]

pytestmark = pytest.mark.timeout(150)
KEYS = 5


async def test_each_event_arrives_though_its_broker_is_killed(hr: Headrace, feed: Feed) -> None:
    """As a job of whoever takes from there: once, by its id."""
    ran: Counter[int] = Counter()

    @hr.on(feed.address)
    async def take(ctx: JobContext, order: Order, message: Message | None = None) -> None:
        assert message is not None
        assert message.event is not None
        assert (message.event["type"], message.event["source"]) == ("order.placed", "headrace")
        ran[order.number] += 1

    async def publish(numbers: range) -> None:
        for number in numbers:
            key = f"k{number % KEYS}"
            await hr.publish(feed.address, Order(number=number), key=key, type="order.placed", subject=key)

    async with feed.putting():
        pass  # it is there
    async with hr.embedded(1):
        await publish(range(100))
        await until(lambda: len(ran) == 100)
        await asyncio.to_thread(feed.server.kill)
        try:
            await publish(range(100, 200))
            relays = hr.services.relays
            assert relays is not None
            await until(lambda: any(each.state is RelayState.SINK_AWAY for each in relays.health.values()))
        finally:
            await asyncio.to_thread(feed.server.start)
        await until(lambda: len(ran) == 200)
        (status,) = await hr.sinks()
        assert (status.waiting, status.parked) == (0, 0)
    assert ran == Counter(range(200))
