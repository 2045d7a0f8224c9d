"""What there is beside jobs: tasks, queues, upstreams, workers, figures, sessions, health."""

import secrets
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import JSONResponse

from headrace.app.upstream import NAME_CHARS_MAX as UPSTREAM_CHARS_MAX
from headrace.core.errors import HeadraceError
from headrace.core.fleet import Force
from headrace.core.intake_events import IntakeHealth
from headrace.core.relay_events import RelayHealth
from headrace.core.states import JobState
from headrace.ports.notifier import Health
from headrace.runtime.spool import Spool
from headrace.runtime.views import counts_view, queue_view, upstream_view, worker_view
from headrace.web.area import Area
from headrace.web.auth import COOKIE, own_user
from headrace.web.problems import ProblemRoute, Refused, refusals
from headrace.web.schemas import (
    HealthView,
    PausedAnswer,
    QueuesView,
    SessionAnswer,
    SessionBody,
    StatsView,
    TasksView,
    UpstreamsView,
    UpstreamView,
    WorkersView,
)

QUEUE_CHARS_MAX = 200


class SystemApi(Area):
    """What the system routes do."""

    async def tasks(self, request: Request) -> dict[str, object]:
        """Every task that is registered here."""
        await self._allowed(request, "read")
        return {
            "tasks": [
                {
                    "name": task.name,
                    "queue": task.queue,
                    "kind": task.kind.value,
                    "public": task.public,
                    "timeout_s": task.timeout_s,
                    "max_attempts": task.retry.max_attempts,
                    "args_schema": task.argument_schema(),
                }
                for task in self._hr.registry
            ]
        }

    async def queues(self, request: Request) -> dict[str, object]:
        """Every queue."""
        await self._allowed(request, "read")
        return {"queues": [queue_view(queue) for queue in await self._hr.store.queues()]}

    async def pause(self, request: Request, queue: str, *, paused: bool) -> dict[str, object]:
        """Hold or release a queue."""
        await self._allowed(request, "operate")
        await self._hr.store.pause(queue, paused=paused)
        return {"name": queue, "paused": paused}

    async def upstreams(self, request: Request) -> dict[str, object]:
        """Every upstream."""
        await self._allowed(request, "read")
        now_at = self._hr.clock.wall()
        return {"upstreams": [upstream_view(upstream, now_at) for upstream in await self._hr.upstreams()]}

    async def force(self, request: Request, upstream: str, to: Force) -> dict[str, object]:
        """Set a breaker by hand."""
        await self._allowed(request, "operate")
        found = await self._hr.force_upstream(upstream, to)
        return upstream_view(found, self._hr.clock.wall())

    async def workers(self, request: Request) -> dict[str, object]:
        """Every worker."""
        await self._allowed(request, "read")
        return {"workers": [worker_view(worker) for worker in await self._hr.store.workers()]}

    async def stats(self, request: Request) -> dict[str, object]:
        """The store in a few numbers."""
        await self._allowed(request, "read")
        queues, workers = await self._hr.store.queues(), await self._hr.store.workers()
        ages = [queue.oldest_ready_s for queue in queues if queue.oldest_ready_s is not None]
        totals = {state: sum(queue.counts.get(state, 0) for queue in queues) for state in JobState}
        return {
            "counts": counts_view(totals),
            "oldest_ready_s": round(max(ages), 3) if ages else None,
            "queues_paused": sum(queue.paused for queue in queues),
            "workers_alive": sum(worker.alive for worker in workers),
            "running": sum(worker.running for worker in workers),
            "notifier": notifier_view(self._hr.notifier.health),
        }

    # -- sessions ---------------------------------------------------------------------------------

    async def log_in(self, request: Request, key: str | None) -> Response:
        """Exchange an API key, or the app's own user, for a cookie that scripts cannot read."""
        await self._hr.open()
        self._guard.check_origin(request)
        if key is not None:
            credential = await self._guard.bearer(key)
            if credential.jobs is not None:
                raise Refused("unauthorized", "a session takes an API key, not a job token")
            scopes, name = credential.scopes, credential.id
        else:
            scopes, name = await own_user(self._hr, request), f"own:{secrets.token_hex(8)}"
        if not scopes:
            raise Refused("unauthorized", 'send an API key as {"key": "hr_…"}')
        ttl_s = self._hr.settings.session_ttl_s
        said = JSONResponse({"scopes": sorted(scopes), "expires_in_s": ttl_s}, headers={"Cache-Control": "no-store"})
        said.set_cookie(
            COOKIE,
            self._guard.signer.for_session(scopes, name, ttl_s),
            max_age=int(ttl_s),
            path=self._path(request),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return said

    async def log_out(self, request: Request) -> Response:
        """Forget the cookie."""
        self._guard.check_origin(request)
        said = Response(status_code=204)
        said.delete_cookie(COOKIE, path=self._path(request), httponly=True, samesite="strict")
        return said

    def _path(self, request: Request) -> str:
        return f"{request.scope.get('root_path', '').rstrip('/')}{self._hr.prefix}" or "/"

    # -- health -----------------------------------------------------------------------------------

    async def _status(self) -> str:
        spool = self._hr.services.spooling.spool
        if spool is not None and spool.away and not spool.full:
            return "spooling"  # the spool's keeper asks, and a probe need not wait
        try:
            await self._hr.open()
            await self._hr.store.get([bytes(16)])  # a read that reaches the store
        except HeadraceError as error:
            if spool is None or spool.full or not error.transient:
                raise Refused("not-ready", "the store does not answer") from error
            return "spooling"
        return "ready"

    async def ready(self, request: Request) -> dict[str, object]:
        """Whether the store answers, or else whether there is room to spool."""
        status = await self._status()
        spool = self._hr.services.spooling.spool
        try:
            await self._guard.allowed(request, "read")
        except (Refused, HeadraceError):
            return {"status": status}
        store = self._hr.settings.store.partition(":")[0]
        said: dict[str, object] = {
            "status": status,
            "store": store,
            "version": version("headrace"),
            "notifier": notifier_view(self._hr.notifier.health),
        }
        services = self._hr.services
        bridges: dict[str, IntakeHealth | RelayHealth] = dict(services.taking)
        if services.relays is not None:
            bridges.update(services.relays.health)
        if bridges:
            said["bridges"] = {
                name: f"{each.state.value}: {each.why}" if each.why else each.state.value
                for name, each in bridges.items()
            }
        return said if spool is None else {**said, "spool": spool_view(spool, self._hr.clock.wall())}


def system_routers(
    api: SystemApi, guarded: type[ProblemRoute], unguarded: type[ProblemRoute]
) -> tuple[APIRouter, APIRouter]:
    """Tasks, queues, workers and stats; and what is asked before one has a credential: sessions, health."""
    router = APIRouter(tags=["system"], route_class=guarded)
    queue_name = Path(min_length=1, max_length=QUEUE_CHARS_MAX)

    @router.get("/api/tasks", response_model=TasksView, responses=refusals(400, 401, 403))
    async def tasks(request: Request) -> dict[str, object]:
        """The tasks that this process knows, with the schemas of their arguments."""
        return await api.tasks(request)

    @router.get("/api/queues", response_model=QueuesView, responses=refusals(400, 401, 403))
    async def queues(request: Request) -> dict[str, object]:
        """Every queue that has or had jobs, with counts by state."""
        return await api.queues(request)

    @router.post("/api/queues/{queue}/pause", response_model=PausedAnswer, responses=refusals(400, 401, 403, 413, 422))
    async def pause(request: Request, queue: str = queue_name) -> dict[str, object]:
        """Hold a queue: what runs goes on, nothing else is started."""
        return await api.pause(request, queue, paused=True)

    @router.post("/api/queues/{queue}/resume", response_model=PausedAnswer, responses=refusals(400, 401, 403, 413, 422))
    async def resume(request: Request, queue: str = queue_name) -> dict[str, object]:
        """End a hold."""
        return await api.pause(request, queue, paused=False)

    _upstreams(router, api)

    @router.get("/api/workers", response_model=WorkersView, responses=refusals(400, 401, 403))
    async def workers(request: Request) -> dict[str, object]:
        """Every worker that is known."""
        return await api.workers(request)

    @router.get("/api/stats", response_model=StatsView, responses=refusals(400, 401, 403))
    async def stats(request: Request) -> dict[str, object]:
        """The whole store in a few numbers."""
        return await api.stats(request)

    doors = APIRouter(tags=["system"], route_class=unguarded)
    _doors(doors, api)
    return router, doors


def spool_view(spool: Spool, now_at: float) -> dict[str, object]:
    """What this process holds."""
    seen = spool.figures
    return {
        "files": seen.files,
        "bytes": seen.bytes,
        "jobs": seen.jobs,
        "oldest_s": None if seen.oldest_at is None else round(max(0.0, now_at - seen.oldest_at), 3),
        "drained": seen.drained,
        "rejected": seen.rejected,
        "trouble": None if spool.trouble is None else str(spool.trouble),
    }


def notifier_view(health: Health) -> dict[str, object]:
    """How well hints arrive."""
    echo_s = None if health.echo_s is None else round(health.echo_s, 6)
    return {"kind": health.kind, "working": health.working, "echo_s": echo_s, "trouble": health.trouble}


def _upstreams(router: APIRouter, api: SystemApi) -> None:
    name = Path(min_length=1, max_length=UPSTREAM_CHARS_MAX)
    said = refusals(400, 401, 403, 404, 413, 422)

    @router.get("/api/upstreams", response_model=UpstreamsView, responses=refusals(400, 401, 403))
    async def upstreams(request: Request) -> dict[str, object]:
        """Every upstream that any process has had."""
        return await api.upstreams(request)

    @router.post("/api/upstreams/{upstream}/open", response_model=UpstreamView, responses=said)
    async def open_(request: Request, upstream: str = name) -> dict[str, object]:
        """Open its breaker by hand: no call goes through, and what needs it is held, until it is closed by hand."""
        return await api.force(request, upstream, "open")

    @router.post("/api/upstreams/{upstream}/close", response_model=UpstreamView, responses=said)
    async def close(request: Request, upstream: str = name) -> dict[str, object]:
        """Close its breaker by hand; from here on it counts anew."""
        return await api.force(request, upstream, "close")

    @router.post("/api/upstreams/{upstream}/disable", response_model=UpstreamView, responses=said)
    async def disable(request: Request, upstream: str = name) -> dict[str, object]:
        """Let every call through, whatever comes of it, until its breaker is closed by hand."""
        return await api.force(request, upstream, "disable")


def _doors(router: APIRouter, api: SystemApi) -> None:
    gone: dict[int | str, dict[str, Any]] = {204: {"description": "The cookie is deleted."}, **refusals(403)}

    @router.post("/api/session", response_model=SessionAnswer, responses=refusals(400, 401, 403, 413, 422))
    async def log_in(request: Request, body: SessionBody) -> Response:
        """Exchange an API key, or the app's own user, for a session cookie (browsers)."""
        return await api.log_in(request, body.key)

    @router.delete("/api/session", status_code=204, response_class=Response, responses=gone)
    async def log_out(request: Request) -> Response:
        """End the session."""
        return await api.log_out(request)

    @router.get("/health/live", response_model=HealthView, response_model_exclude_none=True)
    async def live() -> dict[str, object]:
        """The process answers."""
        return {"status": "live"}

    @router.get("/health/ready", response_model=HealthView, response_model_exclude_none=True, responses=refusals(503))
    async def ready(request: Request) -> dict[str, object]:
        """The store answers too, or enqueues are spooled until it does; details only for a credential."""
        return await api.ready(request)
