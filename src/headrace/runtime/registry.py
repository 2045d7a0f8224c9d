"""The tasks that this process knows, each with its policies and its codec."""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from headrace.core.errors import DuplicateTask, InvalidConfig, UnknownTask
from headrace.core.limits import KeyOf, Limit, RateLimit, TaskLimit
from headrace.core.model import Json
from headrace.core.order import LANES, MessageKey, checked_lanes, lane_of
from headrace.core.retry import Retry
from headrace.runtime.arguments import Arguments, Parameter, Results
from headrace.runtime.context import ITEM_BYTES_MAX
from headrace.runtime.depends import Plan, plan
from headrace.runtime.lane_keys import LaneKey, key_of
from headrace.runtime.publishing import Publisher
from headrace.runtime.signature import Shape, Unresolved, read

NEAREST_MAX = 3


class Kind(StrEnum):
    """Where a task's body runs."""

    ASYNC = "async"  # on the worker's event loop
    THREAD = "thread"
    CPU = "cpu"  # in a child process


@dataclass(frozen=True, slots=True)
class Policies:
    """What a task's definition says beside its function."""

    queue: str = "default"
    retry: Retry = Retry()  # noqa: RUF009 - frozen
    timeout_s: float = 600.0
    priority: int = 0
    public: bool = False
    cpu: bool = False
    memory_limit_bytes: int | None = None
    args_bytes_max: int = 1 << 20
    result_bytes_max: int = 1 << 20
    item_bytes_max: int = ITEM_BYTES_MAX
    needs: tuple[str, ...] = ()  # upstreams
    concurrency: Limit | None = None
    rate: RateLimit | None = None
    fair_by: KeyOf | None = None
    ordered_by: KeyOf | MessageKey | None = None
    ordered_lanes: int = LANES
    publisher: Publisher | None = None  # of what its attempts publish


class TaskDef:
    """A registered function. Its signature is read at definition, or, where that names what is defined
    further down in its module, at the first use.
    """

    __slots__ = (
        "_arguments",
        "_dependencies",
        "_key",
        "_lane_key",
        "_policies",
        "_results",
        "_shape",
        "fn",
        "item_bytes_max",
        "kind",
        "memory_limit_bytes",
        "module",
        "name",
        "needs",
        "priority",
        "public",
        "publisher",
        "qualname",
        "queue",
        "retry",
        "timeout_s",
    )

    def __init__(
        self, name: str, fn: Callable[..., Any], policies: Policies, local_names: Mapping[str, Any] | None = None
    ) -> None:
        """`local_names` are the names around a function that stands inside another one.

        Raises:
            InvalidConfig: a function that cannot be a task.
        """
        self.name = name
        self.fn = fn
        self.kind = _kind(name, fn, cpu=policies.cpu)
        self.module = fn.__module__
        self.qualname = fn.__qualname__
        self.queue = policies.queue
        self.retry = policies.retry
        self.timeout_s = policies.timeout_s
        self.priority = policies.priority
        self.public = policies.public
        self.needs = policies.needs
        self.memory_limit_bytes = policies.memory_limit_bytes
        self.item_bytes_max = policies.item_bytes_max
        self.publisher = policies.publisher
        self._policies = policies
        self._key = key_of(name, policies.concurrency, policies.rate, policies.fair_by, policies.ordered_by)
        checked_lanes(policies.ordered_lanes)
        self._lane_key: LaneKey | None = None
        self._shape: Shape | None = None
        self._arguments: Arguments | None = None
        self._results: Results | None = None
        self._dependencies: Plan | None = None
        try:
            self._take(read(fn, name, local_names))
        except Unresolved:
            return

    def __repr__(self) -> str:
        return f"<TaskDef {self.name} ({self.kind.value}) {self.place}>"

    @property
    def place(self) -> str:
        """Where the function stands, for people."""
        code = getattr(inspect.unwrap(self.fn), "__code__", None)
        where = "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"
        return f"{self.module}.{self.qualname}{where}"

    def check(self) -> None:
        """Read what could not be read at definition, and plan the dependencies.

        Raises:
            InvalidConfig: says what is wrong with the definition.
        """
        self._ready()
        _ = self.dependencies

    # -- arguments and results -------------------------------------------------------------------

    @property
    def takes_context(self) -> bool:
        """Whether the first parameter is the job's context."""
        return (self._shape or self._ready()).takes_context

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What callers give."""
        return (self._shape or self._ready()).parameters

    @property
    def args_bytes_max(self) -> int:
        """The bound of its arguments as JSON text."""
        return self._policies.args_bytes_max

    @property
    def returns(self) -> Any:
        """The annotation of the result."""
        return (self._shape or self._ready()).returns

    @property
    def dependencies(self) -> Plan | None:
        """How to resolve the injected parameters; None: there are none.

        Raises:
            InvalidConfig: one needs what only a request has.
        """
        shape = self._shape or self._ready()
        if not shape.injected:
            return None
        if self._dependencies is None:
            self._dependencies = plan(self.name, shape.injected)
        return self._dependencies

    @property
    def signature(self) -> str:
        """12 hex digits that change when the parameters do."""
        return self._codec().signature

    def encode_args(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Json:
        """The arguments of a call as JSON text; see `Arguments.encode`."""
        return self._codec().encode(args, kwargs)

    def encode_named(self, args: Mapping[str, object]) -> Json:
        """Arguments that came as JSON, checked; see `Arguments.encode_named`."""
        return self._codec().encode_named(args)

    def decode_args(self, text: Json) -> dict[str, Any]:
        """Arguments by name, validated; see `Arguments.decode`."""
        return self._codec().decode(text)

    def accept_args(self, text: bytes) -> dict[str, Any]:
        """Arguments by name, validated, of JSON that came from outside; see `Arguments.accept`."""
        return self._codec().accept(text)

    @property
    def limit(self) -> TaskLimit | None:
        """What limits it; None: nothing."""
        concurrency, rate = self._policies.concurrency, self._policies.rate
        limited = self.ordered or concurrency is not None or rate is not None
        return TaskLimit(self.name, concurrency, rate, self.ordered) if limited else None

    @property
    def ordered(self) -> bool:
        """Whether its jobs run one after the other, for each key."""
        return self._policies.ordered_by is not None

    @property
    def by_message(self) -> bool:
        """Whether its order is by the keys of messages, which its jobs' arguments do not tell."""
        return isinstance(self._policies.ordered_by, MessageKey)

    def lane_key(self, args: Json, message_key: str | None = None) -> str:
        """Which lane a job with these arguments takes, which is made of a message with this key; see `LaneKey.of`."""
        return self.lane_key_of({} if self._key is None else self._codec().decode(args), message_key)

    def lane_key_of(self, values: Mapping[str, Any], message_key: str | None = None) -> str:
        """As `lane_key`, of arguments that are decoded already."""
        if self._key is None:
            return self.lane_of(message_key or "") if self.ordered else ""
        self._ready()
        assert self._lane_key is not None  # noqa: S101 - `_take` set it
        key = self._lane_key.of(values)
        return self.lane_of(key) if self.ordered else key

    def lane_of(self, key: str) -> str:
        """The lane of an ordered task's jobs with this key."""
        return lane_of(key, self._policies.ordered_lanes)

    def argument_schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        return self._codec().schema()

    def encode_result(self, value: object) -> Json:
        """A result as JSON text; see `Results.encode`."""
        return self._result_codec().encode(value)

    def decode_result(self, text: Json) -> Any:
        """A stored result as its annotation says; see `Results.decode`."""
        return self._result_codec().decode(text)

    def _codec(self) -> Arguments:
        if self._arguments is None:
            self._ready()
        assert self._arguments is not None  # noqa: S101 - `_ready` raises or sets it
        return self._arguments

    def _result_codec(self) -> Results:
        if self._results is None:
            self._ready()
        assert self._results is not None  # noqa: S101 - `_ready` raises or sets it
        return self._results

    def _ready(self) -> Shape:
        if self._shape is None:
            try:
                self._take(read(self.fn, self.name))
            except Unresolved as error:
                raise InvalidConfig(f"task {self.name}: an annotation cannot be resolved: {error}") from error
        assert self._shape is not None  # noqa: S101 - `_take` set it
        return self._shape

    def _take(self, shape: Shape) -> None:
        if self.kind is Kind.CPU and shape.injected:
            names = ", ".join(shape.injected)
            raise InvalidConfig(f"task {self.name}: a cpu=True task has no dependencies ({names}): it runs elsewhere")
        policies = self._policies
        if self._key is not None:
            self._lane_key = LaneKey(self.name, self._key, [each.name for each in shape.parameters], self.fn)
        self._arguments = Arguments(self.name, shape.parameters, frozenset(shape.injected), policies.args_bytes_max)
        self._results = Results(self.name, shape.returns, policies.result_bytes_max)
        self._shape = shape


def _kind(name: str, fn: Callable[..., Any], *, cpu: bool) -> Kind:
    if not inspect.isfunction(fn):
        raise InvalidConfig(f"task {name}: a task is a function, not {fn!r}")
    if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
        raise InvalidConfig(f"task {name}: a generator cannot be a task; emit items with ctx.emit(…)")
    if inspect.iscoroutinefunction(fn):
        if cpu:
            raise InvalidConfig(f"task {name}: cpu=True is for def functions, since its child has no event loop")
        return Kind.ASYNC
    return Kind.CPU if cpu else Kind.THREAD


class Registry:
    """Tasks by name."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        """Empty."""
        self._tasks: dict[str, TaskDef] = {}

    def add(self, task: TaskDef) -> None:
        """Register a task.

        Raises:
            DuplicateTask: another function has the name; the message says where both stand.
        """
        known = self._tasks.get(task.name)
        if known is not None and known.fn is not task.fn:
            raise DuplicateTask(
                f"the task name {task.name!r} is taken: {known.place} and {task.place}; give one of them another name="
            )
        self._tasks[task.name] = task

    def get(self, name: str) -> TaskDef:
        """The task of this name.

        Raises:
            UnknownTask: there is none; the message names near ones.
        """
        task = self._tasks.get(name)
        if task is None:
            near = difflib.get_close_matches(name, self._tasks, NEAREST_MAX)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UnknownTask(f"no task {name!r} is registered here{hint}")
        return task

    def names(self) -> list[str]:
        """Every name, sorted."""
        return sorted(self._tasks)

    def check(self) -> None:
        """Check every definition; see `TaskDef.check`."""
        for task in self._tasks.values():
            task.check()

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    def __iter__(self) -> Iterator[TaskDef]:
        return iter([self._tasks[name] for name in self.names()])

    def __len__(self) -> int:
        return len(self._tasks)
