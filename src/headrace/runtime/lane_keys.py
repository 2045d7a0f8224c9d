"""The lane key of a job: what its task's limits count apart, its queue serves in turn, and orders one by one."""

import inspect
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import Any, Final
from uuid import UUID

from headrace.core.errors import InvalidConfig, UsageError
from headrace.core.limits import KeyOf, Limit, RateLimit
from headrace.core.order import MESSAGE_KEY, MessageKey

CHARS_MAX: Final = 256
_REMEDIES: Final = {
    "concurrency": "lets one job of a key run at a time; limit them all together, as in Limit(5) without a key=",
    "rate": "shares lanes between keys, so that a rate of each cannot be kept; leave the rate's key= out",
    "fair_by": "serves its lanes in turn already; leave fair_by out",
}
_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class LaneKey:
    """Computed from a job's validated arguments."""

    __slots__ = ("_defaults", "_fn", "_key", "_names", "_task")

    def __init__(self, task: str, key: KeyOf, parameters: Collection[str], fn: Callable[..., Any]) -> None:
        """`parameters` are those that callers give; `fn` is the task's function, for their defaults.

        Raises:
            InvalidConfig: the key is of a parameter that there is not; says which there are.
        """
        self._task = task
        self._key = key
        self._fn: Callable[..., Any] | None = None if isinstance(key, str) else key
        self._names = (key,) if isinstance(key, str) else _names_of(task, key)
        for name in self._names:
            if name not in parameters:
                known = ", ".join(parameters) or "none"
                raise InvalidConfig(
                    f"task {task}: a key of its limits, fair_by or ordered_by is of the parameter {name!r}, which "
                    f"callers do not give; those that they give are: {known}"
                )
        found = inspect.signature(fn).parameters
        self._defaults = {name: found[name].default for name in self._names}

    def of(self, args: Mapping[str, Any]) -> str:
        """The key of a call with these arguments, by name.

        Raises:
            UsageError: it is not a text or whole number, too long, or not printable.
        """
        values = {name: args.get(name, self._defaults[name]) for name in self._names}
        value: object = values[self._names[0]] if self._fn is None else self._fn(**values)
        if isinstance(value, Enum):
            value = value.value
        if value is None:
            return ""
        if not isinstance(value, str | int | UUID):
            raise UsageError(f"task {self._task}: its key is a text or a whole number, not {value!r}")
        text = str(value)
        if len(text) > CHARS_MAX or not text.isprintable():
            shown = repr(text[: CHARS_MAX + 1])
            raise UsageError(f"task {self._task}: its key has at most {CHARS_MAX} printable characters, not {shown}")
        return text


def key_of(
    task: str,
    concurrency: Limit | None,
    rate: RateLimit | None,
    fair_by: KeyOf | None,
    ordered_by: KeyOf | MessageKey | None,
) -> KeyOf | None:
    """The one key that a task's jobs have by their arguments; None: they have none.

    Raises:
        InvalidConfig: several that differ, or policies of another kind.
    """
    for name, key in (("fair_by", fair_by), ("ordered_by", ordered_by)):
        if key is not None and key is not MESSAGE_KEY and not isinstance(key, str) and not callable(key):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidConfig(f"{name} is the name of a parameter, or a function of some, not {key!r}")
    if concurrency is not None and not isinstance(concurrency, Limit):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidConfig(f"concurrency is a Limit, as in Limit(5), not {concurrency!r}")
    if rate is not None and not isinstance(rate, RateLimit):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidConfig(f"rate is a RateLimit, as in RateLimit(5, per=1), not {rate!r}")
    given = {
        "concurrency": None if concurrency is None else concurrency.key,
        "rate": None if rate is None else rate.key,
        "fair_by": fair_by,
    }
    keys = {name: key for name, key in given.items() if key is not None}
    if ordered_by is not None and keys:
        raise InvalidConfig(f"task {task}: ordered_by {_REMEDIES[next(iter(keys))]}")
    if ordered_by is not None:
        return None if isinstance(ordered_by, MessageKey) else ordered_by
    if any(key != next(iter(keys.values())) for key in keys.values()):
        said = ", ".join(f"{name} by {key!r}" for name, key in keys.items())
        raise InvalidConfig(f"task {task}: its keys differ ({said}); a task has one key, give all of them the same")
    return next(iter(keys.values()), None)


def _names_of(task: str, key: Callable[..., Any]) -> tuple[str, ...]:
    try:
        found = inspect.signature(key).parameters.values()
    except (TypeError, ValueError):
        found = None
    if not found or any(each.kind not in _BY_NAME for each in found):
        raise InvalidConfig(
            f"task {task}: a key that is a function takes some of the task's parameters by their names, "
            f"as in `lambda tenant: tenant`, not {key!r}"
        )
    return tuple(each.name for each in found)
