"""How much waits in a queue, as far as admission needs to know: bounded counts, and the ages of the oldest."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadAsked:
    """One queue to be looked at. Of its ready jobs, those that are ready for `since_s` or longer are told apart."""

    queue: str
    jobs_max: int  # how many are worth counting
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TaskLoad:
    """The ready jobs of one task and priority."""

    task: str
    priority: int
    ready: int
    older: int
    oldest_s: float  # how long the first one has been ready


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """One queue: `tasks` by priority, the highest first. A queue that nobody knows is empty."""

    name: str
    paused: bool = False
    scheduled: int = 0
    tasks: tuple[TaskLoad, ...] = ()

    @property
    def ready(self) -> int:
        """Ready jobs, of any task and priority."""
        return sum(task.ready for task in self.tasks)


@dataclass(frozen=True, slots=True)
class LineLoad:
    """What a store counted in one part of a queue."""

    task: str
    priority: int
    ready: int
    older: int
    oldest_s: float | None
    scheduled: int = 0


def gathered(name: str, lines: list[LineLoad], *, paused: bool) -> QueueLoad:
    """The parts of one queue put together."""
    found: dict[tuple[int, str], TaskLoad] = {}
    for line in lines:
        if line.oldest_s is None:
            continue
        key = (-line.priority, line.task)
        known = found.get(key, TaskLoad(line.task, line.priority, 0, 0, 0.0))
        found[key] = TaskLoad(
            line.task,
            line.priority,
            known.ready + line.ready,
            known.older + line.older,
            max(known.oldest_s, round(line.oldest_s, 3)),
        )
    scheduled = sum(line.scheduled for line in lines)
    return QueueLoad(name, paused, scheduled, tuple(found[key] for key in sorted(found)))
