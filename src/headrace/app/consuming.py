"""What an app takes from brokers: `hr.on`, and the sources that it makes."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, cast, overload

from headrace.app.addresses import ADDRESSES, Address
from headrace.app.brokers import Brokers
from headrace.app.options import check_name, check_priority
from headrace.app.task import Task, local_names
from headrace.bridges.memory import MemoryBroker
from headrace.core.checks import DAY_S, whole
from headrace.core.errors import InvalidConfig, UsageError
from headrace.core.ids import IdMaker
from headrace.core.limits import KeyOf
from headrace.core.order import MessageKey
from headrace.runtime.context import JobContext, SyncJobContext
from headrace.runtime.decoding import Decode, Decoder, Terms
from headrace.runtime.durations import Duration, seconds
from headrace.runtime.registry import TaskDef
from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.app.task import AsyncTask, PlainAsyncTask, PlainTask, SyncTask
    from headrace.core.intake_events import IntakeSettings

P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K", bound=Task[..., Any])

NAME_CHARS_MAX: Final = 400
BATCH_MAX: Final = 10_000
WINDOW_S_MAX: Final = 7 * DAY_S


@dataclass(frozen=True, slots=True)
class SourceDef:
    """One `hr.on`."""

    name: str
    address: Address
    task: TaskDef
    decode: Decode | None = None
    dedup: bool = True
    window_s: float = 3600.0
    batch_max: int = 1_000
    priority: int | None = None

    @property
    def settings(self) -> "IntakeSettings":
        """How it behaves."""
        from headrace.core.intake_events import IntakeSettings

        return IntakeSettings(batch_max=self.batch_max)


class SourceTable:
    """The sources that this process knows, by name."""

    def __init__(
        self,
        settings: Settings,
        wall: Callable[[], float],
        ids: IdMaker,
        promises: Callable[[str], tuple[str, ...]],
    ) -> None:
        """Empty; `promises` are those of a task's jobs."""
        self._settings = settings
        self._wall = wall
        self._ids = ids
        self._promises = promises
        self._defs: dict[str, SourceDef] = {}
        self._decoders: dict[str, Decoder] = {}

    def add(self, found: SourceDef) -> None:
        """Keep a definition.

        Raises:
            InvalidConfig: another one takes from the same place, or has the name.
        """
        place = found.address.source_name
        for known in self._defs.values():
            same = known.address.source_name == place
            if same or known.name == found.name:
                what = place if same else found.name
                raise InvalidConfig(
                    f"{what} is taken from by {known.task.name} already: two would share its messages out among"
                    f" them. Let one task take them and enqueue the other{_or_group(found.address)}"
                )
        self._defs[found.name] = found

    def decoder(self, name: str) -> Decoder:
        """How messages of a source are read.

        Raises:
            InvalidConfig: its task's parameters leave that open.
        """
        decoder = self._decoders.get(name)
        if decoder is None:
            found, settings = self._defs[name], self._settings
            terms = Terms(
                name,
                found.address.kind,
                found.decode,
                found.dedup,
                found.priority,
                settings.message_bytes_max,
                settings.letter_bytes_max,
            )
            decoder = self._decoders[name] = Decoder(found.task, terms, self._ids, self._wall, self._promises)
        return decoder

    def decoders(self) -> dict[str, Decoder]:
        """Of all of them, by name."""
        return {name: self.decoder(name) for name in self._defs}

    def check(self) -> None:
        """Check every definition.

        Raises:
            InvalidConfig: one that cannot work.
        """
        for found in self._defs.values():
            try:
                self.decoder(found.name)
            except InvalidConfig as error:
                raise InvalidConfig(f"hr.on of {found.name}: {error}") from None

    def get(self, name: str) -> SourceDef | None:
        """The definition of this name."""
        return self._defs.get(name)

    def __iter__(self) -> Iterator[SourceDef]:
        return iter([self._defs[name] for name in sorted(self._defs)])

    def __len__(self) -> int:
        return len(self._defs)


class Consuming(ABC):
    """The words of `Headrace` that are about messages."""

    settings: Settings
    brokers: Brokers
    sources: SourceTable

    def broker(self, name: str, where: str | MemoryBroker) -> None:
        """Name a broker by its URL, so that an address can say `broker=name`.

        Those of `HEADRACE_RABBITMQ_URL`, `HEADRACE_KAFKA_SERVERS`, `HEADRACE_NATS_URL` and `HEADRACE_REDIS_URL` are
        called rabbitmq, kafka, nats and redis already. A `MemoryBroker` of `headrace.testing` is one in this process.

        Raises:
            InvalidConfig: a name or a URL that cannot be, or another broker of this name.
        """
        self.brokers.add(name, where)

    def on(
        self,
        address: Address,
        *,
        name: str | None = None,
        decode: Decode | None = None,
        dedup: bool = True,
        dedup_window: Duration | None = None,
        batch: int | None = None,
        priority: int | None = None,
        ordered_by: KeyOf | MessageKey | None = None,
    ) -> "OnDecorator":
        """Make each message at an address a job: `@hr.on(rabbitmq("orders"))` above a task or a plain function.

        One required parameter takes the whole body, several take the members of a JSON object by name; one that is
        `bytes` or `str` takes the body as it is, and an optional one that is a `Message` gets key, headers and where it
        came from. `decode` turns a `Message` into what JSON would have been. A message that does not fit becomes a job
        that fails with its raw bytes kept, and the next ones go on.

        A job and the fact that its message was taken are stored in one transaction. Kafka's places are kept there too.
        Elsewhere a message's id is remembered for `dedup_window` (by default `HEADRACE_DEDUP_WINDOW_S`); one that has
        none may become a job twice if a process dies at the wrong moment, as all may without `dedup`. `batch` bounds
        how many become jobs together, `priority` is of their jobs. `ordered_by`, or that of `hr.task`, runs the jobs of
        one key one after the other, in the order of their messages; `MESSAGE_KEY` is the key that the broker knows.
        Workers take messages for the queues they serve.

        Raises:
            InvalidConfig: an address or an option that cannot work, or a place that is taken from already.
        """
        if not isinstance(address, ADDRESSES):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidConfig(f'hr.on takes an address, as in hr.on(rabbitmq("orders")), not {address!r}')
        try:
            given = check_name("name", address.source_name if name is None else name, NAME_CHARS_MAX)
            priority = None if priority is None else check_priority(priority)
            window_s = (
                self.settings.dedup_window_s
                if dedup_window is None
                else seconds("dedup_window", dedup_window, least=1.0, most=WINDOW_S_MAX)
            )
        except UsageError as error:
            raise InvalidConfig(f"hr.on: {error}") from None
        if not _is_plain(decode):
            raise InvalidConfig(f"hr.on of {given}: decode is a plain function of one Message, not {decode!r}")
        most = self.settings.source_batch_max if batch is None else whole("batch", batch, least=1, most=BATCH_MAX)

        def take(found: Callable[..., Any]) -> Any:
            is_task = isinstance(found, Task)
            task = cast("Task[..., Any]", found) if is_task else self._plain(found, ordered_by)
            if ordered_by is not None and is_task:
                raise InvalidConfig(f"hr.on of {given}: {task.name} is a task: write ordered_by= at its hr.task(…)")
            if task.definition.ordered and priority is not None:
                raise InvalidConfig(f"hr.on of {given}: {task.name} is ordered, which priority= would change")
            self.sources.add(SourceDef(given, address, task.definition, decode, dedup, window_s, most, priority))
            return task

        return cast("OnDecorator", take)

    def _plain(self, fn: Callable[..., Any], ordered_by: KeyOf | MessageKey | None) -> Task[..., Any]:
        """A task of a function that is none yet, with every policy at its default but its order."""
        return self.define(fn, local_names(3), ordered_by)

    @abstractmethod
    def define(
        self, fn: Callable[..., Any], names: dict[str, Any], ordered_by: KeyOf | MessageKey | None
    ) -> Task[..., Any]:
        """Register a function as a task; `names` are those around it."""


def _is_plain(decode: object) -> bool:
    return decode is None or (callable(decode) and not inspect.iscoroutinefunction(decode))


def _or_group(address: Address) -> str:
    return ", or give this one a group of its own" if address.kind in {"kafka", "redis"} else ""


class OnDecorator(Protocol):
    """What `hr.on(…)` returns: a task stays what it is, a function becomes one."""

    @overload
    def __call__(self, fn: K, /) -> K: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, fn: Callable[Concatenate[JobContext, P], Awaitable[R]], /
    ) -> "AsyncTask[P, R]": ...
    @overload
    def __call__(self, fn: Callable[Concatenate[SyncJobContext, P], R], /) -> "SyncTask[P, R]": ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: Callable[P, Awaitable[R]], /
    ) -> "PlainAsyncTask[P, R]": ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> "PlainTask[P, R]": ...
