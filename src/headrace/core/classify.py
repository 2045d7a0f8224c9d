"""Which ends of a call are the upstream's failure."""

from dataclasses import dataclass
from typing import Any, Final

from headrace.core.errors import HeadraceError, InvalidConfig

FAILURE_STATUSES: Final = frozenset({429, *range(500, 600)} - {501})
"""Too many requests, and every server error but "not implemented", which says what the caller did."""

_STATUS_MIN, _STATUS_MAX = 100, 599


@dataclass(frozen=True, slots=True)
class Classify:
    """What counts as a failure of an upstream.

    `failure_exceptions`: in `async with` and under `guard`, these and their subclasses count, by
    default every `Exception`. A client counts what its transport reports (no connection, a broken
    one, a timeout), and what is listed here besides. `ignore_exceptions` never count, wherever they
    come from. `failure_statuses` are the HTTP answers that count in a client: 429 and the 5xx but
    501. Errors of Headrace itself, cancels and the words that steer a job are no outcome at all.

    Source: resilience4j's recordExceptions and ignoreExceptions.
    """

    failure_exceptions: tuple[type[Exception], ...] | None = None
    ignore_exceptions: tuple[type[Exception], ...] = ()
    failure_statuses: frozenset[int] = FAILURE_STATUSES

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.failure_exceptions is not None:
            _check_kinds("failure_exceptions", self.failure_exceptions)
        _check_kinds("ignore_exceptions", self.ignore_exceptions)
        object.__setattr__(self, "failure_statuses", _checked_statuses(self.failure_statuses))

    def is_failure(self, error: BaseException) -> bool:
        """Whether an error that left a guarded block or function is the upstream's."""
        wanted = (Exception,) if self.failure_exceptions is None else self.failure_exceptions
        return isinstance(error, wanted) and not self.is_ignored(error)

    def is_ignored(self, error: BaseException) -> bool:
        """Whether it never counts: listed as such, or our own."""
        return isinstance(error, (HeadraceError, *self.ignore_exceptions))

    def is_listed(self, error: BaseException) -> bool:
        """Whether it is among those that the user named as failures."""
        return self.failure_exceptions is not None and self.is_failure(error)


def _check_kinds(name: str, kinds: tuple[Any, ...]) -> None:
    if not isinstance(kinds, tuple):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidConfig(f"Classify.{name} is a tuple of exception classes, not {kinds!r}")
    for each in kinds:
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise InvalidConfig(f"Classify.{name} names exception classes, not {each!r}")


def _checked_statuses(statuses: Any) -> frozenset[int]:
    try:
        found = frozenset[Any](statuses)
    except TypeError:
        raise InvalidConfig(f"Classify.failure_statuses is a set of HTTP statuses, not {statuses!r}") from None
    for each in found:
        if not (isinstance(each, int) and _STATUS_MIN <= each <= _STATUS_MAX):
            raise InvalidConfig(f"Classify.failure_statuses are from {_STATUS_MIN} to {_STATUS_MAX}, not {each!r}")
    return found
