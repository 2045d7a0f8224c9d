"""Puts the HTTP side on a FastAPI app: routes under the prefix, and the store in its lifespan."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.routing import Match

from headrace.app import Headrace
from headrace.app.metrics import installed
from headrace.core.errors import InvalidConfig, Rejected, StoreUnavailable
from headrace.ports.observer import Moment
from headrace.web.auth import COOKIE, Guard, check_auth
from headrace.web.bridges import BridgesApi, bridges_router
from headrace.web.jobs import JobsApi, jobs_router
from headrace.web.live import Live
from headrace.web.metrics import MetricsApi, metrics_router
from headrace.web.page import page_router
from headrace.web.problems import ProblemRoute, Refused, come_again
from headrace.web.sinks import SinksApi, sinks_router
from headrace.web.sse import updates_router
from headrace.web.system import SystemApi, system_routers
from headrace.web.webhooks import WebhooksApi, webhooks_router
from headrace.web.websocket import websocket_router

METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
STATE: Final = "headrace"  # on `app.state`: what is installed, by prefix
_BEARER: Final = HTTPBearer(auto_error=False, scheme_name="headrace", description="An API key or a job token.")
_COOKIE: Final = APIKeyCookie(name=COOKIE, auto_error=False, scheme_name="headraceSession")
_DESCRIBED: Final = [Security(_BEARER), Security(_COOKIE)]  # for OpenAPI; `Guard` is what asks


def install(hr: Headrace, app: FastAPI, *, workers: int = 0, prefix: str | None = None) -> None:
    """As `Headrace.install` says.

    Raises:
        InvalidConfig: not a FastAPI app, a prefix that cannot be, a second Headrace under one prefix.
    """
    if not isinstance(app, FastAPI):  # pyright: ignore[reportUnnecessaryIsInstance] - it comes from users
        raise InvalidConfig(f"install takes a FastAPI app, not {type(app).__name__}")
    chosen = hr.prefix if prefix is None else prefix
    if not chosen.startswith("/") or chosen.endswith("/"):
        raise InvalidConfig(f"prefix starts with a slash and ends without one, as '/headrace', not {chosen!r}")
    if hr.host is not None:
        raise InvalidConfig("this Headrace is installed already; make another one for another app")
    taken: dict[str, Headrace] = getattr(app.state, STATE, {})
    if chosen in taken:
        raise InvalidConfig(f"a Headrace is installed under {chosen!r} already; give this one another prefix=")
    check_auth(hr.auth)
    hr.prefix, hr.host = chosen, app
    setattr(app.state, STATE, {**taken, chosen: hr})
    live = Live(hr)
    app.include_router(router(hr, live), prefix=chosen)
    for kind in (StoreUnavailable, Rejected):
        app.exception_handlers.setdefault(kind, come_again)
    _wrap_lifespan(hr, app, live, workers)


def router(hr: Headrace, live: Live) -> APIRouter:
    """Every route."""
    guard = Guard(hr)
    jobs = JobsApi(hr, guard)
    unguarded, guarded = _routes(hr, guard)

    whole = APIRouter()
    system, doors = system_routers(SystemApi(hr, guard), guarded, unguarded)
    metrics = metrics_router(MetricsApi(hr, guard, live.moment), guarded)
    bridges = bridges_router(BridgesApi(hr, guard), guarded)
    sinks = sinks_router(SinksApi(hr, guard), guarded)
    webhooks = webhooks_router(WebhooksApi(hr, guard), guarded)
    closed = (
        jobs_router(jobs, guarded),
        updates_router(jobs, live, guarded),
        system,
        bridges,
        sinks,
        webhooks,
        metrics,
    )
    for each in closed:
        whole.include_router(each, dependencies=_DESCRIBED)
    whole.include_router(doors)
    whole.include_router(websocket_router(live, guard))
    whole.include_router(page_router(hr, guard, unguarded))
    whole.include_router(_nothing_else((*closed, doors), guarded))
    return whole


def metrics_app(hr: Headrace, moment: Callable[[], Moment]) -> FastAPI:
    """An app with `GET /metrics` and nothing else, for a process that has no API."""
    guard = Guard(hr)
    _, guarded = _routes(hr, guard)
    metrics = metrics_router(MetricsApi(hr, guard, moment), guarded)
    app = FastAPI(openapi_url=None)
    app.include_router(metrics)
    app.include_router(_nothing_else((metrics,), guarded))
    return app


def _routes(hr: Headrace, guard: Guard) -> tuple[type[ProblemRoute], type[ProblemRoute]]:
    """Kinds of route: open to all, and closed without a credential."""

    class Unguarded(ProblemRoute):
        """With this app's bound on bodies."""

        body_bytes_max = hr.settings.body_bytes_max

    class Guarded(Unguarded):
        """Answers nobody without a credential."""

        async def admit(self, request: Request) -> None:
            """Ask for a credential."""
            await guard.admit(request)

    return Unguarded, Guarded


def _nothing_else(others: Sequence[APIRouter], route: type[ProblemRoute]) -> APIRouter:
    """Under the prefix, a path or a method that there is not is refused our way too."""
    router = APIRouter(route_class=route, include_in_schema=False)
    known = [each for other in others for each in other.routes if isinstance(each, APIRoute)]

    @router.api_route("/{path:path}", methods=METHODS, response_class=Response)
    async def nothing(request: Request, path: str) -> Response:
        """404, or 405 where another method is right."""
        asked = {"type": "http", "method": request.method, "path": f"/{path}", "root_path": ""}
        methods = {
            method for each in known if each.matches(asked)[0] is not Match.NONE for method in each.methods or ()
        }
        if methods:
            allow = ", ".join(sorted(methods))
            raise Refused("method-not-allowed", f"this path takes {allow}", headers={"Allow": allow})
        raise Refused("not-found", "there is no such path under this prefix")

    return router


def _wrap_lifespan(hr: Headrace, app: FastAPI, live: Live, workers: int) -> None:
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(served: Any) -> AsyncGenerator[Any]:
        await hr.reach()
        hr.services.spooling.begin()
        if installed():
            hr.services.metrics.begin()
        try:
            with live.ended_by_signals(asyncio.get_running_loop()):
                async with inner(served) as state, hr.embedded(workers):
                    yield state
        finally:
            live.shut_down()
            await hr.close()

    app.router.lifespan_context = lifespan
