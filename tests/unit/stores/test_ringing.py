"""Hints for transactions: rung when they have landed, for a while where nobody knows; also without a loop."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from headrace.core.errors import StoreUnavailable
from headrace.stores import joins

FORK = """
import os, threading
from headrace.stores import joins

joins.RING_AGAIN_S = (0.5, 0.6)
rung, held, done = [], threading.Event(), threading.Event()
joins.ring_soon(lambda: rung.append(os.getpid()))

def hold():
    with joins._ringer._changed:
        held.set()
        done.wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    rung.clear()
    joins.ring_soon(lambda: rung.append("own"))
    for thread in threading.enumerate():
        if thread.name == "headrace-ringer":
            thread.join(20)
    os._exit(0 if rung == ["own"] * (1 + len(joins.RING_AGAIN_S)) else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
done.set()
raise SystemExit(code)
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(joins, "RING_AGAIN_S", (0.5, 0.6))
    yield
    wait()


def ringers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "headrace-ringer"]


def wait() -> None:
    for thread in ringers():
        thread.join(10)


def test_many_writes_are_rung_for_by_one_thread_that_ends() -> None:
    rung = [0] * 100

    def ringing(number: int) -> Callable[[], None]:
        def ring() -> None:
            rung[number] += 1

        return ring

    for number in range(100):
        joins.ring_soon(ringing(number))
    assert rung == [1] * 100
    (thread,) = ringers()
    thread.join(10)
    assert rung == [3] * 100
    joins.ring_soon(ringing(0))
    wait()
    assert rung[0] == 6


def test_a_ring_that_fails_takes_no_other_along(caplog: pytest.LogCaptureFixture) -> None:
    rung: list[int] = []
    told = iter((None, RuntimeError("no"), RuntimeError("no")))

    def broken() -> None:
        if (error := next(told)) is not None:
            raise error

    joins.ring_soon(broken)
    joins.ring_soon(lambda: rung.append(1))
    wait()
    assert rung == [1, 1, 1]
    assert caplog.text.count("was not given") == 2


def test_a_fork_while_it_rings_takes_neither_the_lock_nor_what_is_due_along() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], timeout=50, check=False)
    assert done.returncode == 0


def test_a_commit_rings_once_and_one_without_an_answer_for_a_while() -> None:
    rung: list[str] = []
    owed = [lambda: rung.append("landed")]
    with joins.commits(owed):
        assert rung == []
    assert (rung, owed) == (["landed"], [])
    owed = [lambda: rung.append("unknown")]
    with pytest.raises(StoreUnavailable), joins.commits(owed):
        raise StoreUnavailable("the answer was lost")
    wait()
    assert (rung, owed) == (["landed", *["unknown"] * 3], [])


def test_a_commit_that_is_refused_rings_for_nothing() -> None:
    owed = [lambda: pytest.fail("nothing has landed")]
    with pytest.raises(ValueError, match="deferred"), joins.commits(owed):
        raise ValueError("a deferred constraint")
    assert len(owed) == 1
