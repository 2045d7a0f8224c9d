"""Sources at work: each message a job once, whatever the broker, the store and the other processes do meanwhile."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from headrace import (
    Headrace,
    InvalidConfig,
    JobContext,
    Message,
    StoreError,
    StoreUnavailable,
    kafka,
    nats,
    rabbitmq,
    redis_stream,
)
from headrace.app import brokers
from headrace.app.bridging import bridging, post_of
from headrace.app.source_status import reset
from headrace.core.broker import broker as broker_of
from headrace.core.model import JobFilter, JobRecord
from headrace.core.states import JobState
from headrace.ports.bridge import Source
from headrace.ports.post import Intake, Received, SourceRecord
from headrace.runtime import intake, sources
from headrace.settings import Settings
from headrace.testing import MemoryBroker

DEADLINE_S = 20.0


@pytest.fixture
def broker() -> MemoryBroker:
    """One in this process."""
    return MemoryBroker()


@pytest.fixture
async def hr(broker: MemoryBroker) -> AsyncIterator[Headrace]:
    """A Headrace on a memory store, with that broker in place of all of them."""
    made = Headrace(settings=Settings(store="memory://", poll_s=0.05, grace_s=0.1, source_batch_max=50))
    for name in ("rabbitmq", "kafka", "nats", "redis"):
        made.broker(name, broker)
    yield made
    await made.close()


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)


async def every_job(hr: Headrace) -> list[JobRecord]:
    return list((await hr.store.find(JobFilter(), limit=5_000)).jobs)


async def numbers(hr: Headrace) -> Counter[int]:
    """Which numbers have become jobs, and how often."""
    return Counter(json.loads(job.args)["number"] for job in await every_job(hr))


def counted(hr: Headrace, address: Any, **options: Any) -> None:
    """A task that takes a number from there, and never runs: its queue is nobody's."""

    @hr.on(address, **options)
    @hr.task(queue="nobody's")
    async def take(ctx: JobContext, number: int) -> None:
        """Count."""


def kept_by(broker: MemoryBroker) -> list[bytes]:
    """The messages of queues that are acknowledged from here on."""
    acknowledged: list[bytes] = []
    broker.acknowledged = lambda record: acknowledged.append(record.body)
    return acknowledged


@asynccontextmanager
async def taking(hr: Headrace) -> AsyncIterator[None]:
    """As beside a worker, without one."""
    await hr.open()
    async with bridging(hr, None):
        yield


def put_all(broker: MemoryBroker, target: str, numbers: Iterable[int], **options: Any) -> None:
    for number in numbers:
        broker.put(target, str(number).encode(), id=f"m{number}", key=str(number % 7), **options)


# -- exactly once ---------------------------------------------------------------------------------------


async def test_a_job_for_each_message_of_a_queue_though_acknowledgements_are_lost(
    hr: Headrace, broker: MemoryBroker
) -> None:
    broker.queue("orders")
    acknowledged = kept_by(broker)
    done = count()
    broker.lost = lambda what: what == "done" and next(done) in {0, 1, 3}
    counted(hr, rabbitmq("orders"))
    put_all(broker, "orders", range(300))
    async with taking(hr):
        await until(lambda: len(acknowledged) == 300)
    assert await numbers(hr) == Counter(range(300))
    assert next(done) > 6, "batches came again"


@pytest.mark.parametrize(("dedup", "unnamed"), [(True, 2), (False, 0)])
async def test_messages_without_an_id_are_counted_where_ids_are_looked_at(
    hr: Headrace, broker: MemoryBroker, dedup: bool, unnamed: int
) -> None:
    broker.queue("orders")
    counted(hr, rabbitmq("orders"), dedup=dedup)
    for body in (b"1", b"2"):
        broker.put("orders", body)
    broker.put("orders", b"3", id="m3")
    found: list[int] = []

    async def told() -> bool:
        (status,) = await hr.source_status()
        found.append(status.counts.unnamed)
        return status.counts.taken == 3

    async with taking(hr):
        await until(told)
    assert found[-1] == unnamed


async def test_members_of_a_group_that_expel_each_other_take_each_message_once(
    hr: Headrace, broker: MemoryBroker
) -> None:
    rng = random.Random(6)
    broker.topic("orders", 4)
    counted(hr, kafka("orders", group="g"))

    async def late(what: str) -> None:
        await asyncio.sleep(rng.random() * 0.003)

    broker.delay = late
    async with taking(hr), taking(hr):
        for at in range(0, 400, 20):
            put_all(broker, "orders", range(at, at + 20))
            members = broker.groups.get(("orders", "g"), [])
            if len(members) > 1:
                broker.expel(rng.choice(members))  # who does not know it, and goes on
                broker.cut()
                broker.mend()
            await asyncio.sleep(0.01)
        await until(lambda: _all_there(hr, 400))
    assert await numbers(hr) == Counter(range(400))
    (record,) = await post_of(hr).sources()
    assert sum(mark.next for mark in record.bookmarks.values()) == 400


async def _all_there(hr: Headrace, count: int) -> bool:
    return len(await every_job(hr)) >= count


async def test_a_store_whose_answers_are_lost_is_asked_again_with_the_same_jobs(
    hr: Headrace, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = post_of(hr)
    receive = post.receive
    calls = count()

    async def sometimes(source: str, intake: Intake) -> Received:
        turn = next(calls) % 3
        if turn == 0:
            raise StoreUnavailable("out of reach")
        landed = await receive(source, intake)
        if turn == 1:
            raise StoreUnavailable("the answer is lost")
        return landed

    monkeypatch.setattr(post, "receive", sometimes)
    broker.queue("no ids")
    acknowledged = kept_by(broker)
    counted(hr, rabbitmq("no ids"))
    for number in range(120):
        broker.put("no ids", str(number).encode())  # nothing but the jobs' own ids tells the repeat
    async with taking(hr):
        await until(lambda: _all_there(hr, 120))
        await until(lambda: len(acknowledged) == 120)
    assert await numbers(hr) == Counter(range(120))


async def test_what_is_not_taken_at_the_end_is_the_brokers_again(hr: Headrace, broker: MemoryBroker) -> None:
    broker.queue("orders")
    counted(hr, rabbitmq("orders"), batch=10)
    put_all(broker, "orders", range(2_000))
    async with taking(hr):
        await until(lambda: _all_there(hr, 1))
    taken = await numbers(hr)
    left = {int(record.body) for record in broker.queues["orders"]}
    assert 0 < len(left) < 2_000
    assert taken == Counter(set(range(2_000)) - left)
    assert hr.services.sources.health == {}


# -- back-pressure ------------------------------------------------------------------------------------


async def test_a_full_queue_stops_the_source_and_goes_on_when_there_is_room(hr: Headrace, broker: MemoryBroker) -> None:
    hr.queue("small", depth_max=20)
    broker.queue("orders")
    done: list[int] = []

    @hr.on(rabbitmq("orders"))
    @hr.task(queue="small")
    async def take(ctx: JobContext, number: int) -> None:
        done.append(number)

    await hr.open()
    await hr.pause("small")
    put_all(broker, "orders", range(45))
    async with hr.embedded(1):
        await until(lambda: hr.services.sources.health["rabbitmq:orders"].state == "full")
        assert 0 < len(await every_job(hr)) <= 20
        (status,) = await hr.source_status()
        assert status.name == "rabbitmq:orders"
        await hr.resume("small")
        await until(lambda: len(done) == 45)
    assert sorted(done) == list(range(45))


# -- letters ------------------------------------------------------------------------------------------


async def test_a_poison_message_is_a_failed_job_with_its_bytes_and_a_retry_reads_it_again(
    hr: Headrace, broker: MemoryBroker
) -> None:
    broker.queue("orders")
    known = {b"1": 1, b"3": 3}
    done: list[int] = []

    def numeral(message: Message) -> int:
        return known[message.body]

    @hr.on(rabbitmq("orders"), decode=numeral)
    async def take(ctx: JobContext, number: int, message: Message | None = None) -> None:
        assert message is not None
        assert (message.key, message.id, message.headers) == ("k", f"m{number}", {"h": "ä"})
        done.append(number)

    for number in (1, 2, 3):
        broker.put("orders", str(number).encode(), id=f"m{number}", key="k", headers={"h": "ä"})
    async with hr.embedded(1):
        await until(lambda: len(done) == 2 and _failed(hr, 1))
        (job,) = await hr.jobs(state="failed", tag="letter")
        record = (await hr.store.get([job.id.bytes]))[0]
        assert record is not None
        assert record.failure is not None
        assert (record.failure.type, record.failure.cause) == ("headrace.Letter", "arguments")
        assert record.failure.message == "numeral raised KeyError: b'2'"
        letter = await post_of(hr).letter(job.id.bytes)
        assert letter is not None
        assert (letter.body, json.loads(letter.headers)) == (b"2", {"h": "ä"})
        assert await job.retry() is JobState.READY
        await until(lambda: _failed(hr, 1))
        known[b"2"] = 2  # a deploy that can read it
        await job.retry()
        await until(lambda: len(done) == 3)
    assert sorted(done) == [1, 2, 3]


async def _failed(hr: Headrace, count: int) -> bool:
    return len((await hr.store.find(JobFilter(state=JobState.FAILED))).jobs) == count


async def test_what_the_store_never_takes_is_a_letter_and_the_next_ones_go_on(
    hr: Headrace, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = post_of(hr)
    receive = post.receive

    async def refusing(source: str, intake: Intake) -> Received:
        if any(arrival.job.traceparent for arrival in intake.arrivals):
            raise StoreError("a value too long")
        return await receive(source, intake)

    monkeypatch.setattr(post, "receive", refusing)
    broker.queue("orders")
    counted(hr, rabbitmq("orders"))
    put_all(broker, "orders", range(3))
    broker.put("orders", b"3", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    put_all(broker, "orders", range(4, 6))
    async with taking(hr):
        await until(lambda: _all_there(hr, 6))
    (letter,) = [job for job in await every_job(hr) if "letter" in job.tags]
    assert "the store refuses what is in it" in letter.args


async def test_a_letter_whose_source_is_gone_says_so(hr: Headrace, broker: MemoryBroker) -> None:
    @hr.on(rabbitmq("orders"))
    async def take(ctx: JobContext, number: int) -> None:
        """Count."""

    broker.queue("orders")
    broker.put("orders", b"?", id="m")
    async with taking(hr):
        await until(lambda: _all_there(hr, 1))
    hr.sources._defs.clear()
    async with hr.embedded(1):
        await until(lambda: _failed(hr, 1))
    (record,) = await every_job(hr)
    assert record.failure is not None
    assert record.failure.message == "no hr.on of this task takes from rabbitmq:orders here"


# -- the broker ---------------------------------------------------------------------------------------


async def test_a_broker_that_is_away_is_waited_for_and_says_why(hr: Headrace, broker: MemoryBroker) -> None:
    broker.queue("orders")
    counted(hr, rabbitmq("orders"))
    broker.cut("127.0.0.1:5672 refuses connections")
    async with taking(hr):
        await until(lambda: hr.services.sources.health["rabbitmq:orders"].why)
        health = hr.services.sources.health["rabbitmq:orders"]
        assert (health.state, health.why) == ("away", "127.0.0.1:5672 refuses connections")
        put_all(broker, "orders", range(3))
        broker.mend()
        await until(lambda: _all_there(hr, 3))
        await until(lambda: _told(hr, "consuming"))
    await until(lambda: _told(hr, None))


async def _told(hr: Headrace, state: str | None) -> bool:
    return [status.state for status in await hr.source_status()] == [state]


async def test_what_a_person_must_mend_is_not_asked_for_again_and_again(hr: Headrace, broker: MemoryBroker) -> None:
    asked = 0

    async def opened(what: str) -> None:
        nonlocal asked
        asked += what == "open"

    broker.delay = opened
    counted(hr, rabbitmq("nowhere"))
    async with taking(hr):
        await until(lambda: hr.services.sources.health["rabbitmq:nowhere"].why)
        assert "there is no topic and no queue nowhere" in hr.services.sources.health["rabbitmq:nowhere"].why
        await asyncio.sleep(0.5)
    assert asked == 1


async def test_a_bookmark_that_is_set_back_has_its_messages_read_again(hr: Headrace, broker: MemoryBroker) -> None:
    broker.topic("orders")
    counted(hr, kafka("orders", group="g"))
    put_all(broker, "orders", range(10))
    async with taking(hr):
        await until(lambda: _all_there(hr, 10))
        assert await reset(post_of(hr), "kafka:orders:g", 5) == ["0"]
        put_all(broker, "orders", [10])
        await until(lambda: _all_there(hr, 16))
        await reset(post_of(hr), "kafka:orders:g", None)
        put_all(broker, "orders", [11])
        await until(lambda: _all_there(hr, 28))
    assert await numbers(hr) == Counter([*range(10), *range(5, 11), *range(12)])


async def test_who_takes_alone_hands_on_to_the_one_that_stands_by(
    hr: Headrace, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "TURN_EVERY_S", 0.05)
    broker.queue("orders")
    counted(hr, nats("orders", durable="d"))
    make = hr.brokers.source
    monkeypatch.setattr(hr.brokers, "source", lambda address, name, **_: make(address, name, ordered=True))
    names = iter(("first", "second"))
    monkeypatch.setattr(hr.services.sources, "_process", lambda: next(names))
    await hr.open()
    first = bridging(hr, None)
    await first.__aenter__()
    await until(lambda: len(broker.links) == 1)
    async with bridging(hr, None):
        await asyncio.sleep(0.2)
        assert len(broker.links) == 1, "the other one stands by"
        await first.__aexit__(None, None, None)
        put_all(broker, "orders", range(5))
        await until(lambda: _all_there(hr, 5))


async def test_an_intake_that_breaks_is_replaced(
    hr: Headrace, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sources, "AGAIN_S", 0.05)
    broken = count()
    perform = intake.IntakeShell._perform

    def breaks(self: intake.IntakeShell, effects: list[Any]) -> None:
        if next(broken) == 3:
            raise RuntimeError("a bug")
        perform(self, effects)

    monkeypatch.setattr(intake.IntakeShell, "_perform", breaks)
    broker.queue("orders")
    counted(hr, rabbitmq("orders"))
    put_all(broker, "orders", range(100))
    async with taking(hr):
        await until(lambda: _all_there(hr, 100))
    assert await numbers(hr) == Counter(range(100))
    assert "its intake failed; another one takes its place" in caplog.text


# -- ids that are forgotten ---------------------------------------------------------------------------


@pytest.fixture
def forgotten(hr: Headrace, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, float]]:
    """Of which source, when, and how old, whenever ids are."""
    monkeypatch.setattr(sources, "FORGET_EVERY_S", 0.02)
    monkeypatch.setattr(sources, "REPORT_S", 0.05)
    told: list[tuple[str, float, float]] = []
    post = post_of(hr)

    async def spy(source: str, older_s: float, limit: int) -> int:
        told.append((source, hr.clock.now(), older_s))
        return 0

    monkeypatch.setattr(post, "forget_seen", spy)
    return told


async def test_ids_are_forgotten_only_after_a_window_of_taking(
    hr: Headrace, broker: MemoryBroker, forgotten: list[tuple[str, float, float]]
) -> None:
    broker.queue("orders")
    counted(hr, rabbitmq("orders"), dedup_window=1.0)

    def stands(state: str) -> Callable[[], bool]:
        return lambda: hr.services.sources.health["rabbitmq:orders"].state == state

    async with taking(hr):
        await until(stands("consuming"))
        began = hr.clock.now()
        await until(lambda: hr.clock.now() - began > 0.6)
        broker.cut()
        await until(stands("away"))
        away = hr.clock.now()
        await until(lambda: hr.clock.now() - away > 1.0)
        broker.mend()
        await until(stands("consuming"))
        again = hr.clock.now()
        await until(lambda: forgotten)
    _, at, older_s = forgotten[0]
    assert at - again >= 1.4 - (away - began), "a second of taking, without a quarter after each beginning"
    assert older_s >= 1.9


async def test_ids_are_forgotten_though_no_process_lives_for_a_window(
    hr: Headrace, broker: MemoryBroker, forgotten: list[tuple[str, float, float]]
) -> None:
    broker.queue("orders")
    counted(hr, rabbitmq("orders"), dedup_window=1.0)
    async with asyncio.timeout(DEADLINE_S):
        while not forgotten:
            began = hr.clock.now()
            async with taking(hr):
                await until(lambda began=began: hr.clock.now() - began > 0.7)


async def test_the_ids_of_a_source_that_nobody_has_are_forgotten_some_time(
    hr: Headrace, broker: MemoryBroker, forgotten: list[tuple[str, float, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listed() -> list[SourceRecord]:
        return [SourceRecord("of old", {}, 31 * 86_400.0), SourceRecord("young", {}, 86_400.0), SourceRecord("new")]

    monkeypatch.setattr(post_of(hr), "sources", listed)
    broker.queue("orders")
    counted(hr, rabbitmq("orders"))
    async with taking(hr):
        await until(lambda: forgotten)
    assert [(source, older_s) for source, _, older_s in forgotten] == [("of old", 30 * 86_400.0)]


# -- definitions --------------------------------------------------------------------------------------


def test_a_place_is_taken_from_by_one_task(hr: Headrace) -> None:
    counted(hr, rabbitmq("orders"))
    with pytest.raises(InvalidConfig, match="rabbitmq:orders is taken from by take already"):
        hr.on(rabbitmq("orders"), name="another name")(print_it)
    counted_twice = kafka("orders", group="a")
    hr.on(counted_twice)(print_it)
    hr.on(kafka("orders", group="b"))(print_it)


async def print_it(ctx: JobContext, number: int) -> None:
    """A plain function."""


def test_a_function_becomes_a_task_and_a_task_stays_what_it_is(hr: Headrace) -> None:
    class Local:
        """Known only here."""

    task = hr.task(name="given")(print_it)
    assert hr.on(rabbitmq("a"))(task) is task
    made = hr.on(rabbitmq("b"))(print_it)
    assert made.name == "print_it"

    @hr.on(redis_stream("s", group="g"))
    def local(value: "dict[str, int]", kind: "type[Local] | None" = None) -> None:
        """Its annotations name what stands around it."""

    assert hr.registry.get("local").parameters


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda hr: hr.on("orders"), "takes an address"),
        (lambda hr: hr.on(kafka("orders")), "needs a group"),
        (lambda hr: hr.on(rabbitmq("q"), batch=0), "batch must be a whole number"),
        (lambda hr: hr.on(rabbitmq("q"), dedup_window=0), "dedup_window"),
        (lambda hr: hr.on(rabbitmq("q"), priority=5_000), "priority is between"),
        (lambda hr: hr.on(rabbitmq("q"), decode=7), "decode is a plain function"),
        (lambda hr: hr.broker("kafka", "kafka://host"), "there already, with another URL"),
        (lambda hr: hr.broker("legacy", "https://host"), "no broker that there is"),
        (lambda hr: hr.brokers.named("legacy", "kafka"), "name it with hr.broker"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_written(
    hr: Headrace, make: Callable[[Headrace], Any], said: str
) -> None:
    with pytest.raises(InvalidConfig, match=said):
        make(hr)


async def test_a_broker_without_a_url_is_told_when_a_worker_starts() -> None:
    made = Headrace("memory://")
    counted(made, kafka("orders", group="g"))
    made.check()  # an API that takes nothing needs no URL
    with pytest.raises(InvalidConfig, match="HEADRACE_KAFKA_SERVERS is not set"):
        async with made.embedded(1):
            pass
    await made.close()


def test_a_client_that_is_not_installed_is_named() -> None:
    def missing() -> Source:
        raise ModuleNotFoundError("No module named 'aiokafka'", name="aiokafka")

    found = broker_of("kafka://ada:s3cret@host:9092", "it")
    with pytest.raises(InvalidConfig, match=r"kafka://ada:…@host:9092 needs aiokafka: pip install 'headrace\[kafka\]'"):
        brokers._loaded(found, missing)


async def test_nothing_is_taken_for_other_queues_or_where_sources_are_off(hr: Headrace, broker: MemoryBroker) -> None:
    broker.queue("orders")
    counted(hr, rabbitmq("orders"))
    await hr.open()
    async with bridging(hr, frozenset({"default"})):
        assert hr.services.sources.health == {}
    off = Headrace(settings=Settings(store="memory://", sources="off"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    counted(off, rabbitmq("orders"))
    await off.open()
    async with bridging(off, None):
        assert off.services.sources.health == {}
    await off.close()
