"""`headrace jobs`: list, show, retry, cancel."""

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from headrace.cli import output
from headrace.cli.fail import Fail
from headrace.cli.message import message_command
from headrace.cli.params import Listing, Which, filters, job_id, json_option
from headrace.cli.reach import Where, opened, store_options, waits
from headrace.core.ids import as_uuid
from headrace.core.states import JobState

if TYPE_CHECKING:
    from headrace.app import Headrace
    from headrace.core.model import JobFilter, JobId, JobRecord

PAGE: Final = 500
BATCH: Final = 50
"""Jobs of one retry or cancel: small, so that a rate is kept and workers get their turn at the store."""

Verb = Callable[[Sequence["JobId"]], Coroutine[Any, Any, "list[JobState | None]"]]


@click.group("jobs", cls=Listing)
def jobs_command() -> None:
    """List, show, retry, cancel; the message that one came from.

    Without a command, the list.
    """


jobs_command.add_command(message_command)


@jobs_command.command("list")
@filters()
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@json_option
@store_options
@waits
async def list_(where: Where, *, which: Which, limit: int, as_json: bool) -> None:
    """Jobs, newest first, live and ended."""
    async with opened(where) as hr:
        now = hr.clock.wall()
        found = [job async for job in each(hr, which.filter(now), limit + 1)]
        views = await shown(hr, found[:limit]) if as_json else []
    more, found = len(found) > limit, found[:limit]
    if as_json:
        output.write_json({"jobs": views, "more": more})
        return
    rows = [
        (
            as_uuid(job.id),
            job.task,
            job.queue,
            job.state.value,
            f"{job.attempt}",
            output.when(job.created_at, now),
            remark(job, now),
        )
        for job in found
    ]
    columns = ("id", "task", "queue", "state", "attempt", "created", "remark")
    output.table(columns, rows, empty="No job matches." if which.given else "No job yet.")
    if more:
        output.note(f"headrace: these are the newest {limit}; --limit shows more")


@jobs_command.command()
@click.argument("job", type=job_id, metavar="JOB")
@json_option
@store_options
@waits
async def show(where: Where, *, job: "JobId", as_json: bool) -> None:
    """One job: its state, why it is not running, its attempts, its result or error."""
    async with opened(where) as hr:
        record = (await hr.store.get([job]))[0]
        if record is None:
            raise unknown(job)
        attempts = await hr.store.attempts(job)
        view = (await shown(hr, [record], around=True))[0]
        now = hr.clock.wall()
    if as_json:
        from headrace.runtime.views import attempt_view

        output.write_json({**view, "attempts": [attempt_view(attempt, traceback=True) for attempt in attempts]})
        return
    show_fields(view)
    if attempts:
        output.line()
        rows = [
            (
                attempt.attempt,
                attempt.outcome.value,
                output.when(attempt.started_at, now),
                output.span((attempt.ended_at if attempt.ended_at is not None else now) - attempt.started_at),
                attempt.worker,
                f"{attempt.failure.type}: {attempt.failure.message}".partition("\n")[0] if attempt.failure else None,
            )
            for attempt in attempts
        ]
        output.table(("attempt", "outcome", "started", "took", "worker", "error"), rows, empty="")


@jobs_command.command()
@click.argument("jobs", type=job_id, nargs=-1, metavar="[JOB]...")
@filters((JobState.FAILED, JobState.CANCELLED))
@click.option("--limit", type=click.IntRange(1), help="At most so many, newest first.")
@click.option("--rate", type=click.FloatRange(0.1, 10_000), default=100.0, show_default=True, help="Jobs per second.")
@click.option("--dry-run", is_flag=True, help="Say which, and change nothing.")
@json_option
@store_options
@waits
async def retry(where: Where, /, *, jobs: "tuple[JobId, ...]", which: Which, rate: float, **rest: Any) -> None:
    """Make failed or cancelled jobs ready again: those named, or all that match."""
    _check_named(jobs, which)
    states = (which.state,) if which.state else (JobState.FAILED,)
    async with opened(where) as hr:
        await _change(hr, hr.store.retry, jobs, which, states, word="ready again", rate=rate, **rest)


@jobs_command.command()
@click.argument("jobs", type=job_id, nargs=-1, metavar="[JOB]...")
@filters((JobState.SCHEDULED, JobState.READY, JobState.RUNNING))
@click.option("--limit", type=click.IntRange(1), help="At most so many, newest first.")
@click.option("--dry-run", is_flag=True, help="Say which, and change nothing.")
@json_option
@store_options
@waits
async def cancel(where: Where, /, *, jobs: "tuple[JobId, ...]", which: Which, **rest: Any) -> None:
    """Cancel jobs, those named or all that match; running ones are asked to stop."""
    _check_named(jobs, which)
    states = (which.state,) if which.state else (JobState.SCHEDULED, JobState.READY, JobState.RUNNING)
    async with opened(where) as hr:
        await _change(hr, hr.store.cancel, jobs, which, states, word="cancelled", rate=None, **rest)


def _check_named(jobs: "tuple[JobId, ...]", which: Which) -> None:
    if jobs and which.given:
        raise click.UsageError("name jobs or give filters, not both")
    if not jobs and not which.given:
        raise click.UsageError("name jobs, or say which with --task, --queue, --state, --tag, --since or --until")


async def _change(
    hr: "Headrace",
    verb: Verb,
    jobs: "tuple[JobId, ...]",
    which: Which,
    states: tuple[JobState, ...],
    *,
    word: str,
    rate: float | None,
    limit: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    if jobs:
        records = [record for record in await hr.store.get(jobs) if record is not None]
        if len(records) < len(jobs):
            known = {record.id for record in records}
            raise unknown(next(job for job in jobs if job not in known))
    else:
        records = [record async for record in matching(hr, which, states, limit)]
    states_after = [record.state for record in records] if dry_run else await _in_batches(hr, verb, records, rate)
    changed = [_line(record, after, dry_run=dry_run) for record, after in zip(records, states_after, strict=True)]
    if as_json:
        output.write_json({"jobs": changed, "dry_run": dry_run})
        return
    for entry in changed:
        became = "" if dry_run else f" -> {entry['after']}"
        output.line(f"{entry['id']}  {entry['task']}  {entry['before']}{became}")
    refused = [entry for entry in changed if not entry["changed"]]
    if not changed:
        output.note("headrace: no job matches")
    if refused and jobs and not dry_run:
        raise Fail(f"{len(refused)} of {len(changed)} jobs could not be made {word}", "their state does not allow it")


async def _in_batches(
    hr: "Headrace", verb: Verb, records: "Sequence[JobRecord]", rate: float | None
) -> "list[JobState | None]":
    after: list[JobState | None] = []
    began = hr.clock.now()
    for at in range(0, len(records), BATCH):
        if rate is not None and at:
            await hr.clock.sleep(began + at / rate - hr.clock.now())
        after += await verb([record.id for record in records[at : at + BATCH]])
    return after


def _line(record: "JobRecord", after: JobState | None, *, dry_run: bool) -> dict[str, Any]:
    asked = after is JobState.RUNNING and record.state is JobState.RUNNING
    return {
        "id": str(as_uuid(record.id)),
        "task": record.task,
        "before": record.state.value,
        "after": "gone" if after is None else "asked to stop" if asked and not dry_run else after.value,
        "changed": after is not None and (asked or after is not record.state),
    }


async def each(hr: "Headrace", where: "JobFilter", limit: int | None) -> "AsyncIterator[JobRecord]":
    """Jobs that match, newest first, page by page."""
    after: JobId | None = None
    left = limit
    while left is None or left > 0:
        page = await hr.store.find(where, after=after, limit=min(PAGE, left or PAGE))
        for job in page.jobs:
            yield job
        if left is not None:
            left -= len(page.jobs)
        after = page.next_after
        if after is None:
            return


async def matching(
    hr: "Headrace", which: Which, states: tuple[JobState, ...], limit: int | None
) -> "AsyncIterator[JobRecord]":
    """Jobs that match and are in one of these states."""
    count = 0
    where = which.filter(hr.clock.wall())
    async for job in each(hr, where, None):
        if job.state in states:
            yield job
            count += 1
            if count == limit:
                return


def unknown(job: "JobId") -> Fail:
    """What to say of a job that the store does not have."""
    return Fail(
        f"there is no job {as_uuid(job)} in this store",
        "it may be past its retention, or in another store: see --store and --app",
    )


def remark(job: "JobRecord", now: float) -> str | None:
    """What one wants to know beside the state, in a few words."""
    if job.state is JobState.FAILED and job.failure is not None:
        return f"{job.failure.cause.value}: {job.failure.message}".partition("\n")[0][:80]
    if job.state is JobState.SCHEDULED and job.run_at is not None:
        again = f"after {job.failures} failures, " if job.failures else ""
        return f"{again}due {output.when(job.run_at, now)}"
    if job.state is JobState.RUNNING:
        return "cancelling" if job.cancelling else progress_text(job.progress)
    return "suspect" if job.suspect else None


def progress_text(data: str | None) -> str | None:
    """Progress in words: `3/10 making thumbnails`."""
    if data is None:
        return None
    told: dict[str, Any] = json.loads(data)
    done, total, message = told.get("done"), told.get("total"), told.get("message")
    counted = f"{done:g}/{total:g}" if done is not None and total is not None else None if done is None else f"{done:g}"
    return " ".join(str(part) for part in (counted, message) if part) or None


async def shown(hr: "Headrace", records: "Sequence[JobRecord]", *, around: bool = False) -> list[dict[str, Any]]:
    """Jobs as the HTTP side shows them, without its links; `around` adds what holds a single one."""
    from headrace.app.limits import limit_of
    from headrace.app.upstream import records as upstreams
    from headrace.runtime.views import Surroundings, job_view

    store = hr.store
    what = None
    if around:
        (record,) = records
        ahead = await _count_ahead(hr, record) if record.state is JobState.READY else None
        limit = await limit_of(hr, record)
        what = Surroundings(
            hr.clock.wall(), await store.queues(), await store.workers(), ahead, limit, await upstreams(store)
        )
    views = [job_view(record, store.epoch, "", traceback=True, around=what) for record in records]
    for view in views:
        del view["links"]
    return views


async def _count_ahead(hr: "Headrace", job: "JobRecord") -> int:
    """How many jobs of its lane come first, as far as it is worth counting."""
    from headrace.core.model import JobFilter
    from headrace.runtime.views import AHEAD_MAX

    count = 0
    async for other in each(hr, JobFilter(task=job.task, queue=job.queue, state=JobState.READY), PAGE):
        count += (-other.priority, other.created_at) < (-job.priority, job.created_at)
    return min(count, AHEAD_MAX)


def show_fields(view: dict[str, Any]) -> None:
    """One job, a field a line."""
    error: dict[str, Any] | None = view["error"]
    progress = view["progress"]
    told = {
        **view,
        "tags": ", ".join(view["tags"]),
        "args": output.as_json(view["args"], indent=None),
        "result": output.as_json(view["result"], indent=None) if view["state"] == "succeeded" else None,
        "progress": progress_text(json.dumps(progress)) if progress else None,
        "holds": ", ".join(hold["kind"] for hold in view["holds"]),
        "error": error and f"{error['type']}: {error['message']} (cause: {error['cause']})",
        "traceback": error and error.get("traceback"),
        "cancelling": view["cancelling"] or None,
        "suspect": view["suspect"] or None,
        "result_expired": view["result_expired"] or None,
    }
    output.fields({name: str(value).rstrip() if value is not None else None for name, value in told.items()})
