"""What the jobs of every peer do, async and sync; each leaves its marks by itself, without the peer's help."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from bench.peers.meter import FOLDER_VARIABLE, Meter, mine

URL = os.environ.get("PEER_URL", "")
QUEUE = os.environ.get("PEER_QUEUE", "bench")
FOLDER = Path(os.environ.get(FOLDER_VARIABLE, "."))
HOLD_S = 120.0
LOOK_S = 0.02


_meters: dict[int, Meter] = {}  # by process: a forked one has its own
_making = threading.Lock()


def hit() -> None:
    pid = os.getpid()
    meter = _meters.get(pid)
    if meter is None:
        with _making:
            meter = _meters.get(pid) or _meters.setdefault(pid, mine(FOLDER))
    meter.hit()


def mark(sent: float) -> None:
    """How long ago, on the monotonic clock, a job was sent."""
    waited = time.monotonic() - sent
    with (FOLDER / f"stamps-{os.getpid()}").open("a", encoding="ascii") as file:
        file.write(f"{waited!r}\n")


def begin(n: float) -> Path:
    """Say who runs a job and since when; the file that ends it."""
    with (FOLDER / f"started-{n:.0f}").open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()} {time.monotonic()!r}\n")
    return FOLDER / f"release-{n:.0f}"


async def noop(n: float) -> None:  # noqa: ARG001 - an argument to carry
    hit()


async def sleep_1(n: float) -> None:  # noqa: ARG001
    hit()
    await asyncio.sleep(0.001)


async def sleep_10(n: float) -> None:  # noqa: ARG001
    hit()
    await asyncio.sleep(0.01)


async def stamp(n: float) -> None:
    mark(n)


async def hold(n: float) -> None:
    release, give_up = begin(n), time.monotonic() + HOLD_S
    while not release.exists() and time.monotonic() < give_up:  # noqa: ASYNC110 - made by another process
        await asyncio.sleep(LOOK_S)


def _noop(n: float) -> None:  # noqa: ARG001
    hit()


def _sleep_1(n: float) -> None:  # noqa: ARG001
    hit()
    time.sleep(0.001)


def _sleep_10(n: float) -> None:  # noqa: ARG001
    hit()
    time.sleep(0.01)


def _stamp(n: float) -> None:
    mark(n)


def _hold(n: float) -> None:
    release, give_up = begin(n), time.monotonic() + HOLD_S
    while not release.exists() and time.monotonic() < give_up:
        time.sleep(LOOK_S)


ASYNC: Mapping[str, Callable[[float], Awaitable[None]]] = {
    "noop": noop,
    "sleep_1": sleep_1,
    "sleep_10": sleep_10,
    "stamp": stamp,
    "hold": hold,
}
SYNC: Mapping[str, Callable[[float], None]] = {
    "noop": _noop,
    "sleep_1": _sleep_1,
    "sleep_10": _sleep_10,
    "stamp": _stamp,
    "hold": _hold,
}
