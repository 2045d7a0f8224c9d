"""Puts the HTTP side on a FastAPI app: routes under the prefix, and the store in its lifespan."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI

from headrace.app import Headrace
from headrace.core.errors import InvalidConfig
from headrace.web.auth import Guard, check_auth
from headrace.web.jobs import JobsApi, jobs_router
from headrace.web.live import Live
from headrace.web.page import page_router
from headrace.web.problems import ProblemRoute
from headrace.web.sse import updates_router
from headrace.web.system import SystemApi, system_router
from headrace.web.websocket import websocket_router


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
    check_auth(hr.auth)
    hr.prefix, hr.host = chosen, app
    app.state.headrace = hr
    live = Live(hr)
    app.include_router(router(hr, live), prefix=chosen)
    _wrap_lifespan(hr, app, live, workers)


def router(hr: Headrace, live: Live) -> APIRouter:
    """Every route."""
    guard = Guard(hr)
    jobs = JobsApi(hr, guard)

    class BoundedRoute(ProblemRoute):
        """With this app's bound on bodies."""

        body_bytes_max = hr.settings.body_bytes_max

    whole = APIRouter()
    whole.include_router(jobs_router(jobs, BoundedRoute))
    whole.include_router(updates_router(jobs, live, BoundedRoute))
    whole.include_router(system_router(SystemApi(hr, guard), BoundedRoute))
    whole.include_router(websocket_router(live, guard))
    whole.include_router(page_router(hr, guard))
    return whole


def _wrap_lifespan(hr: Headrace, app: FastAPI, live: Live, workers: int) -> None:
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(served: Any) -> AsyncGenerator[Any]:
        await hr.open()
        loop = asyncio.get_running_loop()
        try:
            with live.ended_by_signals(loop.call_soon_threadsafe):
                async with inner(served) as state, hr.embedded(workers):
                    yield state
        finally:
            live.shut_down()
            await hr.close()

    app.router.lifespan_context = lifespan
