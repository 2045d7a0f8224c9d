"""Jobs over HTTP: enqueue, look, cancel, retry, edit."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from headrace.app import Headrace
from headrace.app.job import NO_EPOCH, JobAnswer
from headrace.app.limits import limit_of
from headrace.app.spooling import WHY
from headrace.app.task import new_job
from headrace.core.errors import IllegalTransition, StoreUnavailable, UnknownJob, UnknownTask, UsageError
from headrace.core.feed import Position
from headrace.core.ids import as_uuid
from headrace.core.model import Enqueued, JobFilter, JobId, JobRecord
from headrace.core.states import JobState, SpoolState
from headrace.runtime.durations import instant
from headrace.runtime.views import AHEAD_MAX, Surroundings, attempt_view, job_view, links
from headrace.web.auth import Credential, Guard
from headrace.web.idempotency import Idempotency, JobIds
from headrace.web.problems import ProblemRoute, Refused, rate_limit, refusals
from headrace.web.schemas import (
    AttemptsView,
    BatchAnswer,
    BatchBody,
    EditBody,
    JobPageView,
    JobView,
    NewJobBody,
    RetriedAnswer,
    RetryBody,
    StateAnswer,
    TokenAnswer,
)

RETRY_STEP = 50
RETRY_S_MAX = 30  # a request is not to outlive the proxies before it
KeyHeader = Annotated[str | None, Header(alias="Idempotency-Key", max_length=300)]


class JobsApi:
    """What the job routes do."""

    def __init__(self, hr: Headrace, guard: Guard) -> None:
        """Nothing is opened before the first request."""
        self._hr = hr
        self._guard = guard
        self._repeats = Idempotency(hr)

    @property
    def epoch(self) -> str:
        """Of the feeds of the open store."""
        return self._hr.store.epoch

    def base(self, request: Request) -> str:
        """The prefix as the client sees it."""
        return f"{request.scope.get('root_path', '').rstrip('/')}{self._hr.prefix}"

    async def allowed(self, request: Request, scope: str, job: UUID | None = None) -> Credential:
        """The credential, if it covers this; the store is open afterwards, unless enqueues are spooled."""
        await self._hr.reach()
        return await self._guard.allowed(request, scope, None if job is None else job.bytes)

    async def found(self, job: UUID) -> JobRecord:
        """The job's record."""
        if self.spooled(job):
            raise StoreUnavailable(WHY)
        (record,) = await self._hr.store.get([self._hr.services.spooling.landed(job.bytes)])
        if record is None:
            raise UnknownJob(f"no job {job} is in the store")
        return record

    def spooled(self, job: UUID) -> bool:
        """Whether this process has yet to bring the job to the store."""
        return self._hr.services.spooling.holds(job.bytes)

    # -- enqueue ----------------------------------------------------------------------------------

    async def enqueue(self, request: Request, bodies: list[NewJobBody], key: str | None, *, one: bool) -> Response:
        """Enqueue all of them or none, once per Idempotency-Key."""
        credential = await self.allowed(request, "enqueue")
        if len(bodies) > self._hr.settings.batch_max:
            raise UsageError(f"at most {self._hr.settings.batch_max:,} jobs at once, not {len(bodies):,}")

        async def work(ids: JobIds) -> bytes:
            jobs = [new_job(self._call(body), self._hr) for body in bodies]
            for job in jobs:
                job.id = ids.make()
            landed = await self._hr.write(jobs)
            told = [self._told(job, request) for job in landed]
            return json.dumps(told[0] if one else {"jobs": told}, ensure_ascii=False).encode()

        body = await self._repeats.once(credential.id, key, request, work)
        headers = {"Cache-Control": "no-store", **self._left(bodies)}
        if one:
            headers["Location"] = f"{self.base(request)}/api/jobs/{json.loads(body)['id']}"
        return Response(body, 202, headers, media_type="application/json")

    def _left(self, bodies: list[NewJobBody]) -> dict[str, str]:
        """What is left of the bounds of their queues."""
        gate = self._hr.gate
        if not gate.declared:
            return {}
        lowest: dict[str, int] = {}
        for body in bodies:
            if body.task not in self._hr.registry:  # a replay, of a task that there was
                continue
            task, options = self._hr.registry.get(body.task), body.options or {}
            queue, priority = options.get("queue") or task.queue, options.get("priority")
            priority = task.priority if priority is None else priority
            lowest[queue] = min(priority, lowest.get(queue, priority))
        return rate_limit(room for queue in sorted(lowest) for room in gate.rooms(queue, lowest[queue]))

    def _call(self, body: NewJobBody) -> Any:
        task = self._hr.registry.get(body.task) if body.task in self._hr.registry else None
        if task is None or not task.public:
            raise UnknownTask(f"no public task {body.task!r} is known here; `public=True` opens one")
        return self._hr.raw_call(body.task, body.args, body.options)

    def _told(self, job: Enqueued, request: Request) -> dict[str, object]:
        return {
            "id": str(as_uuid(job.id)),
            "state": job.state.value,
            "position": str(Position(self._hr.store.epoch or NO_EPOCH, job.offset)),
            "token": None if self._hr.services.signer is None else self._guard.signer.for_jobs([job.id]),
            "links": links(job.id, self.base(request)),
        }

    # -- look -------------------------------------------------------------------------------------

    async def page(self, request: Request, where: JobFilter, size: int | None, token: str | None) -> dict[str, object]:
        """One page of jobs."""
        await self.allowed(request, "read")
        mark = hashlib.sha256(repr(where).encode("utf-8", "surrogatepass")).digest()[:6]
        after = None if token is None else _opened(token, mark)
        settings = self._hr.settings
        wanted = settings.page_size if size is None else size
        page = await self._hr.store.find(where, after=after, limit=min(max(wanted, 1), settings.page_size_max))
        following = "" if page.next_after is None else base64.urlsafe_b64encode(mark + page.next_after).decode()
        epoch, base = self._hr.store.epoch, self.base(request)
        return {"jobs": [job_view(job, epoch, base) for job in page.jobs], "next_page_token": following}

    async def view(self, request: Request, job: UUID) -> dict[str, object]:
        """One job, and why it is not running."""
        credential = await self.allowed(request, "read", job)
        waiting = await self._hr.services.spooling.find(job.bytes)
        if waiting is not None:
            epoch = self._hr.store.epoch or NO_EPOCH
            return job_view(waiting, epoch, self.base(request)) | {"state": SpoolState.SPOOLED.value, "why": WHY}
        record = await self.found(job)
        trusted = credential.jobs is None
        around = await self._around(record)
        return job_view(record, self._hr.store.epoch, self.base(request), traceback=trusted, around=around)

    async def _around(self, record: JobRecord) -> Surroundings:
        now_at = self._hr.clock.wall()
        if record.state.terminal or record.state is JobState.RUNNING:
            return Surroundings(now_at)
        store = self._hr.store
        queues, workers = await store.queues(), await store.workers()
        ahead = await self._ahead(record) if record.state is JobState.READY else None
        limit = await limit_of(self._hr, record)
        return Surroundings(now_at, queues, workers, ahead, limit, await self._hr.upstreams())

    async def _ahead(self, record: JobRecord) -> int:
        """How many jobs of its kind come first, as far as it is worth counting: older ones, and more urgent ones."""
        lane = JobFilter(task=record.task, queue=record.queue, state=JobState.READY)
        older = replace(lane, created_before=record.created_at)
        newer = replace(lane, created_after=record.created_at)
        found = [await self._hr.store.find(where, limit=AHEAD_MAX + 1) for where in (older, newer)]
        line = {each.id for page in found for each in page.jobs if _is_ahead(each, record)}
        return min(len(line), AHEAD_MAX)

    async def attempts(self, request: Request, job: UUID) -> dict[str, object]:
        """Every attempt of one job."""
        credential = await self.allowed(request, "read", job)
        await self.found(job)
        trusted = credential.jobs is None
        return {
            "attempts": [attempt_view(each, traceback=trusted) for each in await self._hr.store.attempts(job.bytes)]
        }

    # -- change -----------------------------------------------------------------------------------

    async def cancel(self, request: Request, job: UUID) -> dict[str, object]:
        """Cancel; a job that has ended stays as it is."""
        await self.allowed(request, "operate", job)
        record = await self.found(job)
        if record.state.terminal:
            raise IllegalTransition(f"the job has ended ({record.state.value}); it cannot be cancelled")
        return {"id": str(job), "state": (await self._hr.job(job).cancel()).value}

    async def retry(self, request: Request, job: UUID) -> dict[str, object]:
        """Make a failed or cancelled job ready again."""
        await self.allowed(request, "operate", job)
        return {"id": str(job), "state": (await self._hr.job(job).retry()).value}

    async def edit(self, request: Request, job: UUID, body: EditBody) -> dict[str, object]:
        """Give a failed job other arguments."""
        await self.allowed(request, "operate")
        record = await self.found(job)
        if record.state is not JobState.FAILED:
            raise IllegalTransition(f"only a failed job can be edited; this one is {record.state.value}")
        args = self._hr.registry.get(record.task).encode_named(body.args)
        state = await self._hr.store.edit(job.bytes, args)
        if state is not JobState.FAILED:
            raise IllegalTransition("the job is not failed any more; it was not edited")
        return {"id": str(job), "state": state.value}

    async def retry_many(self, request: Request, body: RetryBody) -> dict[str, object]:
        """Make jobs that match ready again, a few at a time."""
        await self.allowed(request, "operate")
        where = JobFilter(
            task=body.task,
            queue=body.queue,
            tag=body.tag,
            state=JobState(body.state),
            created_after=_at("created_after", body.created_after),
            created_before=_at("created_before", body.created_before),
        )
        if body.limit / body.per_second > RETRY_S_MAX:
            raise UsageError(f"limit / per_second is at most {RETRY_S_MAX} seconds; ask again while `more` is true")
        ids, more = await self._matching(where, body.limit)
        retried = 0
        for start in range(0, len(ids), RETRY_STEP):
            step = ids[start : start + RETRY_STEP]
            if start:
                await self._hr.clock.sleep(len(step) / body.per_second)
            retried += sum(state is JobState.READY for state in await self._hr.store.retry(step))
        return {"retried": retried, "more": more}

    async def _matching(self, where: JobFilter, limit: int) -> tuple[list[JobId], bool]:
        ids: list[JobId] = []
        after: JobId | None = None
        while len(ids) < limit:
            page = await self._hr.store.find(where, after=after, limit=min(limit - len(ids), 500))
            ids += [job.id for job in page.jobs]
            after = page.next_after
            if after is None:
                return ids, False
        return ids, True

    async def token(self, request: Request, job: UUID) -> dict[str, object]:
        """A new token, for whoever may read the job now."""
        credential = await self.allowed(request, "read", job)
        if not self.spooled(job):
            await self.found(job)
        operate = credential.jobs is not None and credential.allows("operate", job.bytes)
        token = self._guard.signer.for_jobs([job.bytes], operate=operate)
        return {"token": token, "expires_in_s": self._hr.settings.token_ttl_s}


def jobs_router(api: JobsApi, route: type[ProblemRoute]) -> APIRouter:
    """The routes under `/api/jobs`."""
    router = APIRouter(prefix="/api/jobs", tags=["jobs"], route_class=route)

    @router.post("", status_code=202, response_model=JobAnswer, responses=refusals(400, 401, 403, 409, 413, 422, 429))
    async def enqueue(request: Request, body: NewJobBody, idempotency_key: KeyHeader = None) -> Response:
        """Enqueue a public task."""
        return await api.enqueue(request, [body], idempotency_key, one=True)

    @router.post(
        "/batch", status_code=202, response_model=BatchAnswer, responses=refusals(400, 401, 403, 409, 413, 422, 429)
    )
    async def enqueue_batch(request: Request, body: BatchBody, idempotency_key: KeyHeader = None) -> Response:
        """Enqueue up to 1,000 jobs, all or none."""
        return await api.enqueue(request, body.jobs, idempotency_key, one=False)

    @router.post("/retry", response_model=RetriedAnswer, responses=refusals(400, 401, 403, 413, 422))
    async def retry_many(request: Request, body: RetryBody) -> dict[str, object]:
        """Run failed or cancelled jobs again, by filter and at a capped rate."""
        return await api.retry_many(request, body)

    @router.get("", response_model=JobPageView, responses=refusals(400, 401, 403, 422))
    async def list_jobs(  # noqa: PLR0917 - FastAPI gives them by name
        request: Request,
        task: str | None = None,
        queue: str | None = None,
        state: JobState | None = None,
        tag: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        page_size: Annotated[int | None, Query(description="1 to 500; other numbers are moved there.")] = None,
        page_token: Annotated[str | None, Query(max_length=200)] = None,
    ) -> dict[str, object]:
        """Jobs that match, newest first."""
        where = JobFilter(
            task, queue, state, tag, _at("created_after", created_after), _at("created_before", created_before)
        )
        return await api.page(request, where, page_size, page_token)

    _one(router, api)
    return router


def _one(router: APIRouter, api: JobsApi) -> None:
    @router.get("/{job_id}", response_model=JobView, responses=refusals(400, 401, 403, 404, 422))
    async def show(request: Request, job_id: UUID) -> dict[str, object]:
        """One job, and in words why it is not running."""
        return await api.view(request, job_id)

    @router.get("/{job_id}/attempts", response_model=AttemptsView, responses=refusals(400, 401, 403, 404, 422))
    async def attempts(request: Request, job_id: UUID) -> dict[str, object]:
        """Every attempt of one job, in order."""
        return await api.attempts(request, job_id)

    @router.post("/{job_id}/cancel", response_model=StateAnswer, responses=refusals(400, 401, 403, 404, 409, 413, 422))
    async def cancel(request: Request, job_id: UUID) -> dict[str, object]:
        """Cancel: a waiting job ends at once, a running one is asked to stop."""
        return await api.cancel(request, job_id)

    @router.post("/{job_id}/retry", response_model=StateAnswer, responses=refusals(400, 401, 403, 404, 409, 413, 422))
    async def retry(request: Request, job_id: UUID) -> dict[str, object]:
        """Run a failed or cancelled job again, failures counted from 0."""
        return await api.retry(request, job_id)

    @router.post("/{job_id}/token", response_model=TokenAnswer, responses=refusals(400, 401, 403, 404, 413, 422))
    async def token(request: Request, job_id: UUID) -> dict[str, object]:
        """A new token for this job."""
        return await api.token(request, job_id)

    @router.patch("/{job_id}", response_model=StateAnswer, responses=refusals(400, 401, 403, 404, 409, 413, 422))
    async def edit(request: Request, job_id: UUID, body: EditBody) -> dict[str, object]:
        """Give a failed job other arguments; retry it afterwards."""
        return await api.edit(request, job_id, body)


def _opened(token: str, mark: bytes) -> JobId:
    try:
        raw = base64.b64decode(token.encode("ascii", "strict"), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != len(mark) + 16 or raw[: len(mark)] != mark:
        raise Refused("invalid-page-token", "page_token is not of this listing; use the same filters, or start anew")
    return raw[len(mark) :]


def _at(name: str, value: datetime | None) -> float | None:
    return None if value is None else instant(name, value)


def _is_ahead(other: JobRecord, job: JobRecord) -> bool:
    return (-other.priority, other.created_at) < (-job.priority, job.created_at)
