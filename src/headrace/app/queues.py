"""What a Headrace says of its queues: their policies, how much is in them, holds."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from headrace.app.options import QUEUE_CHARS_MAX, check_name
from headrace.core.admission import QueuePolicy
from headrace.core.errors import InvalidConfig, UsageError
from headrace.core.model import QueueRecord
from headrace.runtime.durations import Duration, seconds

if TYPE_CHECKING:
    from headrace.app.gate import Gate
    from headrace.ports.store import Store

DEPTH_MAX: Final = 100_000
"""Of a queue whose depth is bounded: so many jobs are counted about once a second."""
AGE_S_MIN, AGE_S_MAX = 1.0, 7 * 86_400.0


class Queues(ABC):
    """The words of `Headrace` that are about queues."""

    gate: "Gate"

    @property
    @abstractmethod
    def store(self) -> "Store":
        """Where the jobs live."""

    @abstractmethod
    async def open(self) -> None:
        """Open the store."""

    def queue(
        self,
        name: str,
        *,
        depth_max: int | None = None,
        age_target: Duration | None = None,
        interval: Duration | None = None,
    ) -> None:
        """Say what a queue may hold; what is over it is refused at enqueue.

        A queue that is not declared holds anything.

        Over `depth_max` ready and scheduled jobs, at most 100,000, an enqueue raises `Full`. A process counts about
        once a second (twice in each `interval`, where that is more often) and adds what it enqueues itself: the bound
        is passed at most by what the others enqueue in between, and by what was on its way to the store as it counted.

        `age_target` is how long a job should wait at most. Where jobs of the lowest priority that is being enqueued
        would wait longer for a whole `interval` (by default a tenth of it, 1 to 10 s), a part of them is refused with
        `Shed`, and all of them from twice the target on. If that does not help, the next priority is refused too. Jobs
        that are due only after the target, and those that an attempt enqueues, which are work that was let in already,
        are refused for depth alone. While the queue is paused nothing is refused for age.

        Raises:
            InvalidConfig: a bound that cannot work, or the queue was declared otherwise before.
        """
        try:
            name = check_name("a queue's name", name, QUEUE_CHARS_MAX)
            age_s = None if age_target is None else seconds("age_target", age_target, least=AGE_S_MIN, most=AGE_S_MAX)
            given_s = None if interval is None else seconds("interval", interval, least=0.1, most=age_s or AGE_S_MAX)
        except UsageError as error:
            raise InvalidConfig(f"hr.queue({name!r}): {error}") from None
        if depth_max is None and age_s is None:
            raise InvalidConfig(f"hr.queue({name!r}) bounds nothing: give it depth_max= or age_target=")
        if given_s is not None and age_s is None:
            raise InvalidConfig(f"hr.queue({name!r}): interval belongs to age_target; give both, or neither")
        if depth_max is not None and (isinstance(depth_max, bool) or not 0 < depth_max <= DEPTH_MAX):
            raise InvalidConfig(f"hr.queue({name!r}): depth_max is between 1 and {DEPTH_MAX:,}, not {depth_max!r}")
        if given_s is None:
            given_s = min(max((age_s or 0.0) / 10, 1.0), 10.0)
        self.gate.declare(name, QueuePolicy(depth_max, age_s, given_s))

    async def queues(self) -> list[QueueRecord]:
        """Every queue that has or had jobs, by name."""
        await self.open()
        return await self.store.queues()

    async def pause(self, queue: str) -> None:
        """Hold a queue: nothing of it is claimed until `resume`; what runs goes on."""
        await self.open()
        await self.store.pause(queue, paused=True)

    async def resume(self, queue: str) -> None:
        """End a hold by `pause`."""
        await self.open()
        await self.store.pause(queue, paused=False)
