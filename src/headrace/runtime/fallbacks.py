"""What can be seen of a fallback when it is defined: that it fits the function that it stands in for.

A fallback runs for the first time when something is down, so that is too late to learn that it
cannot be called, or that it gives what nobody expects.
"""

import inspect
import types
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from headrace.core.errors import InvalidConfig

_UNSEEN = object()


def check_fallback(fn: Callable[..., Any], fallback: Any, *, waits: bool) -> None:
    """Refuse a fallback that does not fit; `waits`: the function is a coroutine function.

    Raises:
        InvalidConfig: says what does not fit.
    """
    name = getattr(fn, "__qualname__", repr(fn))
    wanted = _result(fn)
    if not callable(fallback):
        if not _is_a(fallback, wanted):
            raise InvalidConfig(f"the fallback of {name} is {fallback!r}, and {name} returns {_words(wanted)}")
        return
    given = _result(fallback)
    if not waits and (inspect.iscoroutinefunction(fallback) or _awaited(given) is not given):
        raise InvalidConfig(f"the fallback of {name} is to be awaited, and {name} is not")
    if not _fits(_awaited(given), wanted):
        raise InvalidConfig(f"the fallback of {name} returns {_words(given)}, and {name} returns {_words(wanted)}")
    if not _takes(fallback, fn):
        raise InvalidConfig(f"the fallback of {name} is called with the error and then all that {name} is called with")


def _result(fn: Callable[..., Any]) -> Any:
    if isinstance(fn, type):
        return fn
    try:
        return get_type_hints(fn, include_extras=True).get("return", _UNSEEN)
    except (NameError, TypeError, AttributeError):  # names that only a checker knows
        return _UNSEEN


def _awaited(hint: Any) -> Any:
    origin = get_origin(hint)
    if isinstance(origin, type) and issubclass(origin, Awaitable):
        args = get_args(hint)
        return args[-1] if args else _UNSEEN
    return hint


def _parts(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint alone; without what Annotated adds."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(part for each in get_args(hint) for part in _parts(each))
    if hint is Any:  # in some versions a class like others
        return (_UNSEEN,)
    return (type(None) if hint is None else hint,)


def _is_a(value: object, wanted: Any) -> bool:
    return any(_is_one(value, part) for part in _parts(wanted))


def _is_one(value: object, wanted: Any) -> bool:
    if get_origin(wanted) is Literal:
        return value in get_args(wanted)
    kind = get_origin(wanted) or wanted
    if not isinstance(kind, type):
        return True
    try:
        return isinstance(value, kind) or (kind is float and isinstance(value, int))
    except TypeError:  # a protocol that cannot be asked
        return True


def _fits(given: Any, wanted: Any) -> bool:
    return all(any(_is_kind(part, each) for each in _parts(wanted)) for part in _parts(given))


def _is_kind(given: Any, wanted: Any) -> bool:
    if get_origin(given) is Literal:
        return all(_is_one(value, wanted) for value in get_args(given))
    kinds = get_origin(given) or given, get_origin(wanted) or wanted
    if not all(isinstance(kind, type) for kind in kinds):
        return True
    mine, theirs = cast("tuple[type, type]", kinds)
    try:
        if not (issubclass(mine, theirs) or (mine is int and theirs is float)):
            return False
    except TypeError:
        return True
    parts = get_args(given), get_args(wanted)
    if mine is not theirs or not all(parts) or len(parts[0]) != len(parts[1]):
        return True
    return all(_fits(*pair) for pair in zip(*parts, strict=True))


def _takes(fallback: Callable[..., Any], fn: Callable[..., Any]) -> bool:
    """Whether it can be called with an error and the arguments that the function needs."""
    try:
        taken, needed = inspect.signature(fallback), inspect.signature(fn).parameters.values()
    except (ValueError, TypeError):  # written in C, and silent
        return True
    place = inspect.Parameter
    required = [each for each in needed if each.default is place.empty]
    by_place = [each for each in required if each.kind in (place.POSITIONAL_ONLY, place.POSITIONAL_OR_KEYWORD)]
    by_name = {each.name: None for each in required if each.kind is place.KEYWORD_ONLY}
    try:
        taken.bind(None, *by_place, **by_name)
    except TypeError:
        return False
    return True


def _words(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) and not get_args(hint) else str(hint)
