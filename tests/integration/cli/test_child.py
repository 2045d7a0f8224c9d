"""What a worker's process gives the jobs that run in it."""

from typing import Any

import pytest
import uvloop

from headrace.cli.child import COLLECT_AFTER

pytestmark = pytest.mark.timeout(150)  # a worker starts and ends

APP = """
import asyncio, gc
from headrace import Headrace

hr = Headrace("sqlite:///shop.db")
OWN = {own!r}
if OWN:
    gc.set_threshold(*OWN)
LOADED = [object() for _ in range(3)], {{}}


@hr.task()
async def look() -> tuple[str, bool, tuple[int, ...]]:
    looked_through = any(each is LOADED for each in gc.get_objects())
    return type(asyncio.get_running_loop()).__module__, looked_through, gc.get_threshold()
"""


@pytest.mark.parametrize("own", [(), (30_000, 5, 4)])
def test_a_fast_loop_and_a_collector_that_leaves_alone_what_was_loaded(shop: Any, own: tuple[int, ...]) -> None:
    (shop.path / "shop.py").write_text(APP.format(own=own))
    job = shop.enqueue("look.enqueue()")
    shop.start("worker", "shop:hr")
    shop.until(lambda: shop.job(job)["state"] == "succeeded", "the job's end")
    loop, looked_through, threshold = shop.job(job)["result"]
    assert loop == uvloop.__name__
    assert not looked_through
    assert tuple(threshold) == own or (not own and threshold[0] == COLLECT_AFTER)
