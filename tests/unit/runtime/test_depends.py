"""Dependencies resolve as FastAPI's users expect, and clean up after themselves."""

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, Query, Request, Response, WebSocket
from fastapi.security import SecurityScopes

from headrace.core.errors import InvalidArguments, InvalidConfig
from headrace.runtime.context import JobContext
from headrace.runtime.depends import Dependencies, Injected
from headrace.runtime.registry import Policies, TaskDef
from headrace.testing import context

events: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    events.clear()


async def resources() -> AsyncIterator[str]:
    events.append("open")
    try:
        yield "resource"
    except ValueError as error:
        events.append(f"saw {error}")
        raise
    finally:
        events.append("close")


def threaded(resource: Annotated[str, Depends(resources)]) -> Iterator[str]:
    events.append("open threaded" if threading.current_thread() is not threading.main_thread() else "on the loop!")
    yield f"threaded {resource}"
    events.append("close threaded")


class Service:
    def __init__(self, resource: Annotated[str, Depends(resources)], ctx: JobContext, size: int = 3) -> None:
        self.said = f"{resource} {ctx.attempt} {size}"


class ByCall:
    def __call__(self) -> str:
        return "called"


def task(*annotations: Any) -> TaskDef:
    async def body(**_: Any) -> None: ...

    names = [f"p{n}" for n in range(len(annotations))]
    namespace: dict[str, Any] = {"Injected": Injected, **{f"A{n}": each for n, each in enumerate(annotations)}}
    parameters = ", ".join(f"{name}: A{n} = Injected" for n, name in enumerate(names))
    exec(f"async def body(*, {parameters}): ...", namespace)
    return TaskDef("body", namespace["body"], Policies())


async def resolved(*annotations: Any, overrides: Any = None, error: BaseException | None = None) -> list[Any]:
    plan = task(*annotations).dependencies
    assert plan is not None
    dependencies = Dependencies(plan, overrides or {}, context(attempt=2))
    try:
        values = list((await dependencies.open()).values())
    finally:
        if error is not None:
            dependencies.failed(error)
        await dependencies.close()
    return values


async def test_every_form_of_dependency() -> None:
    async def coroutine() -> int:
        return 1

    found = await resolved(
        Annotated[int, Depends(coroutine)],
        Annotated[str, Depends(resources)],
        Annotated[str, Depends(threaded)],
        Annotated[Service, Depends()],
        Annotated[str, Depends(ByCall())],
    )
    assert found[:3] == [1, "resource", "threaded resource"]
    assert found[3].said == "resource 2 3"
    assert found[4] == "called"
    # One resource for all of them, closed after what was opened on top of it.
    assert events == ["open", "open threaded", "close threaded", "close"]


def test_a_caller_cannot_give_what_is_injected() -> None:
    with pytest.raises(InvalidArguments, match="p0: is injected where the job runs"):
        task(Annotated[str, Depends(resources)]).encode_args((), {"p0": "mine"})


async def test_without_the_cache_it_is_opened_for_each() -> None:
    once = Annotated[str, Depends(resources, use_cache=False)]
    await resolved(once, once)
    assert events == ["open", "open", "close", "close"]


async def test_the_bodys_error_is_seen_at_the_yield_and_goes_no_further() -> None:
    await resolved(Annotated[str, Depends(resources)], Annotated[str, Depends(threaded)], error=ValueError("boom"))
    assert events == ["open", "open threaded", "saw boom", "close"]


async def test_what_was_opened_is_closed_when_the_next_one_fails() -> None:
    def broken() -> str:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await resolved(Annotated[str, Depends(resources)], Annotated[str, Depends(broken)])
    assert events == ["open", "close"]


async def test_an_error_of_the_clean_up_is_raised() -> None:
    async def leaky() -> AsyncIterator[int]:
        yield 1
        raise RuntimeError("leak")

    with pytest.raises(RuntimeError, match="leak"):
        await resolved(Annotated[int, Depends(leaky)])


async def test_overrides_replace_a_dependency_with_its_own_needs() -> None:
    async def other(again: Annotated[str, Depends(threaded)]) -> str:
        return f"other {again}"

    async def plain() -> str:
        return "plain"

    found = await resolved(Annotated[Service, Depends()], overrides={resources: plain})
    assert found[0].said == "plain 2 3"
    found = await resolved(Annotated[str, Depends(plain)], overrides={plain: other})
    assert found == ["other threaded resource"]


async def test_a_limit_of_concurrency_is_kept_and_given_back() -> None:
    limited = Annotated[str, Depends(resources, max_concurrency=1)]
    assert await resolved(limited) == ["resource"]
    assert await resolved(limited) == ["resource"]


def wants_request(request: Request) -> None: ...
def wants_socket(socket: WebSocket) -> None: ...
def wants_background(tasks: BackgroundTasks) -> None: ...
def wants_response(response: Response) -> None: ...
def wants_scopes(scopes: SecurityScopes) -> None: ...
def wants_query(q: str) -> None: ...
def wants_default_query(q: str = Query("x")) -> None: ...
def nested(inner: Annotated[None, Depends(wants_request)]) -> None: ...


@pytest.mark.parametrize(
    ("dependency", "said"),
    [
        (wants_request, r"'p0' → wants_request needs a Request \('request'\)"),
        (wants_socket, "WebSocket"),
        (wants_background, "BackgroundTasks"),
        (wants_response, "Response"),
        (wants_scopes, "SecurityScopes"),
        (wants_query, "takes 'q' from the request"),
        (wants_default_query, "takes 'q' from the request"),
        (nested, "nested → wants_request needs a Request"),
    ],
)
def test_what_needs_a_request_fails_at_start_up(dependency: Any, said: str) -> None:
    with pytest.raises(InvalidConfig, match=f"^task body: .*{said}"):
        task(Annotated[None, Depends(dependency)]).check()


def test_a_dependency_on_itself_is_told() -> None:
    def circle(again: Any) -> None: ...

    circle.__annotations__["again"] = Annotated[None, Depends(circle)]
    with pytest.raises(InvalidConfig, match="circle depends on itself"):
        task(Annotated[None, Depends(circle)]).check()
