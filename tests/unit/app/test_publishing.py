"""What `hr.publish` and `ctx.publish` make of an event, and what they refuse."""

import asyncio
import json
import uuid
from typing import Any

import pytest
from pydantic import BaseModel

from headrace import Headrace, JobContext, Retry, SyncJobContext
from headrace.app.addresses import kafka, nats, rabbitmq, redis_stream
from headrace.bridges.memory import MemoryBroker
from headrace.core.cloudevents import KAFKA, NATS, RABBITMQ, REDIS, parse
from headrace.core.errors import InvalidConfig, InvalidEvent, LeaseLost, NotEncodable, PayloadTooLarge, UsageError
from headrace.core.event import CloudEvent, Event, Head, route_of
from headrace.core.model import Lease
from headrace.runtime.publishing import Prepared
from headrace.settings import Settings
from headrace.testing import context, drain


class Paid(BaseModel):
    order: int
    by: str = "card"


@pytest.fixture
def hr() -> Headrace:
    return Headrace("memory://")


async def outbox(hr: Headrace, sink: str = "kafka") -> list[Event]:
    page = await hr.post.outgoing(sink, 0, 100, 1 << 24)
    return [out.event for out in page.events]


@pytest.mark.parametrize(
    ("event", "body", "content_type"),
    [
        (Paid(order=7), b'{"order":7,"by":"card"}', "application/json"),
        ({"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}'.encode(), "application/json"),
        ("text", b'"text"', "application/json"),
        (None, b"null", "application/json"),
        (b"\x00\xff", b"\x00\xff", "application/octet-stream"),
    ],
)
async def test_an_event_is_json_or_bytes(hr: Headrace, event: object, body: bytes, content_type: str) -> None:
    made = await hr.publish(kafka("orders"), event, key="7", headers={"X-Team": "shop"})
    (kept,) = await outbox(hr)
    assert (kept.id, kept.target, kept.key, kept.body) == (made.bytes, "orders", "7", body)
    assert Head.read(kept.head) == Head({"X-Team": "shop", "content-type": content_type})


@pytest.mark.parametrize(
    ("address", "prefixes", "target"),
    [
        (kafka("orders"), KAFKA, "orders"),
        (nats("orders.paid"), NATS, "orders.paid"),
        (redis_stream("orders"), REDIS, "orders"),
        (rabbitmq(exchange="events", routing_key="order.paid"), RABBITMQ, ("events", "order.paid")),
        (rabbitmq("orders"), RABBITMQ, ("", "orders")),
        (rabbitmq(exchange="fanout"), RABBITMQ, ("fanout", "")),
    ],
)
@pytest.mark.parametrize("structured", [False, True])
async def test_with_a_type_it_is_a_cloudevent(
    hr: Headrace, address: Any, prefixes: Any, target: object, structured: bool
) -> None:
    made = await hr.publish(address, Paid(order=7), type="order.paid", subject="7", structured=structured)
    (kept,) = await outbox(hr, address.broker)
    head = Head.read(kept.head)
    event = parse(head.headers, kept.body, prefixes, head.content_type)
    assert event is not None
    assert (event.id, event.source, event.type, event.subject) == (str(made), "headrace", "order.paid", "7")
    assert json.loads(event.data or b"") == {"order": 7, "by": "card"}
    assert (route_of(kept.target) if address.broker == "rabbitmq" else kept.target) == target


async def test_a_cloudevent_of_ones_own_keeps_its_attributes(hr: Headrace) -> None:
    mine = CloudEvent(
        id="order-7", source="/shop", type="order.paid", extensions={"partitionkey": "customer-3"}, data=b"1"
    )
    first = await hr.publish(kafka("orders"), mine)
    second = await hr.publish(kafka("orders"), mine)
    assert first == second
    kept, again = await outbox(hr)
    assert kept == again
    assert kept.key == "customer-3"
    assert parse(Head.read(kept.head).headers, kept.body, KAFKA) == mine


async def test_the_same_id_is_the_same_event(hr: Headrace) -> None:
    mine = uuid.uuid4()
    assert await hr.publish(kafka("t"), 1, id=mine) == mine
    assert await hr.publish(kafka("t"), 1, id=str(mine)) == mine
    named = await hr.publish(kafka("t"), 1, id="order-7-paid", type="order.paid")
    assert await hr.publish(kafka("t"), 1, id="order-7-paid", type="order.paid") == named
    assert Head.read((await outbox(hr))[2].head).headers["ce_id"] == "order-7-paid"


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"key": ""}, UsageError, "an event's key"),
        ({"key": "a\nb"}, UsageError, "an event's key"),
        ({"subject": "7"}, UsageError, "give its type="),
        ({"structured": True}, UsageError, "give its type="),
        ({"headers": {"a b": "c"}}, UsageError, "a header's name"),
        ({"headers": {"a": "b\r\nc"}}, UsageError, "the header a is a printable text"),
        ({"headers": {"a": "b" * 9000}}, UsageError, "at most 64 headers"),
        ({"type": "a", "subject": ""}, InvalidEvent, "subject is empty"),
        ({"id": ""}, UsageError, "an event's id"),
        ({"content_type": ""}, UsageError, "content_type is a media type"),
    ],
)
async def test_what_cannot_be_is_refused(
    hr: Headrace, given: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        await hr.publish(kafka("t"), 1, **given)
    await hr.open()
    assert await outbox(hr) == []


async def test_events_that_no_broker_could_carry_are_refused(hr: Headrace) -> None:
    small = Headrace(settings=Settings(store="memory://", event_bytes_max=1024))
    with pytest.raises(PayloadTooLarge, match="2,000 bytes, over the limit of 1,024"):
        await small.publish(kafka("t"), b"x" * 2000)
    with pytest.raises(NotEncodable):
        await hr.publish(kafka("t"), {"at": object()})
    with pytest.raises(UsageError, match="a pattern of subjects"):
        await hr.publish(nats("orders.*"), 1)
    with pytest.raises(UsageError, match="there is no broker 'legacy'"):
        await hr.publish(kafka("t", broker="legacy"), 1)
    with pytest.raises(UsageError, match="publish takes an address first"):
        await hr.publish("kafka", 1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="leave type= out"):
        await hr.publish(kafka("t"), CloudEvent(id="1", source="a", type="b"), type="c")


def test_publishing_blocks_where_no_loop_runs(hr: Headrace) -> None:
    made = hr.publish_sync(kafka("t"), Paid(order=1))
    assert [event.id for event in hr.wait(outbox(hr), "")] == [made.bytes]
    hr.close_sync()


class Endpoint:
    """An address at which events become something else, as a webhook's do."""

    name = "partner"

    def __init__(self) -> None:
        self.taken: list[tuple[Prepared, object | None]] = []

    async def take(self, event: Prepared, using: object | None) -> None:
        self.taken.append((event, using))

    def take_sync(self, event: Prepared, using: object | None) -> None:
        self.taken.append((event, using))


async def test_an_address_may_be_a_receiver(hr: Headrace) -> None:
    endpoint, mine = Endpoint(), object()
    made = await hr.publish(endpoint, Paid(order=1), type="order.paid", using=mine)
    ((taken, using),) = endpoint.taken
    assert (taken.id, taken.cloud and taken.cloud.type, using) == (made, "order.paid", mine)
    ctx = context()
    assert await ctx.publish(endpoint, 1) == endpoint.taken[1][0].id
    assert ctx.recorded.events == []


# -- from attempts --------------------------------------------------------------------------------


async def test_an_attempt_publishes_once_however_often_it_runs(hr: Headrace) -> None:
    ids: list[list[uuid.UUID]] = []

    @hr.task(retry=Retry(max_attempts=3, initial=0.01))
    async def pay(ctx: JobContext) -> None:
        made = [await ctx.publish(kafka("orders"), {"n": n}, type="order.paid") for n in range(2)]
        made.append(await ctx.publish(kafka("orders"), {"attempt": ctx.attempt}, once="audit"))
        ids.append(made)
        if ctx.attempt < 3:
            raise RuntimeError

    await pay.enqueue()
    await drain(hr, until=5.0)
    assert len(ids) == 3
    assert ids[0] == ids[1] == ids[2]
    kept = await outbox(hr)
    assert [event.id for event in kept] == [made.bytes for made in ids[0]]
    assert json.loads(kept[2].body) == {"attempt": 1}
    assert Head.read(kept[0].head).headers["ce_id"] == str(ids[0][0])


async def test_who_lost_its_lease_publishes_nothing(hr: Headrace) -> None:
    refused: list[bool] = []
    endpoint = Endpoint()

    @hr.task()
    async def pay(ctx: JobContext) -> None:
        if ctx.attempt > 1:
            return
        await hr.store.reap(tuple(worker.id for worker in await hr.workers()))
        for address in (kafka("orders"), endpoint):
            try:
                await ctx.publish(address, 1)
            except LeaseLost:
                refused.append(True)

    async with hr.embedded():
        await (await pay.enqueue()).result(timeout=20)
    assert refused == [True, True]
    assert await outbox(hr) == []
    assert endpoint.taken == []


async def test_after_its_success_an_attempt_publishes_nothing(hr: Headrace) -> None:
    refused: list[str] = []
    endpoint = Endpoint()

    @hr.task()
    async def pay(ctx: JobContext) -> None:
        await ctx.publish(endpoint, 1)
        await ctx.succeed(None)
        for address in (kafka("orders"), endpoint):
            try:
                await ctx.publish(address, 2)
            except UsageError as error:
                refused.append(str(error))

    @hr.task()
    def wait(ctx: SyncJobContext) -> None:
        ctx.publish(endpoint, 3)
        ctx.succeed(None)
        try:
            ctx.publish(endpoint, 4)
        except UsageError as error:
            refused.append(str(error))

    async with hr.embedded():
        await (await pay.enqueue()).result(timeout=20)
        await (await wait.enqueue()).result(timeout=20)
        async with asyncio.timeout(10):
            while len(refused) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert [taken.body for taken, _ in endpoint.taken] == [b"1", b"3"]
    assert all("already succeeded; publish before that" in said for said in refused)
    assert await outbox(hr) == []


def test_a_thread_and_a_test_publish_too(hr: Headrace) -> None:
    @hr.task()
    def pay(ctx: SyncJobContext) -> None:
        ctx.publish(kafka("orders"), 1, key="a")

    async def whole() -> list[Event]:
        await pay.enqueue()
        await drain(hr)
        return await outbox(hr)

    (event,) = asyncio.run(whole())
    assert (event.target, event.key) == ("orders", "a")


async def test_what_a_test_calls_directly_is_recorded() -> None:
    ctx = context()
    made = await ctx.publish(kafka("orders"), Paid(order=3), key="c")
    ctx.recorded.lease_lost = True
    endpoint = Endpoint()
    for address in (kafka("orders"), endpoint):
        with pytest.raises(LeaseLost):
            await ctx.publish(address, 1)
    assert endpoint.taken == []
    (event,) = ctx.recorded.events
    assert (event.id, event.key, event.body) == (made.bytes, "c", b'{"order":3,"by":"card"}')


async def test_an_attempt_that_does_not_run_is_refused_by_the_store(hr: Headrace) -> None:
    await hr.open()
    event = Event(bytes(16), "kafka", "t")
    with pytest.raises(LeaseLost):
        await hr.post.publish([event], Lease(bytes(16), 1), once=True)


# -- outcomes -------------------------------------------------------------------------------------


async def told(hr: Headrace, count: int) -> list[CloudEvent]:
    async with asyncio.timeout(10):
        while len(kept := await outbox(hr)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    events = [parse(Head.read(each.head).headers, each.body, KAFKA) for each in kept]
    return [event for event in events if event is not None]


async def test_the_ends_of_jobs_are_told(hr: Headrace) -> None:
    hr.outcomes(kafka("jobs"), data="result")

    @hr.task(retry=Retry(max_attempts=1))
    async def divide(a: int, b: int) -> float:
        return a / b

    async with hr.embedded():
        good = await divide.options(tags=["x"]).enqueue(4, 2)
        bad = await divide.enqueue(1, 0)
        later = await divide.options(delay=3600).enqueue(1, 1)
        await later.cancel()
        events = {event.type: event for event in await told(hr, 3)}
        await asyncio.sleep(0.1)
    assert len(await outbox(hr)) == 3
    data = {name: json.loads(event.data or b"") for name, event in events.items()}
    succeeded = data["headrace.job.succeeded"]
    assert events["headrace.job.succeeded"].subject == str(good.id) == succeeded["id"]
    assert (succeeded["task"], succeeded["result"], succeeded["attempts"], succeeded["tags"]) == (
        "divide",
        2.0,
        1,
        ["x"],
    )
    assert data["headrace.job.failed"]["id"] == str(bad.id)
    assert data["headrace.job.failed"]["failure"]["type"] == "ZeroDivisionError"
    assert data["headrace.job.cancelled"]["id"] == str(later.id)
    assert (await hr.post.promised(None, 10)).ended == ()


async def test_only_what_was_asked_for_is_told(hr: Headrace) -> None:
    @hr.task()
    async def loud() -> int:
        return 1

    @hr.task()
    async def silent() -> int:
        return 1

    hr.outcomes(kafka("jobs"), tasks=[loud], states=["succeeded"])
    async with hr.embedded():
        first = await loud.enqueue()
        other = await silent.enqueue()
        dropped = await loud.options(delay=3600).enqueue()
        await dropped.cancel()
        (event,) = await told(hr, 1)
        await other.result(5)
        async with asyncio.timeout(10):
            while (await hr.post.promised(None, 10)).ended:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert event.subject == str(first.id)
    assert "result" not in json.loads(event.data or b"")
    assert len(await outbox(hr)) == 1


async def test_jobs_of_messages_are_told_too(hr: Headrace) -> None:
    broker = MemoryBroker()
    broker.topic("orders")
    hr.broker("legacy", broker)
    hr.outcomes(kafka("jobs"))

    @hr.on(kafka("orders", group="g", broker="legacy"))
    async def sell(order: int) -> None:
        assert order == 7

    async with hr.embedded():
        broker.put("orders", b"7")
        (event,) = await told(hr, 1)
    assert (event.type, json.loads(event.data or b"")["task"]) == ("headrace.job.succeeded", "sell")


async def test_a_result_that_is_too_large_is_left_out() -> None:
    hr = Headrace(settings=Settings(store="memory://", event_bytes_max=1024))
    hr.outcomes(kafka("jobs"), data="result")

    @hr.task()
    async def much() -> str:
        return "x" * 2000

    async with hr.embedded():
        await much.enqueue()
        (event,) = await told(hr, 1)
    data = json.loads(event.data or b"")
    assert (data["result"], data["result_too_large"]) == (None, True)


async def test_outcomes_go_to_receivers_too(hr: Headrace) -> None:
    endpoint = Endpoint()
    hr.outcomes(endpoint)

    @hr.task()
    async def work() -> int:
        return 1

    async with hr.embedded():
        job = await work.enqueue()
        async with asyncio.timeout(10):
            while not endpoint.taken:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    taken, _ = endpoint.taken[0]
    assert taken.cloud is not None
    assert taken.cloud.subject == str(job.id)


def test_outcomes_that_cannot_be_are_refused(hr: Headrace) -> None:
    hr.outcomes(kafka("jobs"))
    hr.outcomes(kafka("jobs"))
    with pytest.raises(InvalidConfig, match="there is another one named 'kafka:jobs'"):
        hr.outcomes(kafka("jobs"), states=["failed"])
    hr.outcomes(kafka("jobs"), name="ends")
    with pytest.raises(InvalidConfig, match="there is another one named 'ends'"):
        hr.outcomes(kafka("audit"), name="ends")
    with pytest.raises(InvalidConfig, match="there is another one named 'ends'"):
        hr.outcomes(Endpoint(), name="ends")
    with pytest.raises(InvalidConfig, match="states are one or more of"):
        hr.outcomes(kafka("other"), states=["running"])
    with pytest.raises(InvalidConfig, match="states are several"):
        hr.outcomes(kafka("other"), states="failed")
    with pytest.raises(InvalidConfig, match="tasks are several"):
        hr.outcomes(kafka("other"), tasks="charge")


# -- the whole way --------------------------------------------------------------------------------


async def test_a_worker_sends_what_was_published(hr: Headrace) -> None:
    broker = MemoryBroker()
    broker.topic("orders")
    hr.broker("kafka", broker)
    async with hr.embedded():
        ids = [(await hr.publish(kafka("orders"), {"n": n}, key="k", type="order.paid")).hex for n in range(10)]
        async with asyncio.timeout(10):
            while len(broker.topics["orders"][0]) < 10:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert [record.id for record in broker.topics["orders"][0]] == ids
    (status,) = await hr.sinks()
    assert (status.name, status.waiting, status.parked, status.state) == ("kafka", 0, 0, "idle")
