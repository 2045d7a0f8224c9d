"""What comes from brokers, over HTTP: sources, and messages that fit their task not."""

from typing import Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Request, Response

from headrace.app import Headrace
from headrace.core.errors import UnknownJob
from headrace.ports.post import Post
from headrace.runtime.views import source_view
from headrace.web.auth import Guard
from headrace.web.problems import ProblemRoute, refusals
from headrace.web.schemas import SourcesView


class BridgesApi:
    """What the routes do."""

    def __init__(self, hr: Headrace, guard: Guard) -> None:
        """Nothing is opened before the first request."""
        self._hr = hr
        self._guard = guard

    async def sources(self, request: Request) -> dict[str, object]:
        """Every source."""
        await self._hr.open()
        await self._guard.allowed(request, "read")
        return {"sources": [source_view(status) for status in await self._hr.source_status()]}

    async def message(self, request: Request, job: UUID) -> Response:
        """The bytes of a letter, as an attachment that nothing interprets."""
        await self._hr.open()
        await self._guard.allowed(request, "read")  # of every job: what outsiders sent is not for its watchers
        store = self._hr.store
        letter = await store.letter(job.bytes) if isinstance(store, Post) else None
        if letter is None:
            raise UnknownJob(f"no message is kept with the job {job}: it fitted its task, or the job is unknown")
        told = {
            "Content-Disposition": f'attachment; filename="{job}.bin"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
            "Headrace-Source": quote(letter.source, safe=":/"),
            "Headrace-Message-Bytes": str(letter.size),
        }
        if letter.content_type is not None:
            told["Headrace-Message-Type"] = quote(letter.content_type, safe="/+;= ")
        if letter.place:
            told["Headrace-Message-Place"] = quote(letter.place, safe=":-")
        return Response(letter.body, media_type="application/octet-stream", headers=told)


def bridges_router(api: BridgesApi, route: type[ProblemRoute]) -> APIRouter:
    """`GET /api/sources` and `GET /api/jobs/{id}/message`."""
    router = APIRouter(tags=["bridges"], route_class=route)
    said: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "The body as it came; its headers stand in the job's arguments.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        **refusals(400, 401, 403, 404, 422),
    }

    @router.get("/api/sources", response_model=SourcesView, responses=refusals(400, 401, 403))
    async def sources(request: Request) -> dict[str, object]:
        """Every source of messages: who takes from it, what it waits for, how far it has read."""
        return await api.sources(request)

    @router.get("/api/jobs/{job_id}/message", response_class=Response, responses=said)
    async def message(request: Request, job_id: UUID) -> Response:
        """The raw message of a job that did not fit its task."""
        return await api.message(request, job_id)

    return router
