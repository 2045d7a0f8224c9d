"""`GET /metrics`: what Prometheus reads, closed like every other route."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from headrace.app import Headrace
from headrace.app.metrics import CONTENT_TYPE, REMEDY, installed
from headrace.ports.observer import Moment
from headrace.web.auth import Guard
from headrace.web.problems import ProblemRoute, Refused, refusals


class MetricsApi:
    """What the route does; `moment` tells what is so in this process now."""

    def __init__(self, hr: Headrace, guard: Guard, moment: Callable[[], Moment]) -> None:
        """Nothing is counted before the first request, unless somebody began."""
        self._hr = hr
        self._guard = guard
        self._moment = moment

    async def metrics(self, request: Request) -> Response:
        """Every metric."""
        await self._hr.open()
        await self._guard.allowed(request, "read")
        if not installed():
            raise Refused("not-installed", REMEDY)
        body = await self._hr.services.metrics.text(self._moment())
        return Response(body, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})


def metrics_router(api: MetricsApi, route: type[ProblemRoute]) -> APIRouter:
    """`GET /metrics`."""
    router = APIRouter(tags=["system"], route_class=route)
    said: dict[int | str, dict[str, Any]] = {
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **refusals(400, 401, 403, 501),
    }

    @router.get("/metrics", response_class=Response, responses=said)
    async def metrics(request: Request) -> Response:
        """What Prometheus reads: figures of the store, and what this process has counted."""
        return await api.metrics(request)

    return router
