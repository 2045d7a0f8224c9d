"""Exceptions into failures and outcomes: what is kept of an error, and what follows from it."""

import hashlib
import random
import traceback

from headrace.core.errors import InvalidArguments
from headrace.core.model import Cause, Failed, Failure, Outcome, Retried
from headrace.core.retry import Retry

MESSAGE_CHARS_MAX = 2_000
TRACEBACK_CHARS_MAX = 8_000


def failure_of(error: BaseException, cause: Cause = Cause.ERROR) -> Failure:
    """What is kept of `error`: bounded texts, and a fingerprint that alike errors share.

    The fingerprint is of the type and the functions on the stack, not of lines or messages, so
    that neither a new release nor a number in the text splits a group.
    """
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    frames = traceback.extract_tb(error.__traceback__)
    trail = "|".join([name, *(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.name}" for frame in frames)])
    text = "".join(traceback.format_exception(error))
    if len(text) > TRACEBACK_CHARS_MAX:
        text = f"[…]\n{text[-TRACEBACK_CHARS_MAX:]}"
    return Failure(
        type=name,
        message=storable(_words(error))[:MESSAGE_CHARS_MAX],
        cause=cause,
        traceback=storable(text),
        fingerprint=hashlib.sha256(trail.encode("utf-8", "replace")).hexdigest()[:16],
    )


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the user's own method; the job must end all the same
        return f"<{type(error).__qualname__} that cannot be printed>"


def storable(text: str) -> str:
    """The text without what no store can carry (NUL, lone surrogates)."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def after_failure(
    failure: Failure, error: type[BaseException], retry: Retry, failures: int, rng: random.Random
) -> Outcome:
    """Another attempt or the end; `failures` counts those before this one."""
    if issubclass(error, InvalidArguments):
        return Failed(failure)
    delay_s = retry.decide(failures + 1, error, rng)
    return Failed(failure) if delay_s is None else Retried(failure, delay_s)
