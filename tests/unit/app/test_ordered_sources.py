"""Ordered sources: the jobs of one key run one after the other, in the order of their messages."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headrace import MESSAGE_KEY, Headrace, InvalidConfig, JobContext, kafka, rabbitmq
from headrace.settings import Settings
from headrace.testing import MemoryBroker

EACH = 30
KEYS = ("ada", "bob", "cyd")


@pytest.fixture
def broker() -> MemoryBroker:
    """One in this process."""
    return MemoryBroker()


@pytest.fixture
async def hr(broker: MemoryBroker) -> AsyncIterator[Headrace]:
    """A Headrace on a memory store, with that broker in place of all of them."""
    made = Headrace(settings=Settings(store="memory://", poll_s=0.05, grace_s=0.1))
    for name in ("rabbitmq", "kafka"):
        made.broker(name, broker)
    yield made
    await made.close()


@pytest.mark.parametrize("by", ["customer", MESSAGE_KEY])
@pytest.mark.parametrize("address", [kafka("moves", group="crm"), rabbitmq("moves")], ids=["topic", "queue"])
async def test_one_after_the_other(hr: Headrace, broker: MemoryBroker, address: Any, by: Any) -> None:
    if address.kind == "kafka":
        broker.topic("moves")
    else:
        broker.queue("moves")
    seen: defaultdict[str, list[int]] = defaultdict(list)
    running: set[str] = set()

    @hr.on(address, ordered_by=by)
    async def move(ctx: JobContext, customer: str, n: int) -> None:
        assert customer not in running
        running.add(customer)
        await asyncio.sleep(0.002 * (n % 3))
        seen[customer].append(n)
        running.remove(customer)

    for n in range(EACH):
        for customer in KEYS:
            body = json.dumps({"customer": customer, "n": n}).encode()
            broker.put("moves", body, key=customer, id=f"{customer}{n}")
    async with asyncio.timeout(20), hr.embedded(1):
        while sum(map(len, seen.values())) < EACH * len(KEYS):  # noqa: ASYNC110 - a worker runs beside it
            await asyncio.sleep(0.02)
    assert seen == {customer: list(range(EACH)) for customer in KEYS}


def test_what_would_break_the_order_is_refused(hr: Headrace) -> None:
    @hr.task(ordered_by="customer")
    async def ordered(ctx: JobContext, customer: str) -> None: ...

    with pytest.raises(InvalidConfig, match=r"write ordered_by= at its hr\.task"):
        hr.on(rabbitmq("moves"), ordered_by="customer")(ordered)
    with pytest.raises(InvalidConfig, match="ordered is ordered, which priority= would change"):
        hr.on(rabbitmq("moves"), priority=3)(ordered)
