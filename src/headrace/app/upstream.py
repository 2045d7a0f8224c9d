"""A named service that jobs and request handlers call, as users hold it."""

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, final, overload

from headrace.app.options import check_name
from headrace.app.task import BoundTask
from headrace.core.breaker import Breaker
from headrace.core.budget import RetryBudget
from headrace.core.bulkhead import Adaptive
from headrace.core.checks import whole
from headrace.core.classify import Classify
from headrace.core.errors import InvalidConfig, UnknownUpstream
from headrace.core.fleet import BY_HAND, CALL_S, Force, Terms
from headrace.core.fleet_record import UpstreamRecord, forced, record
from headrace.core.limits import RateLimit
from headrace.core.model import Json
from headrace.ports.clock import Clock
from headrace.ports.store import Amendment, Store
from headrace.ports.upstream import Guard
from headrace.runtime.calling import NO_FALLBACK, Calls, is_coroutine_function
from headrace.runtime.clock import SystemClock
from headrace.runtime.durations import Duration, seconds
from headrace.runtime.fallbacks import check_fallback
from headrace.runtime.guard import UpstreamPolicy
from headrace.runtime.upstreams import OWN

if TYPE_CHECKING:
    import httpx

    from headrace.runtime.calling_http import Caller

if TYPE_CHECKING:
    from headrace.runtime.registry import Registry
    from headrace.runtime.upstreams import Upstreams

P = ParamSpec("P")
R = TypeVar("R")

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
HEDGE_S_MAX = 60.0
NAME_CHARS_MAX = 64
CALL_S_MAX = 3_600.0
SNOOZES_MAX = 50
CONCURRENCY_MAX = 100_000


@final
class Upstream:
    """A service behind a guard: `async with bank`, `@bank.guard`, `bank.client()`.

    Each use is one call with a permit of its own, from any task or thread. A call that succeeds,
    fails or takes too long is an outcome of the upstream; one that was cancelled is none.
    """

    def __init__(
        self,
        name: str,
        guard: Guard,
        *,
        classify: Classify | None = None,
        fallback: Any = NO_FALLBACK,
        clock: Clock | None = None,
    ) -> None:
        """Made by `Headrace.upstream`. `fallback` is what `guard` takes when it is given none."""
        self.name = name
        self.classify = Classify() if classify is None else classify
        self._guard = guard
        self._fallback = fallback
        self._clock: Clock = SystemClock() if clock is None else clock
        self._calls = Calls(guard, self.classify)

    def __repr__(self) -> str:
        return f"<Upstream {self.name}>"

    # -- blocks -----------------------------------------------------------------------------------

    async def __aenter__(self) -> "Upstream":
        """Begin a call.

        Raises:
            BreakerOpen, RateLimited, Full: refused; the block does not run.
        """
        await self._calls.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it; `TimeoutError` where the block took longer than the upstream's timeout."""
        await self._calls.leave(error)

    def __enter__(self) -> "Upstream":
        """As `async with`, in a thread; without the timeout, since nobody can interrupt a thread."""
        self._calls.enter_sync()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._calls.leave_sync(error)

    # -- functions --------------------------------------------------------------------------------

    @overload
    def guard(self, fn: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def guard(self, fn: None = None, /, *, fallback: Any = ...) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def guard(self, fn: Any = None, /, *, fallback: Any = NO_FALLBACK) -> Any:
        """Make every call of a function a call of this upstream; the timeout bounds an `async def`.

        `fallback` is a value, or a function of the error and then the call's arguments. It stands in
        when the guard refused or the call failed as the upstream's failure, never for another error.

        Raises:
            InvalidConfig: a fallback of another type than the function returns, or that cannot be called so.
        """
        given = self._fallback if fallback is NO_FALLBACK else fallback
        return partial(self._guarded, fallback=given) if fn is None else self._guarded(fn, given)

    def _guarded(self, fn: Callable[..., Any], fallback: Any) -> Callable[..., Any]:
        if isinstance(fn, BoundTask):
            raise InvalidConfig(f"put @{self.name}.guard below @hr.task: a task is called by workers, not by its name")
        if fallback is not NO_FALLBACK:
            check_fallback(fn, fallback, waits=is_coroutine_function(fn))
        return self._calls.guarded(fn, fallback)

    # -- HTTP -------------------------------------------------------------------------------------

    def client(
        self,
        *,
        retries: int = 2,
        retry_methods: Iterable[str] = SAFE_METHODS,
        hedge_after: Duration | None = None,
        **options: Any,
    ) -> "httpx.AsyncClient":
        """An httpx client, with httpx's own `options`, each of whose requests is a call of this upstream.

        A request of `retry_methods` (also PUT and DELETE can be) is tried again, at most `retries`
        times and as the retry budget allows, after a broken connection, 429, 502, 503 or 504. With
        `hedge_after` a second try starts beside one that has no answer after so long. In a job, a
        request is bounded by what is left of the job's deadline, and carries its trace, its fence and,
        if it is unsafe, an `Idempotency-Key` that the next attempt repeats.

        Raises:
            InvalidConfig: httpx is not installed, or an option that cannot work.
        """
        caller = self._caller(retries, retry_methods, hedge_after)
        from headrace.runtime import calling_async

        return calling_async.client(caller, self._with_timeout(options))

    def client_sync(
        self, *, retries: int = 2, retry_methods: Iterable[str] = SAFE_METHODS, **options: Any
    ) -> "httpx.Client":
        """As `client`, blocking and without hedges."""
        caller = self._caller(retries, retry_methods, None)
        from headrace.runtime import calling_sync

        return calling_sync.client(caller, self._with_timeout(options))

    def _caller(self, retries: int, methods: Iterable[str], hedge_after: Duration | None) -> "Caller":
        if find_spec("httpx") is None:
            raise InvalidConfig(f"a client of {self.name!r} needs httpx: pip install 'headrace[http]'")
        from headrace.runtime.calling_http import Caller, Repeats

        hedge_s = None if hedge_after is None else seconds("hedge_after", hedge_after, most=HEDGE_S_MAX)
        wanted = frozenset(method.upper() for method in methods)
        return Caller(self._guard, self.classify, Repeats(retries, wanted, hedge_s), self._clock)

    def _with_timeout(self, options: dict[str, Any]) -> dict[str, Any]:
        bound_s = self._guard.timeout_s
        return options if bound_s is None else {"timeout": bound_s, **options}


def define(
    service: "Upstreams",
    name: str,
    *,
    breaker: Breaker,
    max_concurrency: int | Adaptive | None,
    rate: RateLimit | None,
    timeout: Duration | None,
    retry_budget: RetryBudget | None,
    fallback: Any,
    classify: Classify | None,
    snoozes_max: int,
    clock: Clock,
) -> Upstream:
    """An upstream of this process; see `Headrace.upstream`.

    Raises:
        InvalidConfig: a policy that cannot work, or another definition of the same name.
    """
    what = f"the upstream {name!r}"
    if rate is not None and rate.key is not None:
        raise InvalidConfig(f"{what}: its rate has a key, which only limits on tasks have")
    if isinstance(max_concurrency, int):
        whole(f"{what}: max_concurrency", max_concurrency, least=1, most=CONCURRENCY_MAX)
    whole(f"{what}: snoozes_max", snoozes_max, least=0, most=1_000_000)
    timeout_s = None if timeout is None else seconds("timeout", timeout, least=0.001, most=CALL_S_MAX)
    budget = RetryBudget() if retry_budget is None else retry_budget
    slots = max_concurrency if isinstance(max_concurrency, int) else None
    adaptive = max_concurrency if isinstance(max_concurrency, Adaptive) else None
    policies = repr((breaker, max_concurrency, rate, timeout_s, budget, snoozes_max))
    terms = Terms(breaker, slots, rate, timeout_s or CALL_S, hashlib.sha256(policies.encode()).hexdigest()[:8])
    policy = UpstreamPolicy(terms, adaptive, timeout_s, budget, snoozes_max)
    if name.startswith(OWN):
        raise InvalidConfig(f"an upstream's name does not begin with {OWN}, not {name!r}")
    guard = service.add(check_name("an upstream's name", name, NAME_CHARS_MAX), policy)
    return Upstream(name, guard, classify=classify, fallback=fallback, clock=clock)


def names_of(needs: Iterable[Upstream | str]) -> tuple[str, ...]:
    """The upstreams that a task's `needs` names.

    Raises:
        InvalidConfig: neither upstreams nor names.
    """
    if isinstance(needs, str | Upstream) or not isinstance(needs, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidConfig(f"needs is a list of upstreams, as in needs=[bank], not {needs!r}")
    given = list(needs)
    for each in given:
        if not isinstance(each, str | Upstream):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidConfig(f"needs lists upstreams made by hr.upstream(…), or their names, not {each!r}")
    return tuple(dict.fromkeys(each if isinstance(each, str) else each.name for each in given))


def check_needs(registry: "Registry", service: "Upstreams") -> None:
    """Tell each upstream which tasks need it.

    Raises:
        InvalidConfig: a task needs an upstream that there is not.
    """
    needing: dict[str, set[str]] = {}
    for task in registry:
        for name in task.needs:
            if name not in service.guards:
                known = ", ".join(sorted(service.guards)) or "none"
                raise InvalidConfig(
                    f"task {task.name}: needs names no upstream {name!r}; there are: {known}. Define it on the same"
                    " Headrace with hr.upstream(…)"
                )
            needing.setdefault(name, set()).add(task.name)
    for name, guard in service.guards.items():
        guard.tasks = tuple(sorted(needing.get(name, ())))


async def records(store: Store) -> list[UpstreamRecord]:
    """Every upstream that any process has had, by name."""
    now_at, documents = await store.upstreams()
    return [record(name, documents[name], now_at) for name in sorted(documents) if not name.startswith(OWN)]


async def force(store: Store, name: str, to: Force, known: Iterable[str], why: str = BY_HAND) -> UpstreamRecord:
    """Set a breaker by hand, or for what else is `why`, for the whole fleet.

    Raises:
        UnknownUpstream: there is none of this name, neither here nor in the store.
    """

    def change(text: Json | None, now: float) -> Amendment[UpstreamRecord | None]:
        if text is None and name not in known:
            return Amendment(None)
        document = forced(to, text, now, why)
        return Amendment(record(name, document, now), document, tell=True)

    found = await store.amend(name, change)
    if found is None:
        raise UnknownUpstream(f"there is no upstream {name!r}")
    return found
