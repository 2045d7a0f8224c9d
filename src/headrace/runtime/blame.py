"""Which upstream an error came from: marks on errors and answers, and the look along an error's causes.

A mark stands on the exception itself, so it goes wherever the exception goes, and is gone with it.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

from headrace.core.errors import Rejected

ANSWER_MARK: Final = "headrace.upstream"
"""Under this name a failed answer bears its `Blame`, in the extensions that httpx keeps with it."""
_MARK: Final = "__headrace_upstream__"
_ERRORS_MAX: Final = 100

Blame = tuple[str, float | None]
"""An upstream's name, and how long it asked to be left alone."""


def blame(error: BaseException, upstream: str, retry_after_s: float | None = None) -> None:
    """Mark `error` as this upstream's; the last mark counts."""
    error.__dict__[_MARK] = (upstream, retry_after_s)


def own_blame(error: BaseException) -> Blame | None:
    """The upstream that raised or refused with this very error, whatever it was caused by."""
    if isinstance(error, Rejected):
        return None if error.upstream is None else (error.upstream, error.retry_in)
    marked = error.__dict__.get(_MARK)
    if marked is not None:
        return cast("Blame", marked)
    extensions: Any = getattr(error.__dict__.get("response"), "extensions", None)  # what raise_for_status raises
    return cast("dict[str, Blame]", extensions).get(ANSWER_MARK) if isinstance(extensions, dict) else None


def blamed_upstream(error: BaseException) -> Blame | None:
    """The upstream that `error`, or an error that led to it, came from; the nearest one.

    Causes are followed as a traceback shows them: `raise … from None` cuts the line, and a group is
    an upstream's if any of its members is.
    """
    for each in _line(error):
        found = own_blame(each)
        if found is not None:
            return found
    return None


def _line(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the nearest first, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) < _ERRORS_MAX:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(cast("BaseExceptionGroup[BaseException]", each).exceptions)
        if each.__cause__ is not None:
            waiting.append(each.__cause__)
        elif each.__context__ is not None and not each.__suppress_context__:
            waiting.append(each.__context__)
