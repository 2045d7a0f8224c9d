"""FastAPI's `Depends` in tasks: a small resolver of our own, since there is no request to solve for.

Invariant: what was opened is closed in reverse order, once, also when opening the next one failed.
"""

import asyncio
import inspect
import sys
import typing
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from headrace.core.errors import InvalidConfig
from headrace.runtime.context import JobContext, SyncJobContext

Call: TypeAlias = Callable[..., Any]
Overrides: TypeAlias = Mapping[Callable[..., object], Callable[..., object]]

REQUEST_BOUND: Final = (
    ("starlette.requests", "HTTPConnection"),
    ("starlette.responses", "Response"),
    ("starlette.background", "BackgroundTasks"),
    ("fastapi.security", "SecurityScopes"),
)


class _Injected:
    """The type of `Injected`."""

    def __repr__(self) -> str:
        return "Injected"


Injected: Any = _Injected()
"""The default of a keyword-only parameter that Headrace fills from its `Depends`; callers can't give it."""


class Form(Enum):
    """How a dependency is called."""

    COROUTINE = auto()
    FUNCTION = auto()
    ASYNC_GENERATOR = auto()
    GENERATOR = auto()


@dataclass(frozen=True, slots=True)
class Node:
    """One dependency and what it needs itself."""

    call: Call
    depends: Any  # FastAPI's Depends
    form: Form
    needs: Mapping[str, "Node"]
    contexts: tuple[str, ...]  # parameters that want the job's context


Plan: TypeAlias = Mapping[str, Node]


def is_depends(value: object) -> bool:
    """Whether this is FastAPI's `Depends(…)` or `Security(…)`."""
    params = sys.modules.get("fastapi.params")  # whoever has one has imported FastAPI
    return params is not None and isinstance(value, params.Depends)


def depends_in(annotation: Any) -> Any | None:
    """The last `Depends` of an `Annotated`, as FastAPI reads it."""
    found = [each for each in getattr(annotation, "__metadata__", ()) if is_depends(each)]
    return found[-1] if found else None


def plan(task: str, injected: Mapping[str, tuple[Any, Any]]) -> Plan:
    """How to resolve a task's dependencies: parameter → (`Depends`, annotation).

    Raises:
        InvalidConfig: one needs what only a request has.
    """
    return {
        name: _node(f"task {task}: {name!r}", depends, annotation, ())
        for name, (depends, annotation) in injected.items()
    }


def _node(path: str, depends: Any, annotation: Any, above: tuple[Call, ...]) -> Node:
    call = depends.dependency or (annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation)
    if not callable(call):
        raise InvalidConfig(f"{path} has a Depends of nothing that can be called")
    return _node_of(path, call, depends, above)


def _node_of(path: str, call: Call, depends: Any, above: tuple[Call, ...]) -> Node:
    here = f"{path} → {_name(call)}"
    if call in above:
        raise InvalidConfig(f"{here} depends on itself")
    needs: dict[str, Node] = {}
    contexts: list[str] = []
    hints = _hints(here, call)
    for name, each in _parameters(here, call).items():
        annotation = hints.get(name, Any)
        if annotation in (JobContext, SyncJobContext):
            contexts.append(name)
        elif is_depends(each.default):
            needs[name] = _node(here, each.default, annotation, (*above, call))
        elif (found := depends_in(annotation)) is not None:
            needs[name] = _node(here, found, annotation, (*above, call))
        else:
            _refuse_request(here, each, annotation)
    return Node(call, depends, _form(call), needs, tuple(contexts))


def _refuse_request(here: str, each: inspect.Parameter, annotation: Any) -> None:
    plain = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    for module, name in REQUEST_BOUND:
        bound = getattr(sys.modules.get(module), name, None)
        if bound is not None and isinstance(plain, type) and issubclass(plain, bound):
            raise InvalidConfig(f"{here} needs a {plain.__name__} ({each.name!r}), and a job has no request")
    fields = sys.modules.get("pydantic.fields")
    from_request = fields is not None and isinstance(each.default, fields.FieldInfo)
    variable = each.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if from_request or (each.default is inspect.Parameter.empty and not variable):
        raise InvalidConfig(f"{here} takes {each.name!r} from the request, and a job has no request")


def _name(call: Call) -> str:
    return getattr(call, "__qualname__", None) or repr(call)


def _function(call: Any) -> Any:
    """What is really run: for its annotations and its kind."""
    while isinstance(call, partial):
        call = call.func
    if inspect.isclass(call):
        return call.__init__
    return call if inspect.isroutine(call) else type(call).__call__


def _parameters(here: str, call: Call) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(call).parameters
    except (TypeError, ValueError) as error:
        raise InvalidConfig(f"{here} has no signature that could be read: {error}") from error


def _hints(here: str, call: Call) -> dict[str, Any]:
    try:
        return typing.get_type_hints(_function(call), include_extras=True)
    except NameError as error:
        raise InvalidConfig(f"{here} has an annotation that cannot be resolved: {error}") from error
    except TypeError:  # built in: nothing is annotated
        return {}


def _form(call: Call) -> Form:
    if inspect.isclass(call):
        return Form.FUNCTION
    function = inspect.unwrap(_function(call))
    if inspect.isasyncgenfunction(function):
        return Form.ASYNC_GENERATOR
    if inspect.isgeneratorfunction(function):
        return Form.GENERATOR
    return Form.COROUTINE if inspect.iscoroutinefunction(function) else Form.FUNCTION


class Dependencies:
    """The dependencies of one attempt, from opening to clean-up."""

    __slots__ = ("_cache", "_context", "_error", "_overrides", "_plan", "_stack")

    def __init__(self, needs: Plan, overrides: Overrides, context: JobContext | SyncJobContext) -> None:
        """`overrides` are the app's `dependency_overrides`."""
        self._plan = needs
        self._overrides = overrides
        self._context = context
        self._stack = AsyncExitStack()
        self._cache: dict[Call, Any] = {}
        self._error: BaseException | None = None

    async def open(self) -> dict[str, Any]:
        """Values for the task's injected parameters; call `close` also when this raised."""
        return {name: await self._value(node) for name, node in self._plan.items()}

    def failed(self, error: BaseException) -> None:
        """The body ended in this error: generators will see it at their `yield`, as in FastAPI."""
        self._error = error

    async def close(self, error: BaseException | None = None) -> None:
        """Run what stands behind each `yield`, last opened first.

        Raises:
            Exception: one of the clean-ups' own; the body's error is not raised again.
        """
        error = error or self._error
        if error is None:
            await self._stack.aclose()
            return
        try:
            await self._stack.__aexit__(type(error), error, error.__traceback__)
        except BaseException as raised:
            if raised is not error:
                raise

    async def _value(self, node: Node) -> Any:
        call = node.call
        if node.depends.use_cache and call in self._cache:
            return self._cache[call]
        override = self._overrides.get(call)
        chosen = node if override is None else _override(override, node.depends)
        given = {name: await self._value(need) for name, need in chosen.needs.items()}
        given.update(dict.fromkeys(chosen.contexts, self._context))
        value = await self._limited(chosen, given)
        self._cache.setdefault(call, value)
        return value

    async def _limited(self, node: Node, given: dict[str, Any]) -> Any:
        limit = _limit(node.depends)
        if limit is None:
            return await self._run(node, given)
        if node.form in (Form.ASYNC_GENERATOR, Form.GENERATOR):
            await self._stack.enter_async_context(limit)
            return await self._run(node, given)
        async with limit:
            return await self._run(node, given)

    async def _run(self, node: Node, given: dict[str, Any]) -> Any:
        match node.form:
            case Form.COROUTINE:
                return await node.call(**given)
            case Form.FUNCTION:
                return await asyncio.to_thread(node.call, **given)
            case Form.ASYNC_GENERATOR:
                return await self._stack.enter_async_context(asynccontextmanager(node.call)(**given))
            case Form.GENERATOR:
                return await self._stack.enter_async_context(_in_thread(node.call, given))


def _override(call: Call, depends: Any) -> Node:
    return _node_of("dependency_overrides", call, depends, ())


@asynccontextmanager
async def _in_thread(call: Call, given: dict[str, Any]) -> AsyncGenerator[Any]:
    """A synchronous generator whose both halves run in threads."""
    manager = contextmanager(call)(**given)
    value = await asyncio.to_thread(manager.__enter__)
    try:
        yield value
    except BaseException as error:
        if not await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await asyncio.to_thread(manager.__exit__, None, None, None)


_limits: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, asyncio.Semaphore]] = WeakKeyDictionary()


def _limit(depends: Any) -> asyncio.Semaphore | None:
    """What keeps `Depends(max_concurrency=…)` of newer FastAPIs: one per `Depends` and event loop."""
    most = getattr(depends, "max_concurrency", None)
    if most is None:
        return None
    here = _limits.setdefault(asyncio.get_running_loop(), {})
    return here.setdefault(depends, asyncio.Semaphore(most))
