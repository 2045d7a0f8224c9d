"""How one enqueue differs from its task's policies: checked once, then immutable."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from headrace.core.errors import UsageError
from headrace.runtime.durations import Duration, instant, seconds
from headrace.runtime.registry import TaskDef

DELAY_S_MAX = 366 * 86_400.0
DEADLINE_S_MAX = 366 * 86_400.0
TIMEOUT_S_MIN = 0.001
TIMEOUT_S_MAX = 7 * 86_400.0
PRIORITY_MIN, PRIORITY_MAX = -1000, 1000
KEY_CHARS_MAX = 256
TAGS_MAX = 20
TAG_CHARS_MAX = 64
QUEUE_CHARS_MAX = 64


@dataclass(frozen=True, slots=True)
class Options:
    """None leaves it to the task."""

    delay_s: float = 0.0
    run_at: float | None = None
    queue: str | None = None
    priority: int | None = None
    key: str | None = None
    tags: tuple[str, ...] = ()
    timeout_s: float | None = None
    deadline_s: float | None = None
    deadline_at: float | None = None
    using: object | None = None


PLAIN = Options()


def changed(
    base: Options,
    *,
    delay: Duration | None = None,
    run_at: datetime | None = None,
    queue: str | None = None,
    priority: int | None = None,
    key: str | None = None,
    tags: Iterable[str] | None = None,
    timeout: Duration | None = None,
    deadline: Duration | datetime | None = None,
    using: object | None = None,
) -> Options:
    """`base` with what is given here.

    Raises:
        UsageError: names the option and its bounds.
    """
    given = _due(delay, run_at) | _deadline(deadline)
    if timeout is not None:
        given["timeout_s"] = seconds("timeout", timeout, least=TIMEOUT_S_MIN, most=TIMEOUT_S_MAX)
    if queue is not None:
        given["queue"] = check_name("queue", queue, QUEUE_CHARS_MAX)
    if priority is not None:
        given["priority"] = check_priority(priority)
    if key is not None:
        given["key"] = check_name("key", key, KEY_CHARS_MAX)
    if tags is not None:
        given["tags"] = _checked_tags(tags)
    if using is not None:
        given["using"] = using
    return replace(base, **given)


def _due(delay: Duration | None, run_at: datetime | None) -> dict[str, Any]:
    if delay is not None and run_at is not None:
        raise UsageError("delay and run_at both say when the job is due; give one")
    if delay is not None:
        return {"delay_s": seconds("delay", delay, most=DELAY_S_MAX), "run_at": None}
    return {} if run_at is None else {"run_at": instant("run_at", run_at), "delay_s": 0.0}


def _deadline(deadline: Duration | datetime | None) -> dict[str, Any]:
    if isinstance(deadline, datetime):
        return {"deadline_at": instant("deadline", deadline), "deadline_s": None}
    if deadline is None:
        return {}
    return {"deadline_s": seconds("deadline", deadline, most=DEADLINE_S_MAX), "deadline_at": None}


def check_name(what: str, value: str, chars_max: int) -> str:
    """A text that names something.

    Raises:
        UsageError: empty, too long, or not printable.
    """
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"{what} is a text, not {value!r}")
    if not 0 < len(value) <= chars_max or not value.isprintable():
        raise UsageError(f"{what} has 1 to {chars_max} printable characters, not {value[: chars_max + 1]!r}")
    return value


def check_priority(value: int) -> int:
    """A priority.

    Raises:
        UsageError: out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"priority is a whole number, not {value!r}")
    if not PRIORITY_MIN <= value <= PRIORITY_MAX:
        raise UsageError(f"priority is between {PRIORITY_MIN} and {PRIORITY_MAX} (higher runs first), not {value}")
    return value


def from_json(options: dict[str, Any]) -> Options:
    """Options that came as JSON: seconds, and RFC 3339 texts for instants.

    Raises:
        UsageError: names the option.
    """
    known = {each.name.removesuffix("_s") for each in fields(Options)} - {"using", "deadline_at"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise UsageError(f"there is no option {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    given = dict(options)
    for name in ("run_at", "deadline"):
        value: object = given.get(name)
        if isinstance(value, str):
            try:
                given[name] = datetime.fromisoformat(value)
            except ValueError:
                raise UsageError(f"{name} is an instant as in 2030-01-31T12:00:00Z, not {value!r}") from None
    if isinstance(given.get("tags"), str):
        raise UsageError("tags is a list of texts")
    return changed(PLAIN, **given)


def keep_order(task: TaskDef, options: Options) -> None:
    """Refuse what would let a job of an ordered task pass others, or be passed.

    Raises:
        UsageError: names the option.
    """
    given = {
        "delay": options.delay_s > 0,
        "run_at": options.run_at is not None,
        "priority": options.priority not in {None, task.priority},
        "queue": options.queue not in {None, task.queue},
    }
    wrong = [name for name, is_given in given.items() if is_given]
    if wrong:
        raise UsageError(
            f"task {task.name} is ordered: its jobs run in the order in which they are enqueued, which "
            f"{' and '.join(wrong)} would change; leave it out, or enqueue a task without ordered_by"
        )


def _checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    if isinstance(tags, str) or not isinstance(tags, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"tags is several texts, as in ('urgent',), not {tags!r}")
    found = tuple(dict.fromkeys([check_name("a tag", tag, TAG_CHARS_MAX) for tag in tags]))
    if len(found) > TAGS_MAX:
        raise UsageError(f"a job has at most {TAGS_MAX} tags, not {len(found)}")
    return found
