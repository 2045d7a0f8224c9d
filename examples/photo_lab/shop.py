"""The print shop: an HTTP service that is slow, fails or is down, as the lab's page says. It knows nothing of jobs.

    python shop.py --port 8001

`headrace demo` starts it as a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import time
from collections import deque
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException, status
from pydantic import BaseModel, Field

from headrace.runtime.process import die_with_parent

SECONDS = 60

app = FastAPI(title="Print shop")


class Mood(BaseModel):
    """How the shop is today."""

    down: bool = False
    error_rate: Annotated[int, Field(ge=0, le=100)] = 0
    """Percent of the calls that fail."""
    latency_ms: Annotated[int, Field(ge=0, le=5_000)] = 200


class Second(BaseModel):
    """The calls that came in one second."""

    at: int
    received: int = 0
    failed: int = 0


class Books(BaseModel):
    """What the shop has seen since it opened."""

    received: int = 0
    received_down: int = 0
    failed: int = 0
    under_way: int = 0
    most_under_way: int = 0
    printed: int = 0
    printed_twice: int = 0


class Order(BaseModel):
    """One print."""

    number: int


mood = Mood()
books = Books()
lately: deque[Second] = deque(maxlen=SECONDS)
printed: set[str] = set()


@app.get("/")
async def now() -> dict[str, object]:
    return {"mood": mood, "books": books, "at": int(time.time()), "seconds": list(lately)}


@app.put("/mood")
async def change(wanted: Mood) -> Mood:
    global mood  # noqa: PLW0603 - one process, one shop
    mood = wanted
    return mood


@app.post("/prints")
async def make_print(order: Order) -> dict[str, str]:
    second = this_second()
    second.received += 1
    books.received += 1
    books.received_down += mood.down
    books.under_way += 1
    books.most_under_way = max(books.most_under_way, books.under_way)
    try:
        await work()
    except HTTPException:
        second.failed += 1
        books.failed += 1
        raise
    finally:
        books.under_way -= 1
    name = f"print {order.number}"
    books.printed += 1
    books.printed_twice += name in printed
    printed.add(name)
    return {"receipt": name}


async def work() -> None:
    """Take as long and fail as often as the mood says."""
    if mood.down:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "The shop is down.")
    await asyncio.sleep(mood.latency_ms / 1000)
    if random.randrange(100) < mood.error_rate:  # noqa: S311 - no secret
        raise HTTPException(status.HTTP_500_INTERNAL_SERVER_ERROR, "The printer is jammed.")


def this_second() -> Second:
    at = int(time.time())
    if not lately or lately[-1].at != at:
        lately.append(Second(at=at))
    return lately[-1]


def main() -> None:
    """Serve on a port, or on a socket that the process that starts this one has bound."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--fd", type=int)
    given = parser.parse_args()
    if given.fd is None:
        uvicorn.run(app, port=given.port)
        return
    die_with_parent()
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=given.fd)])


if __name__ == "__main__":
    main()
