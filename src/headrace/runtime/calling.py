"""A call to an upstream that is not HTTP: a guarded block, a guarded function, and what stands in for it.

Invariant: a permit ends once, by how the call ends. Success and failure are outcomes; a cancel, an
error of Headrace's own and one that another upstream caused are none.
"""

import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final, cast, final

from headrace.core.classify import Classify
from headrace.core.errors import InvalidConfig, Rejected, UsageError
from headrace.ports.upstream import Guard, Permit
from headrace.runtime.blame import own_blame
from headrace.runtime.bounds import Bound, Bounds
from headrace.runtime.degraded import note_degraded, note_degraded_sync

NO_FALLBACK: Final[Any] = object()
"""None is a fallback like another."""


@final
class Calls:
    """The calls of one upstream in this process; used by any task and thread at once."""

    __slots__ = ("_bounds", "_classify", "_guard")

    def __init__(self, guard: Guard, classify: Classify) -> None:
        """`classify` says which errors count."""
        self._guard = guard
        self._classify = classify
        self._bounds: Bounds | None = None

    # -- one call ---------------------------------------------------------------------------------

    def end(self, permit: Permit, error: BaseException) -> bool:
        """End one that ended with an error; whether it was the upstream's."""
        if self._is_failure(error):
            permit.failed(error)
            return True
        permit.ignored()
        return False

    def _is_failure(self, error: BaseException) -> bool:
        if not self._classify.is_failure(error):
            return False
        found = own_blame(error)
        return found is None or found[0] == self._guard.name

    def _bound(self) -> Bound | None:
        """The timeout of one call, from now on."""
        length_s = self._guard.timeout_s
        if length_s is None:
            return None
        if self._bounds is None or self._bounds.length_s != length_s:
            self._bounds = Bounds(length_s)
        return self._bounds.begin()

    def _is_own(self, error: Rejected) -> bool:
        return error.upstream in (None, self._guard.name)

    # -- blocks -----------------------------------------------------------------------------------

    async def enter(self) -> None:
        """Begin the block of an `async with`."""
        permit = await self._guard.acquire()
        try:
            bound = self._bound()
        except BaseException:
            permit.ignored()
            raise
        _push(self, permit, bound)

    async def leave(self, error: BaseException | None) -> None:
        """End it.

        Raises:
            TimeoutError: what ended it was the cancel of its own timeout.
        """
        permit, bound = _pop(self)
        if bound is not None and bound.over(error):
            raise self._late(permit) from error
        self._left(permit, error)

    def _late(self, permit: Permit) -> TimeoutError:
        late = TimeoutError(f"a call of {self._guard.name!r} took longer than {self._guard.timeout_s:g} s")
        permit.failed(late)
        return late

    def enter_sync(self) -> None:
        """Begin the block of a `with`."""
        _push(self, self._guard.acquire_sync(), None)

    def leave_sync(self, error: BaseException | None) -> None:
        """End it."""
        permit, _ = _pop(self)
        self._left(permit, error)

    def _left(self, permit: Permit, error: BaseException | None) -> None:
        if error is None:
            permit.succeeded()
        else:
            self.end(permit, error)

    # -- functions --------------------------------------------------------------------------------

    def guarded(self, fn: Callable[..., Any], fallback: Any) -> Callable[..., Any]:
        """The function behind the guard, of the same kind and signature."""
        if is_coroutine_function(fn):
            return self._guarded_async(fn, fallback)
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise InvalidConfig(f"guard takes functions, and {_name(fn)} is a generator: use `async with` inside of it")
        return self._guarded_sync(fn, fallback)

    def _guarded_async(self, fn: Callable[..., Awaitable[Any]], fallback: Any) -> Callable[..., Any]:
        @wraps(fn)
        async def call(*args: Any, **kwargs: Any) -> Any:
            try:
                permit = await self._guard.acquire()
            except Rejected as refused:
                if fallback is NO_FALLBACK or not self._is_own(refused):
                    raise
                return await self._stand_in(fallback, refused, args, kwargs)
            bound = None
            try:
                bound = self._bound()
                result = await fn(*args, **kwargs)
            except BaseException as error:
                if bound is not None and bound.over(error):
                    late = self._late(permit)
                    if fallback is NO_FALLBACK:
                        raise late from error
                    return await self._stand_in(fallback, late, args, kwargs)
                if not self.end(permit, error) or fallback is NO_FALLBACK:
                    raise
                return await self._stand_in(fallback, error, args, kwargs)
            if bound is not None:
                bound.over(None)
            permit.succeeded()
            return result

        return call

    def _guarded_sync(self, fn: Callable[..., Any], fallback: Any) -> Callable[..., Any]:
        @wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                permit = self._guard.acquire_sync()
            except Rejected as refused:
                if fallback is NO_FALLBACK or not self._is_own(refused):
                    raise
                return self._stand_in_sync(fallback, refused, args, kwargs)
            try:
                result = _not_awaitable(fn, fn(*args, **kwargs))
            except BaseException as error:
                if not self.end(permit, error) or fallback is NO_FALLBACK:
                    raise
                return self._stand_in_sync(fallback, error, args, kwargs)
            permit.succeeded()
            return result

        return call

    async def _stand_in(self, fallback: Any, error: BaseException, args: Any, kwargs: Any) -> Any:
        value = fallback(error, *args, **kwargs) if callable(fallback) else fallback
        if inspect.isawaitable(value):
            value = await value
        await note_degraded(self._guard.name)
        return value

    def _stand_in_sync(self, fallback: Any, error: BaseException, args: Any, kwargs: Any) -> Any:
        value = fallback(error, *args, **kwargs) if callable(fallback) else fallback
        note_degraded_sync(self._guard.name)
        return value


_Entry = tuple[Calls, Permit, Bound | None]
_blocks: ContextVar[tuple[_Entry, ...]] = ContextVar("headrace_blocks", default=())
"""The guarded blocks that this task or thread is in, the innermost last."""


def _push(calls: Calls, permit: Permit, bound: Bound | None) -> None:
    _blocks.set((*_blocks.get(), (calls, permit, bound)))


def _pop(calls: Calls) -> tuple[Permit, Bound | None]:
    entries = _blocks.get()
    for at in range(len(entries) - 1, -1, -1):
        owner, permit, bound = entries[at]
        if owner is calls:
            _blocks.set(entries[:at] + entries[at + 1 :])
            return permit, bound
    raise UsageError("a guarded block is left in the task or thread in which it was entered")


def is_coroutine_function(fn: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; also a partial of one, and an object whose call does."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def _not_awaitable(fn: Callable[..., Any], result: Any) -> Any:
    if not inspect.isawaitable(result):
        return result
    if inspect.iscoroutine(result):
        result.close()
    raise UsageError(f"{_name(fn)} gave an awaitable, and guard does not wait for that: make it `async def`")


def _name(fn: Callable[..., Any]) -> str:
    return str(getattr(fn, "__qualname__", cast("object", fn)))
