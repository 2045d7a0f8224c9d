"""A task's function as read once: its context, what callers give, what is injected, what it returns."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.core.errors import InvalidConfig
from headrace.runtime.arguments import Parameter
from headrace.runtime.context import JobContext, SyncJobContext
from headrace.runtime.depends import Injected, depends_in, is_depends

CONTEXTS: Final = {"JobContext": JobContext, "SyncJobContext": SyncJobContext}
_EMPTY: Final = inspect.Parameter.empty
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Unresolved(Exception):
    """An annotation names what is not there."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the signature says."""

    takes_context: bool
    parameters: tuple[Parameter, ...]
    injected: Mapping[str, tuple[Any, Any]]  # parameter -> FastAPI's Depends, annotation
    returns: Any


def read(fn: Callable[..., Any], task: str, local_names: Mapping[str, Any] | None = None) -> Shape:
    """Read the function's signature; `local_names` are those around a function inside a function.

    Raises:
        Unresolved: an annotation names what is not defined (yet).
        InvalidConfig: a signature that a task cannot have.
    """
    hints = _hints(fn, local_names)
    found = list(inspect.signature(fn).parameters.values())
    takes_context = bool(found) and _is_context(fn, task, found[0], hints.get(found[0].name, _EMPTY))
    parameters: list[Parameter] = []
    injected: dict[str, tuple[Any, Any]] = {}
    for each in found[1:] if takes_context else found:
        annotation = hints.get(each.name, Any)
        _refuse(task, each, annotation)
        depends = _dependency(task, each, annotation)
        if depends is None:
            required = each.default is _EMPTY
            parameters.append(Parameter(each.name, annotation, required, each.kind in _POSITIONAL))
        else:
            injected[each.name] = (depends, annotation)
    return Shape(takes_context, tuple(parameters), injected, hints.get("return", Any))


def _hints(fn: Callable[..., Any], local_names: Mapping[str, Any] | None) -> dict[str, Any]:
    # The contexts' names are known even where the module imports them for type checkers only.
    names = {**CONTEXTS, **getattr(inspect.unwrap(fn), "__globals__", {}), **(local_names or {})}
    try:
        return typing.get_type_hints(fn, globalns=names, include_extras=True)
    except NameError as error:
        raise Unresolved(str(error)) from error


def _is_context(fn: Callable[..., Any], task: str, first: inspect.Parameter, annotation: Any) -> bool:
    if first.kind not in _POSITIONAL:
        return False
    wanted = JobContext if inspect.iscoroutinefunction(fn) else SyncJobContext
    if annotation is wanted:
        return True
    if annotation in (JobContext, SyncJobContext):
        kind = "an async def task" if wanted is JobContext else "a def task"
        raise InvalidConfig(f"task {task}: {kind} takes a {wanted.__name__}, not a {annotation.__name__}")
    if annotation is Any or annotation is object or (annotation is _EMPTY and first.name == "ctx"):
        shown = "without an annotation" if annotation is _EMPTY else f"typed {getattr(annotation, '__name__', 'Any')}"
        raise InvalidConfig(
            f"task {task}: its first parameter {first.name!r} is {shown}, which hides whether it is the context: "
            f"write `{first.name}: {wanted.__name__}`, or the type of the argument that callers give"
        )
    return False


def _refuse(task: str, each: inspect.Parameter, annotation: Any) -> None:
    if each.kind in _VARIABLE:
        stars = "*" if each.kind is inspect.Parameter.VAR_POSITIONAL else "**"
        raise InvalidConfig(f"task {task}: {stars}{each.name} has no names to keep; take a list or a dict instead")
    if each.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise InvalidConfig(f"task {task}: {each.name!r} is positional-only; arguments are kept by name, drop the `/`")
    if annotation in (JobContext, SyncJobContext):
        raise InvalidConfig(f"task {task}: the context {each.name!r} must be the first parameter, without a default")


def _dependency(task: str, each: inspect.Parameter, annotation: Any) -> Any | None:
    depends = each.default if is_depends(each.default) else depends_in(annotation)
    if depends is None:
        if each.default is Injected:
            raise InvalidConfig(
                f"task {task}: {each.name!r} has the default Injected but no dependency: "
                f"annotate it `Annotated[…, Depends(…)]`"
            )
        return None
    if each.kind is not inspect.Parameter.KEYWORD_ONLY or each.default is _EMPTY:
        raise InvalidConfig(
            f"task {task}: the dependency {each.name!r} must be keyword-only with the default Injected: "
            f"write `*, {each.name}: … = Injected`"
        )
    return depends
