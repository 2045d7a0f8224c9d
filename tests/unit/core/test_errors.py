import inspect

import pytest

from headrace.core import errors
from headrace.core.errors import (
    BridgeUnavailable,
    Conflict,
    HeadraceError,
    InvalidArguments,
    JobFailed,
    NotifierError,
    Rejected,
    SlowConsumer,
    StoreUnavailable,
)

EVERY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HeadraceError)]


def test_codes_are_stable_words_and_unlike() -> None:
    codes = [kind.code for kind in EVERY]
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and code.replace("-", "").isalpha() for code in codes)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_of_its_own(kind: type[HeadraceError]) -> None:
    assert "code" in vars(kind)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_the_module_draws_every_error(kind: type[HeadraceError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__


def test_transient_says_that_the_same_call_may_work_later() -> None:
    transient = {kind for kind in EVERY if kind.transient}
    refusals = {Rejected, errors.Full, errors.Shed, errors.BreakerOpen, errors.RateLimited}
    assert transient == {StoreUnavailable, NotifierError, BridgeUnavailable, SlowConsumer} | refusals


def test_errors_carry_what_the_caller_needs() -> None:
    assert Conflict("taken", b"id").job_id == b"id"
    assert JobFailed("no").cause == "error"
    assert JobFailed("no", "crashed").cause == "crashed"
    assert InvalidArguments("no").fields == ()
    refused = InvalidArguments("no", (("args.0", "not an int"),))
    assert (str(refused), refused.fields) == ("no", (("args.0", "not an int"),))
