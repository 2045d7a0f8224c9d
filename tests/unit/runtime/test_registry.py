"""What can be a task, and what is told about what cannot."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends

from headrace.core.errors import DuplicateTask, InvalidConfig, UnknownTask
from headrace.runtime.context import JobContext, SyncJobContext
from headrace.runtime.depends import Injected
from headrace.runtime.registry import Kind, Policies, Registry, TaskDef

if TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found]


def define(fn: Any, **policies: Any) -> TaskDef:
    return TaskDef(getattr(fn, "__name__", "task"), fn, Policies(**policies))


async def with_context(ctx: JobContext, n: int) -> None: ...
async def positional_context(ctx: JobContext, /, n: int) -> None: ...
async def without_context(n: int) -> None: ...
def in_thread(ctx: SyncJobContext, n: int) -> None: ...
async def named_so(ctx: "JobContext", n: "int") -> None: ...


@pytest.mark.parametrize(
    ("fn", "kind", "takes_context"),
    [
        (with_context, Kind.ASYNC, True),
        (positional_context, Kind.ASYNC, True),
        (without_context, Kind.ASYNC, False),
        (in_thread, Kind.THREAD, True),
        (named_so, Kind.ASYNC, True),
    ],
)
def test_the_context_is_no_argument(fn: Any, kind: Kind, takes_context: bool) -> None:
    task = define(fn)
    assert (task.kind, task.takes_context) == (kind, takes_context)
    assert list(task.argument_schema()["properties"]) == ["n"]


def test_cpu_tasks_are_def_functions() -> None:
    assert define(in_thread, cpu=True).kind is Kind.CPU
    with pytest.raises(InvalidConfig, match="cpu=True is for def functions"):
        define(with_context, cpu=True)


async def any_first(ctx: Any) -> None: ...
async def object_first(thing: object) -> None: ...
async def bare_ctx(ctx, n: int) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
async def wrong_context(ctx: SyncJobContext) -> None: ...
def wrong_sync_context(ctx: JobContext) -> None: ...
async def context_last(n: int, ctx: JobContext) -> None: ...
async def starred(*names: str) -> None: ...
async def double_starred(**names: str) -> None: ...
async def positional_only(n: int, /) -> None: ...
async def generator() -> Any:
    yield 1


async def injected_nothing(*, session: int = Injected) -> None: ...
async def no_default(*, session: Annotated[int, Depends(int)]) -> None: ...
async def not_keyword_only(session: Annotated[int, Depends(int)] = Injected) -> None: ...


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (any_first, r"its first parameter 'ctx' is typed Any.*write `ctx: JobContext`"),
        (object_first, "'thing' is typed object"),
        (bare_ctx, "without an annotation"),
        (wrong_context, "an async def task takes a JobContext, not a SyncJobContext"),
        (wrong_sync_context, "a def task takes a SyncJobContext, not a JobContext"),
        (context_last, "the context 'ctx' must be the first parameter"),
        (starred, r"\*names has no names to keep"),
        (double_starred, r"\*\*names has no names"),
        (positional_only, "'n' is positional-only"),
        (generator, "a generator cannot be a task"),
        (injected_nothing, "'session' has the default Injected but no dependency"),
        (no_default, "must be keyword-only with the default Injected"),
        (not_keyword_only, "must be keyword-only with the default Injected"),
        (partial(without_context, 1), "a task is a function"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_task_is_told_what_to_write(fn: Any, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        define(fn)


def test_a_cpu_task_has_no_dependencies() -> None:
    def resize(*, session: Annotated[int, Depends(int)] = Injected) -> None: ...

    with pytest.raises(InvalidConfig, match="a cpu=True task has no dependencies"):
        define(resize, cpu=True)


async def forward(later: "Later") -> "Later": ...  # noqa: F821 - a test defines it


async def missing(thing: "Missing") -> None: ...


def test_an_annotation_may_be_defined_further_down() -> None:
    task = define(forward)
    globals()["Later"] = int
    try:
        task.check()
        assert task.encode_args((7,), {}) == '{"later":7}'
    finally:
        del globals()["Later"]


def test_one_that_never_comes_is_told_at_start_up() -> None:
    task = define(missing)
    with pytest.raises(InvalidConfig, match=r"task missing: an annotation cannot be resolved.*Missing"):
        task.check()


def test_two_functions_cannot_share_a_name() -> None:
    registry = Registry()
    registry.add(define(with_context))
    registry.add(define(with_context))
    other = TaskDef("with_context", without_context, Policies())
    with pytest.raises(DuplicateTask) as caught:
        registry.add(other)
    assert f"test_registry.with_context ({__file__}:" in str(caught.value)
    assert "test_registry.without_context" in str(caught.value)


def test_an_unknown_task_is_told_what_it_may_have_meant() -> None:
    registry = Registry()
    registry.add(define(with_context))
    assert registry.names() == ["with_context"]
    assert "with_context" in registry
    with pytest.raises(UnknownTask, match="did you mean with_context"):
        registry.get("with_contex")
