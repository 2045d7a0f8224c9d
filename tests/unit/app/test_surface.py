"""Enqueue, look up, wait: the words of a Headrace on both stores."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel, TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from headrace import (
    Conflict,
    Headrace,
    IllegalTransition,
    InvalidArguments,
    InvalidConfig,
    Job,
    JobCancelled,
    JobContext,
    JobFailed,
    JobState,
    JobTimedOut,
    PositionLost,
    Retry,
    Task,
    UnknownJob,
    UnknownTask,
    UsageError,
)
from headrace.testing import ManualClock, drain

ONCE = Retry(max_attempts=1)


class Receipt(BaseModel):
    total: int


class App:
    def __init__(self, url: str, **options: Any) -> None:
        self.hr = Headrace(url, **options)
        self.charge: Task[[int], Receipt] = self.hr.task(queue="billing", retry=ONCE)(self._charge)

    @staticmethod
    async def _charge(ctx: JobContext, invoice: int) -> Receipt:
        if invoice == 13:
            raise ValueError("unlucky")
        await ctx.emit({"invoice": invoice})
        return Receipt(total=invoice)


@pytest.fixture(params=["memory", "sqlite"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'jobs.db'}")
    yield made
    await made.hr.close()


# -- enqueue ----------------------------------------------------------------------------------------


async def test_enqueue_opens_the_store_by_itself_and_gives_a_job(app: App) -> None:
    job = await app.charge.enqueue(7)
    assert (job.state, job.created, job.args, job.task) == ("ready", True, {"invoice": 7}, "_charge")
    assert job.id.version == 7
    assert job.position.endswith(":1")
    assert job.links["self"] == f"/headrace/api/jobs/{job.id}"
    await drain(app.hr)
    assert await job.result(timeout=30) == Receipt(total=7)
    assert job.state is JobState.SUCCEEDED


async def test_a_key_makes_it_once(app: App) -> None:
    keyed = app.charge.options(key="charge-7")
    first, again = await keyed.enqueue(7), await keyed.enqueue(7)
    assert first == again
    assert (first.created, again.created) == (True, False)
    assert len({first, again}) == 1
    with pytest.raises(Conflict) as caught:
        await keyed.enqueue(8)
    assert caught.value.job_id == first.id.bytes


async def test_wrong_arguments_enqueue_nothing(app: App) -> None:
    with pytest.raises(InvalidArguments, match="invoice"):
        await app.charge.enqueue("seven")  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments, match="no such parameter"):
        await app.charge.enqueue(7, colour="red")  # type: ignore[call-arg]
    assert await app.hr.jobs() == []


async def test_many_land_together_or_not_at_all(app: App) -> None:
    jobs = await app.hr.enqueue_many([app.charge.call(n) for n in range(3)])
    assert [job.args["invoice"] for job in jobs] == [0, 1, 2]
    assert await app.hr.enqueue_many([]) == []
    await app.charge.options(key="k").enqueue(1)
    with pytest.raises(Conflict):
        await app.hr.enqueue_many([app.charge.call(9), app.charge.options(key="k").call(2)])
    assert len(await app.hr.jobs()) == 4
    with pytest.raises(UsageError, match="the same using="):
        await app.hr.enqueue_many([app.charge.call(9), app.charge.options(using=object()).call(2)])
    with pytest.raises(UsageError, match="at most 10,000"):
        await app.hr.enqueue_many([app.charge.call(1)] * 10_001)


async def test_what_came_as_json_is_checked_the_same(app: App) -> None:
    job, created = await app.hr.enqueue_raw("_charge", {"invoice": 7}, {"priority": 3, "tags": ["a"]})
    assert created
    record = (await job.refresh()).record
    assert record is not None
    assert (record.priority, record.tags, record.queue) == (3, ("a",), "billing")
    with pytest.raises(UnknownTask, match="did you mean _charge"):
        await app.hr.enqueue_raw("charge", {})
    with pytest.raises(InvalidArguments, match="invoice: missing"):
        await app.hr.enqueue_raw("_charge", {})


async def test_a_nested_job_inherits_the_deadline() -> None:
    clock = ManualClock()
    hr = Headrace("memory://", clock=clock)
    deadlines: list[datetime | None] = []

    @hr.task()
    async def child(ctx: JobContext) -> None:
        deadlines.append(ctx.deadline)

    @hr.task()
    async def parent(ctx: JobContext) -> None:
        deadlines.append(ctx.deadline)
        await child.enqueue()
        await child.options(deadline=5).enqueue()
        await child.options(deadline=timedelta(hours=1)).enqueue()

    await parent.options(deadline=60).enqueue()
    await drain(hr)
    at = datetime.fromtimestamp(clock.wall(), UTC)
    assert deadlines == [at + timedelta(seconds=s) for s in (60, 60, 5, 60)]


# -- in a transaction of one's own --------------------------------------------------------------------


async def test_a_job_lands_with_the_users_transaction_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    app = App(f"sqlite:///{path}")
    await app.hr.open()
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with AsyncSession(engine) as session:
        async with session.begin():
            job = await app.charge.options(using=session).enqueue(7)
            assert (job.state, job.position[-2:]) == ("ready", ":1")
            with pytest.raises(UnknownJob):
                await job.refresh()
        await job.refresh()
        transaction = await session.begin()
        lost = await app.charge.options(using=session).enqueue(8)
        await transaction.rollback()
        with pytest.raises(UnknownJob):
            await lost.refresh()
    await engine.dispose()
    await app.hr.close()


async def test_a_store_in_memory_joins_nothing() -> None:
    app = App("memory://")
    with pytest.raises(UsageError):
        await app.charge.options(using=sqlite3.connect(":memory:")).enqueue(7)


# -- what becomes of it -------------------------------------------------------------------------------


async def test_a_failed_job_says_why_and_can_be_retried(app: App) -> None:
    job = await app.charge.enqueue(13)
    with pytest.raises(IllegalTransition, match="ready cannot be retried"):
        await job.retry()
    await drain(app.hr)
    with pytest.raises(JobFailed, match="ValueError: unlucky") as caught:
        await job.result(timeout=30)
    assert caught.value.cause == "error"
    assert job.state == "failed"
    assert await job.retry() == "ready"
    assert await job.cancel() == "cancelled"
    with pytest.raises(JobCancelled):
        await job.result(timeout=30)


async def test_a_result_is_waited_for_so_long_and_no_longer(app: App) -> None:
    job = await app.charge.options(delay=3600).enqueue(7)
    assert job.state == "scheduled"
    with pytest.raises(TimeoutError):
        await job.result(timeout=0.05)


async def test_a_timeout_of_the_job_is_told_apart() -> None:
    clock = ManualClock()
    app = App("memory://", clock=clock)
    job = await app.charge.options(deadline=5).enqueue(7)
    clock.advance(6)
    await drain(app.hr)
    with pytest.raises(JobTimedOut, match="deadline"):
        await job.result(timeout=30)


async def test_updates_go_on_from_any_position(app: App) -> None:
    job = await app.charge.enqueue(7)
    await drain(app.hr)
    updates = [update async for update in job.updates()]
    assert [update.kind for update in updates] == ["state", "state", "item", "end"]
    assert updates[2].data == {"key": None, "data": {"invoice": 7}}
    assert updates[2].at.tzinfo is UTC
    assert [update async for update in job.updates(updates[1].position)] == updates[2:]
    assert [update async for update in job.updates(updates[-1].position)] == []
    for lost in ("nonsense", "abcdef:1"):
        with pytest.raises(PositionLost):
            _ = [update async for update in job.updates(lost)]


# -- look-ups -----------------------------------------------------------------------------------------


async def test_jobs_are_found_by_what_they_are(app: App) -> None:
    first = await app.charge.options(tags=("a",)).enqueue(1)
    second = await app.charge.options(queue="other").enqueue(2)
    assert await app.hr.jobs(task=app.charge) == [second, first]
    assert await app.hr.jobs(tag="a") == [first]
    assert await app.hr.jobs(queue="other", state="ready", task="_charge") == [second]
    assert await app.hr.jobs(limit=1, after=second) == [first]
    assert await app.hr.jobs(created_after=datetime(2100, 1, 1, tzinfo=UTC)) == []
    for wrong in ({"limit": 0}, {"limit": 501}, {"state": "lost"}, {"created_after": datetime(2030, 1, 1)}):  # noqa: DTZ001
        with pytest.raises(UsageError):
            await app.hr.jobs(**wrong)  # type: ignore[arg-type]


async def test_jobs_are_found_however_many_others_are_newer(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.stores.sqlite.jobs.SCAN_MAX", 3)  # what one page of the store looks at
    wanted = [await app.charge.options(tags=["vip"]).enqueue(number) for number in range(3)]
    for number in range(8):
        await app.charge.enqueue(number)
    wanted.append(await app.charge.options(tags=["vip"]).enqueue(9))
    assert await app.hr.jobs(tag="vip") == wanted[::-1]
    assert await app.hr.jobs(tag="vip", limit=2) == wanted[:1:-1]
    assert await app.hr.jobs(tag="vip", limit=2, after=wanted[2]) == wanted[1::-1]


async def test_a_job_is_looked_up_by_its_id(app: App) -> None:
    job = await app.charge.enqueue(7)
    await drain(app.hr)
    same = app.hr.job(str(job.id), Receipt)
    with pytest.raises(UsageError, match=r"await job.refresh\(\) first"):
        _ = same.state
    assert await same.result(timeout=30) == Receipt(total=7)
    assert await app.hr.job(job.id).result(timeout=30) == {"total": 7}
    with pytest.raises(UsageError, match="a UUID"):
        app.hr.job("7")
    with pytest.raises(UnknownJob):
        await app.hr.job("0190163d-8694-739b-aea5-966c26f8ad91").refresh()


async def test_queues_are_held_and_released(app: App) -> None:
    await app.charge.enqueue(7)
    await app.hr.pause("billing")
    assert [(queue.name, queue.paused) for queue in await app.hr.queues()] == [("billing", True)]
    await app.hr.resume("billing")
    assert not (await app.hr.queues())[0].paused
    assert await app.hr.workers() == []


# -- in an endpoint -----------------------------------------------------------------------------------


async def test_an_endpoint_returns_a_job_as_its_openapi_says(app: App) -> None:
    api = FastAPI()

    @api.post("/charge", status_code=202)
    async def start(invoice: int) -> Job[Receipt]:
        return await app.charge.enqueue(invoice)

    async with AsyncClient(transport=ASGITransport(api), base_url="http://test") as client:
        answer = (await client.post("/charge?invoice=7")).json()
        schema = (await client.get("/openapi.json")).json()
    assert answer.keys() == {"id", "state", "position", "token", "links"}
    assert answer["state"] == "ready"
    assert app.hr.services.signer is not None
    (granted,) = app.hr.services.signer.verify(answer["token"]).jobs
    assert granted.hex() == answer["id"].replace("-", "")
    content = schema["paths"]["/charge"]["post"]["responses"]["202"]["content"]["application/json"]["schema"]
    assert "position" in str(content) or "JobAnswer" in str(content)


def test_a_token_needs_the_secret_and_json_is_no_job() -> None:
    hr = Headrace("memory://")
    job = hr.job("0190163d-8694-739b-aea5-966c26f8ad91")
    with pytest.raises(UsageError, match=r"await hr.open\(\)"):
        job.token()
    with pytest.raises(ValueError, match="instance of Job"):
        TypeAdapter(Job[int]).validate_python({"id": 1})


# -- where the store is -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:secret@host/db", r"'mysql://me:…@host/db' is none that there is"),
        ("postgresql+asyncpg://me:secret@host/db", r"names a driver.*: write postgresql://user@host/database"),
        ("postgresql://me:secret@host", r"the store 'postgresql://me:…@host' names no database"),
        ("sqlite://jobs.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite:///jobs.db?mode=ro", "drop the"),
        ("jobs.db", "is none that there is"),
    ],
)
def test_a_url_that_names_no_store_is_told(url: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said) as caught:
        Headrace(url)
    assert "secret" not in str(caught.value)


def test_nothing_is_written_before_the_first_use(tmp_path: Path) -> None:
    App(f"sqlite:///{tmp_path / 'jobs.db'}")
    assert list(tmp_path.iterdir()) == []
