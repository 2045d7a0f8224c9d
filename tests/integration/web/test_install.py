"""The host app stays its own: prefixes, mounted under a root, its handlers, and what install refuses."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request, WebSocket
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from headrace import Headrace
from headrace.core.errors import HeadraceError, InvalidConfig, StoreError, StoreUnavailable
from tests.integration.web.conftest import Serve


def test_another_prefix_behind_a_root_path(serve: Serve) -> None:
    served = serve(prefix="/queue/jobs", config={"root_path": "/shop"}, workers=0)
    told = served.enqueue("add", a=1)
    assert told["links"]["self"] == f"/shop/queue/jobs/api/jobs/{told['id']}"
    with served.anonymous() as browser:
        session = browser.post("/api/session", json={"key": served.key()})
        assert "Path=/shop/queue/jobs" in session.headers["set-cookie"]
    assert httpx.get(f"http://127.0.0.1:{served.port}/headrace/api/jobs").status_code == 404


def test_the_hosts_own_handlers_and_routes_are_untouched(serve: Serve) -> None:
    app = FastAPI()

    @app.exception_handler(HTTPException)
    async def own(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"own": error.detail}, error.status_code)

    @app.middleware("http")
    async def marked(request: Request, call_next: Any) -> Any:
        answer = await call_next(request)
        answer.headers["X-Host"] = "yes"
        return answer

    @app.get("/missing")
    async def missing() -> None:
        raise HTTPException(404, "mine")

    served = serve(app=app, workers=0)
    host = f"http://127.0.0.1:{served.port}"
    assert httpx.get(f"{host}/missing").json() == {"own": "mine"}
    assert httpx.get(f"{host}/nowhere").headers["content-type"] == "application/json"
    answer = httpx.get(f"{host}/headrace/api/jobs")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-host"] == "yes"


def orders(app: FastAPI, enqueue: Callable[[], Awaitable[None]]) -> None:
    @app.post("/orders")
    async def order() -> str:
        await enqueue()
        return "ordered"


def locked(path: Path) -> sqlite3.Connection:
    """Somebody who writes, for longer than anybody waits."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    return holder


def test_an_own_endpoint_says_503_while_the_store_is_away(serve: Serve, tmp_path: Path) -> None:
    app = FastAPI()

    async def enqueue() -> None:
        await served.hr.enqueue_raw("add", {"a": 1})

    orders(app, enqueue)
    served = serve(app=app, workers=0, busy_timeout_s=0.2)
    url = f"http://127.0.0.1:{served.port}/orders"
    with closing(locked(tmp_path / "jobs.db")):
        answer = httpx.post(url, timeout=20)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"] == "urn:headrace:problem:store-unavailable"
    assert "jobs.db" not in answer.text
    assert httpx.post(url, timeout=20).json() == "ordered"


@pytest.mark.parametrize("kind", [StoreUnavailable, StoreError, HeadraceError])
def test_the_hosts_own_answer_to_a_store_that_is_away_stands(
    serve: Serve, tmp_path: Path, kind: type[HeadraceError]
) -> None:
    app = FastAPI()

    @app.exception_handler(kind)
    async def own(request: Request, error: StoreUnavailable) -> JSONResponse:
        return JSONResponse("mine", 599)

    async def enqueue() -> None:
        await served.hr.enqueue_raw("add", {"a": 1})

    orders(app, enqueue)
    served = serve(app=app, workers=0, busy_timeout_s=0.2)
    with closing(locked(tmp_path / "jobs.db")):
        assert httpx.post(f"http://127.0.0.1:{served.port}/orders", timeout=20).status_code == 599


def test_install_twice_is_refused() -> None:
    app, hr = FastAPI(), Headrace("memory://")
    hr.install(app)
    with pytest.raises(InvalidConfig, match="installed already"):
        hr.install(FastAPI())
    with pytest.raises(InvalidConfig, match="another prefix"):
        Headrace("memory://").install(app)
    Headrace("memory://").install(app, prefix="/other")


@pytest.mark.parametrize("prefix", ["", "/", "jobs", "/jobs/"])
def test_prefixes_that_cannot_be(prefix: str) -> None:
    with pytest.raises(InvalidConfig, match="prefix"):
        Headrace("memory://").install(FastAPI(), prefix=prefix)


def _request(request: Request) -> None: ...
def _socket(socket: WebSocket) -> None: ...
def _bare(connection) -> None: ...  # noqa: ANN001
def _two(connection: HTTPConnection, more: int) -> None: ...


@pytest.mark.parametrize("auth", [_request, _socket, _bare, _two])
def test_an_auth_that_a_websocket_could_not_call_is_refused(auth: Any) -> None:
    with pytest.raises(InvalidConfig, match="HTTPConnection"):
        Headrace("memory://", auth=auth).install(FastAPI())


def test_the_apps_own_users(serve: Serve) -> None:
    async def scopes(connection: HTTPConnection) -> tuple[str, ...] | None:
        return ("read",) if connection.headers.get("x-user") == "ann" else None

    served = serve(workers=0, hr={"auth": scopes})
    with served.anonymous() as browser:
        assert browser.post("/api/session", json={}).status_code == 401
        assert browser.post("/api/session", json={}, headers={"X-User": "ann"}).json()["scopes"] == ["read"]
        assert browser.get("/api/stats").status_code == 200
        assert browser.post("/api/queues/default/pause").status_code == 403
