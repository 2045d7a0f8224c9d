"""What commands take: job ids, instants, filters."""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import click

from headrace.core.model import JobFilter, JobId
from headrace.core.states import JobState

Command = TypeVar("Command", bound=Callable[..., Any])

UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ago:
    """A duration before now, or an instant."""

    seconds: float
    absolute: bool

    def at(self, now: float) -> float:
        """Seconds since the epoch."""
        return self.seconds if self.absolute else now - self.seconds


def job_id(text: str) -> JobId:
    """The sixteen bytes of a job's UUID, written with or without hyphens."""
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        raise click.BadParameter(f"{text!r} is no job id; `headrace jobs list` shows them") from None


def ago(text: str) -> Ago:
    """`90s`, `10m`, `2h30m`, `7d` ago, or an RFC 3339 instant."""
    if _SPAN.fullmatch(text):
        return Ago(sum(float(count) * UNITS[unit] for count, unit in _PART.findall(text)), absolute=False)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a duration like 10m nor an instant like 2026-01-31T12:00:00Z"
        ) from None
    if instant.tzinfo is None:
        raise click.BadParameter(f"{text!r} names no time zone; add Z or an offset")
    return Ago(instant.timestamp(), absolute=True)


class Listing(click.Group):
    """A group that lists when it is asked for nothing else."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before options that no command precedes."""
        if not args or (args[0].startswith("-") and args[0] not in {"-h", "--help"}):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True)
class Which:
    """The filters of a command, as given."""

    task: str | None
    queue: str | None
    state: JobState | None
    tag: str | None
    since: Ago | None
    until: Ago | None

    @property
    def given(self) -> bool:
        """Whether any of them is."""
        return any(value is not None for value in (self.task, self.queue, self.state, self.tag, self.since, self.until))

    def filter(self, now: float) -> JobFilter:
        """What the store is asked."""
        return JobFilter(
            task=self.task,
            queue=self.queue,
            state=self.state,
            tag=self.tag,
            created_after=self.since.at(now) if self.since else None,
            created_before=self.until.at(now) if self.until else None,
        )


def filters(states: tuple[JobState, ...] = tuple(JobState)) -> Callable[[Command], Command]:
    """Options that say which jobs; the command gets them as one `which`."""
    from functools import update_wrapper

    options = (
        click.option("--task", metavar="NAME", help="Of this task."),
        click.option("--queue", metavar="NAME", help="In this queue."),
        click.option("--state", type=click.Choice([state.value for state in states]), help="In this state."),
        click.option("--tag", metavar="TAG", help="That carry this tag."),
        click.option("--since", type=ago, metavar="WHEN", help="Enqueued after: 10m, 2h, 7d ago, or an instant."),
        click.option("--until", type=ago, metavar="WHEN", help="Enqueued before: likewise."),
    )

    def decorate(command: Command) -> Command:
        def gathered(
            *args: Any,
            task: str | None,
            queue: str | None,
            state: str | None,
            tag: str | None,
            since: Ago | None,
            until: Ago | None,
            **rest: Any,
        ) -> Any:
            which = Which(task, queue, JobState(state) if state else None, tag, since, until)
            return command(*args, which=which, **rest)

        made: Any = update_wrapper(gathered, command)
        for option in reversed(options):
            made = option(made)
        return made  # type: ignore[no-any-return]

    return decorate


def json_option(command: Command) -> Command:
    """`--json`: the command gets `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="JSON with stable keys instead of a table.")(command)
