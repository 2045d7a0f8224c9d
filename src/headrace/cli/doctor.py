"""`headrace doctor`: what is wrong here, and the command that mends it."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from headrace.cli import output
from headrace.cli.checks import (
    Check,
    Grade,
    check_file,
    check_files_limit,
    check_move,
    check_side_directory,
    check_sqlite_version,
    check_variables,
    fail,
    ok,
    warn,
)
from headrace.cli.fail import Fail
from headrace.cli.jobs import each
from headrace.cli.params import json_option
from headrace.cli.queues import differences
from headrace.cli.reach import Where, run, sqlite_path, store_options
from headrace.core.errors import HeadraceError, SchemaMismatch
from headrace.core.model import JobFilter
from headrace.core.states import JobState

if TYPE_CHECKING:
    from headrace.app import Headrace
    from headrace.core.model import WorkerRecord

LOOKED_AT: Final = 5_000
"""Waiting jobs whose tasks are looked at, the newest ones."""


@click.command("doctor")
@json_option
@store_options
def doctor_command(where: Where, *, as_json: bool) -> int:
    """What is wrong here, and the command that mends it.

    Exits 1 if anything fails; a warning is not a failure.
    """
    found: list[Check] = []
    person = not as_json
    for check in _all(where):
        found.append(check)
        if person:
            _print(check)
    counts = Counter(check.grade for check in found)
    if as_json:
        checks = [{"name": c.name, "grade": c.grade.value, "saw": c.saw, "mend": c.mend or None} for c in found]
        output.write_json({"ok": not counts[Grade.FAIL], "checks": checks})
    else:
        output.line()
        output.line(", ".join(f"{counts[grade]} {grade.value}" for grade in Grade))
    return 1 if counts[Grade.FAIL] else 0


def _print(check: Check) -> None:
    head = output.coloured(check.grade.value) + " " * (5 - len(check.grade.value))
    output.line(f"{head} {check.name}: {check.saw}")
    if check.mend:
        output.line(f"      {check.mend}")


def _all(where: Where) -> Iterator[Check]:
    from headrace.settings import shown_url

    yield from check_variables()
    yield from check_files_limit()
    try:
        hr = where.headrace()
    except Fail as error:
        yield fail("app" if where.target else "settings", str(error), error.detail.strip())
        return
    except HeadraceError as error:
        yield fail("settings", str(error), "`headrace settings` lists what there is")
        return
    path = sqlite_path(hr.settings.store)
    yield ok("store", shown_url(hr.settings.store))
    if path is None:
        yield warn(
            "store", "jobs are kept in memory and end with the process", "name a file: HEADRACE_STORE=sqlite:///…"
        )
        return
    yield from check_sqlite_version()
    before = list(check_file(path))
    yield from before
    yield from check_side_directory(path)
    yield from _check_secrets(hr)
    if path.is_file() and all(check.grade is not Grade.FAIL for check in before):
        yield from run(_collected(hr, path))


async def _collected(hr: "Headrace", path: Path) -> list[Check]:
    found = [*_check_lock(path), *check_move(path)]
    try:
        await hr.open()
    except HeadraceError as error:
        return [*found, fail("schema" if isinstance(error, SchemaMismatch) else "store", str(error), "")]
    try:
        return [*found, *[check async for check in _check_fleet(hr)]]
    except HeadraceError as error:
        return [*found, fail("store", str(error), "")]
    finally:
        await hr.close()


def _check_lock(path: Path) -> Iterator[Check]:
    """Who writes just now."""
    from headrace.stores.sqlite.holder import program, write_lock_holder

    holder = write_lock_holder(str(path))
    if holder is None:
        yield ok("write lock", "free")
    else:
        yield warn(
            "write lock",
            f"held by process {holder} ({program(holder) or 'unknown'}) when it was looked at",
            "no harm if it comes and goes; a transaction that stays open stops every enqueue",
        )


async def _check_fleet(hr: "Headrace") -> AsyncIterator[Check]:
    yield ok("schema", "as this version wants it")
    workers = await hr.store.workers()
    for check in _check_workers(workers):
        yield check
    async for check in _check_waiting(hr, [worker for worker in workers if worker.alive]):
        yield check
    async for check in _check_queues(hr):
        yield check
    async for check in _check_access(hr):
        yield check


def _check_workers(workers: "list[WorkerRecord]") -> Iterator[Check]:
    alive = [worker for worker in workers if worker.alive and worker.role in {"worker", "embedded"}]
    dead = [worker for worker in workers if not worker.alive]
    if alive:
        yield ok("workers", f"{len(alive)} alive, {sum(worker.running for worker in alive)} attempts running")
    else:
        yield warn("workers", "none is alive, so nothing runs", "`headrace worker APP`")
    if dead:
        held = sum(worker.running for worker in dead)
        names = ", ".join(f"{worker.id} (pid {worker.pid} on {worker.host})" for worker in dead)
        yield warn("workers", f"dead, not yet reaped: {names}; {held} jobs", "any living worker frees their jobs")
    for text in differences(workers):
        yield warn("versions", text, "`headrace workers` shows which; restart the old ones")


async def _check_waiting(hr: "Headrace", alive: "list[WorkerRecord]") -> AsyncIterator[Check]:
    """Jobs that wait for a task or a queue that no worker takes."""
    waiting: Counter[tuple[str, str]] = Counter()
    for state in (JobState.READY, JobState.SCHEDULED):
        async for job in each(hr, JobFilter(state=state), LOOKED_AT):
            waiting[job.task, job.queue] += 1
    stuck = False
    for (task, queue), count in sorted(waiting.items()):
        knows = [worker for worker in alive if task in worker.tasks]
        if not knows:
            stuck = True
            yield warn("tasks", f"{count} jobs wait for {task}, which no living worker knows",
                       "start a worker whose app registers it: `headrace worker APP`")  # fmt: skip
        elif not any(worker.queues is None or queue in worker.queues for worker in knows):
            stuck = True
            yield warn("queues", f"{count} jobs of {task} wait in {queue}, which no living worker takes",
                       f"`headrace worker APP --queues {queue}`")  # fmt: skip
    if not stuck:
        yield ok(
            "tasks", f"a worker knows each of the {sum(waiting.values())} waiting jobs" if waiting else "none waits"
        )


async def _check_queues(hr: "Headrace") -> AsyncIterator[Check]:
    queues = await hr.store.queues()
    paused = [queue for queue in queues if queue.paused]
    for queue in paused:
        count = queue.counts.get(JobState.READY, 0)
        yield warn(
            "queues", f"{queue.name} is paused; {count} ready jobs wait", f"`headrace queues resume {queue.name}`"
        )
    if not paused:
        yield ok("queues", f"{len(queues)}, none paused")


def _check_secrets(hr: "Headrace") -> Iterator[Check]:
    secret, previous = hr.settings.secret, hr.settings.secret_previous
    if previous is not None and secret is None:
        yield fail("secret", "HEADRACE_SECRET_PREVIOUS is set without HEADRACE_SECRET", "set the new one too")
    elif previous is not None and previous == secret:
        yield warn("secret", "HEADRACE_SECRET_PREVIOUS is the same as HEADRACE_SECRET", "put the former one there")
    elif previous is not None:
        yield warn("secret", "two secrets are accepted: a rotation is under way",
                   "unset HEADRACE_SECRET_PREVIOUS when the old tokens have expired")  # fmt: skip
    else:
        yield ok("secret", "from HEADRACE_SECRET" if secret is not None else "made and kept in the store")


async def _check_access(hr: "Headrace") -> AsyncIterator[Check]:
    from headrace.settings import Auth

    if hr.settings.auth is Auth.OFF:
        yield warn(
            "auth", "off: answers anybody on this machine, and nobody else", "unset HEADRACE_AUTH to serve others"
        )
        return
    valid = [key for key in await hr.vault.api_keys() if key.revoked_at is None]
    if valid:
        yield ok("auth", f"on, {len(valid)} valid API keys")
    else:
        yield warn("auth", "on, and there is no API key: unless the app passes auth=, only job tokens open anything",
                   "`headrace keys create NAME`")  # fmt: skip
