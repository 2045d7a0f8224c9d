"""The failure lab: orders of prints at a print shop over HTTP, jobs that wait while it is down.

What the shop does is in `shop.py`; it is another process, on the address in `PHOTO_LAB_SHOP`.
"""

from __future__ import annotations

import inspect as python
import itertools
import os
import time
from contextlib import suppress

import httpx
from fastapi import APIRouter, Depends, HTTPException, Response, status
from fastapi.responses import PlainTextResponse

from headrace import Breaker, JobContext, Retry
from headrace.runtime.views import upstream_view

from .lab import hr, same_origin
from .shop import Mood

SHOP = os.environ.get("PHOTO_LAB_SHOP", "")  # its address; `headrace demo` starts one
AT_ONCE = 100
LOOKED_AT = 500  # of the newest jobs, for failures that count
QUEUE = "prints"
BREAKER = Breaker(
    sliding_window_size=20,
    minimum_number_of_calls=10,
    wait_duration_in_open_state=3,
    permitted_number_of_calls_in_half_open_state=3,
    ramp=6,
)

router = APIRouter(prefix="/lab")
shop = hr.upstream("print shop", breaker=BREAKER, timeout=1, max_concurrency=8)


@hr.task(
    needs=[shop],
    queue=QUEUE,
    retry=Retry(max_attempts=3, cap=4),
)
async def order_print(ctx: JobContext, number: int) -> str:
    """Have one print made."""
    async with shop.client(base_url=SHOP) as http:
        order = {"number": number}
        answer = await http.post("/prints", json=order)
        answer.raise_for_status()
        return str(answer.json()["receipt"])


numbers = itertools.count(time.time_ns() // 1_000_000)


@router.post("/prints", status_code=status.HTTP_202_ACCEPTED, dependencies=[Depends(same_origin)])
async def order() -> dict[str, int]:
    jobs = await hr.enqueue_many([order_print.call(number=next(numbers)) for _ in range(AT_ONCE)])
    return {"jobs": len(jobs)}


@router.get("/prints")
async def seen() -> dict[str, object]:
    """All that the page shows."""
    return {
        "shop": await shop_now(),
        "upstream": await upstream_now(),
        "jobs": await jobs_now(),
        "ramp_s": BREAKER.ramp,
    }


async def shop_now() -> object:
    """What the shop says of itself; None: it does not answer."""
    with suppress(httpx.HTTPError, httpx.InvalidURL, ValueError):
        async with httpx.AsyncClient(base_url=SHOP, timeout=2, trust_env=False) as http:
            return (await http.get("/")).raise_for_status().json()
    return None


async def upstream_now() -> dict[str, object] | None:
    """What the fleet knows of the shop; None: nobody has called it yet."""
    found = [upstream_view(each, time.time()) for each in await hr.upstreams() if each.name == shop.name]
    return found[0] if found else None


async def jobs_now() -> dict[str, int]:
    """The prints that were ever ordered, by state, and the failures that count against the newest."""
    counts = {
        state.value: jobs for each in await hr.queues() if each.name == QUEUE for state, jobs in each.counts.items()
    }
    newest = await hr.jobs(task=order_print, limit=LOOKED_AT)
    return {
        "waiting": counts.get("ready", 0) + counts.get("scheduled", 0),
        "running": counts.get("running", 0),
        "succeeded": counts.get("succeeded", 0),
        "failed": counts.get("failed", 0),
        "failures": sum(job.record.failures for job in newest if job.record is not None),
    }


@router.put("/shop", dependencies=[Depends(same_origin)])
async def set_mood(mood: Mood) -> Response:
    try:
        async with httpx.AsyncClient(base_url=SHOP, timeout=2, trust_env=False) as http:
            (await http.put("/mood", json=mood.model_dump())).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise HTTPException(status.HTTP_502_BAD_GATEWAY, "The print shop does not answer.") from error
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.get("/prints/source", response_class=PlainTextResponse)
async def source() -> str:
    return python.getsource(order_print.function)
