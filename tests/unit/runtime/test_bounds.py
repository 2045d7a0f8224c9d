import asyncio
import threading

import pytest

from headrace.runtime.bounds import SWEEP_FROM, Bound, Bounds


async def bounded(bounds: Bounds, sleep_s: float) -> str:
    bound = bounds.begin()
    try:
        await asyncio.sleep(sleep_s)
    except BaseException as error:
        if bound.over(error):
            return "late"
        raise
    bound.over(None)
    return "in time"


async def test_each_ends_at_its_own_instant() -> None:
    bounds = Bounds(0.1)
    slow = []
    for _ in range(5):
        slow.append(asyncio.create_task(bounded(bounds, 5)))
        assert await bounded(bounds, 0.01) == "in time"
    assert await asyncio.gather(*slow) == ["late"] * 5
    for task in slow:
        assert task.cancelling() == 0


async def test_it_is_no_earlier_than_asked() -> None:
    loop = asyncio.get_running_loop()
    bounds = Bounds(0.1)
    began = loop.time()
    assert await bounded(bounds, 0.0) == "in time"  # its timer is of an earlier begin
    await asyncio.sleep(0.05)
    began = loop.time()
    assert await bounded(bounds, 5) == "late"
    assert 0.1 <= loop.time() - began < 2


async def test_a_cancel_from_outside_stays_one() -> None:
    task = asyncio.create_task(bounded(Bounds(5), 5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancel_from_outside_wins_over_ours() -> None:
    """Both at one moment: the caller wants it to end, not to be told that it was late."""
    bounds = Bounds(0.02)

    async def stubborn() -> str:
        bound = bounds.begin()
        try:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:  # ours
                await asyncio.sleep(5)  # where the other one comes
                raise
        except BaseException as error:
            if bound.over(error):
                return "late"
            raise
        return "never"

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_after_ours_is_that_error() -> None:
    bound = Bounds(0.01).begin()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(5)
    assert not bound.over(ValueError())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_inside_each_other() -> None:
    outer, inner = Bounds(5), Bounds(0.01)

    async def both(first: Bounds, second: Bounds) -> list[bool]:
        ends = [first.begin(), second.begin()]
        try:
            await asyncio.sleep(3)
        except asyncio.CancelledError as error:
            return [ends[1].over(error), ends[0].over(error)]
        return []

    assert await both(outer, inner) == [True, False]
    assert await both(inner, outer) == [False, True]


async def test_what_is_over_does_not_pile_up_behind_a_long_one() -> None:
    bounds = Bounds(60)
    first = bounds.begin()
    for _ in range(10_000):
        bounds.begin().over(None)
    line = bounds._here.line
    assert line is not None
    assert len(line._waiting) <= SWEEP_FROM + 2
    first.over(None)
    assert not line._waiting or all(each.task is None for each in line._waiting)


def test_every_loop_has_its_own() -> None:
    bounds = Bounds(0.05)
    assert [asyncio.run(bounded(bounds, 5)) for _ in range(2)] == ["late", "late"]
    ends: list[str] = []
    threads = [threading.Thread(target=lambda: ends.append(asyncio.run(bounded(bounds, 5)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert ends == ["late"] * 4


async def test_one_timer_for_all() -> None:
    bounds = Bounds(60)
    loop = asyncio.get_running_loop()
    before = len(loop._scheduled)  # type: ignore[attr-defined]
    alive: list[Bound] = [bounds.begin() for _ in range(100)]
    assert len(loop._scheduled) == before + 1  # type: ignore[attr-defined]
    for each in alive:
        each.over(None)
