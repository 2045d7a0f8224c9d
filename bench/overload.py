"""`python -m bench.overload`: does a service come back by itself when an overload ends?

Open load: clients come at a rate, whatever becomes of those before them. Each posts an order, waits for its job as long
as its patience lasts, and tries again, up to three times in all. Nobody cancels the job of a client that has given up:
it is useless, and done all the same. After a calm start ten times as many come as the workers can serve, then as few as
before. A client counts as served if one of its attempts was answered in time.

It runs twice: with admission by the queue's age and a retry budget in the clients (a fifth of their requests, and
`Retry-After` honoured), and without both, where a third of the overload is enough to show what happens: the few who
come afterwards, each up to three times, are more than the workers can serve, so that the backlog never goes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.overload_app import ADMISSION, PATIENCE_S, SERVICE_S
from bench.processes import ROOT, STOP_S, WorkerTree, wait_for
from servers.postgres import Postgres

SLOTS = 2
ATTEMPTS_MAX = 3
BUDGET = 0.2  # retries for each first request
WINDOW_S = 5  # over which the share of clients served is looked at
GOOD = 0.9


@dataclass(frozen=True, slots=True)
class Scale:
    """Durations; the load follows from how long a job takes."""

    service_s: float
    patience_s: float
    calm_s: float
    overload_s: float
    overload_off_s: float
    after_s: float

    @property
    def capacity(self) -> float:
        """Jobs a second that the workers can do."""
        return SLOTS / self.service_s


FULL = Scale(0.2, 3.0, 10.0, 60.0, 20.0, 35.0)
QUICK = Scale(0.2, 0.5, 1.0, 1.0, 1.0, 1.0)


@dataclass(slots=True)
class Tally:
    """What became of the clients, by the second in which they first came."""

    came: dict[int, int] = field(default_factory=dict[int, int])
    served: dict[int, int] = field(default_factory=dict[int, int])
    requests: int = 0
    shed: int = 0
    too_late: int = 0
    retry_after: list[float] = field(default_factory=list[float])
    tokens: float = 10.0

    def share(self, start: int, end: int) -> float:
        """Of the clients that came from one second up to another, those served."""
        came = sum(self.came.get(second, 0) for second in range(start, end))
        return sum(self.served.get(second, 0) for second in range(start, end)) / came if came else 0.0


class Crowd:
    """Clients, and what they do when they are refused or wait in vain."""

    def __init__(self, http: httpx.AsyncClient, scale: Scale, *, budget: bool) -> None:
        self.tally = Tally()
        self._http = http
        self._scale = scale
        self._budget = budget
        self._began = time.monotonic()
        self._clients: set[asyncio.Task[None]] = set()

    @property
    def second(self) -> int:
        return int(time.monotonic() - self._began)

    async def come(self, seconds: float, per_s: float) -> None:
        """At this rate, evenly, whatever becomes of them."""
        give_up = time.monotonic() + seconds
        due = time.monotonic()
        while due < give_up:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            client = asyncio.create_task(self._client())
            self._clients.add(client)
            client.add_done_callback(self._clients.discard)
            due += 1 / per_s

    async def leave(self) -> None:
        """Wait as long as the last ones do, for an answer and once more."""
        if self._clients:
            _, left = await asyncio.wait(self._clients, timeout=2 * self._scale.patience_s)
            for client in left:
                client.cancel()

    async def _client(self) -> None:
        tally, came = self.tally, self.second
        tally.came[came] = tally.came.get(came, 0) + 1
        tally.tokens = min(tally.tokens + BUDGET, 10.0)
        for attempt in range(ATTEMPTS_MAX):
            tally.requests += 1
            status, again_s = await self._ask()
            if status == httpx.codes.OK:
                tally.served[came] = tally.served.get(came, 0) + 1
                return
            if attempt + 1 == ATTEMPTS_MAX or (self._budget and tally.tokens < 1):
                return
            tally.tokens -= 1
            await asyncio.sleep(again_s if self._budget else random.uniform(0, 0.1))

    async def _ask(self) -> tuple[int, float]:
        try:
            answer = await self._http.post("/work")
        except httpx.HTTPError:
            self.tally.too_late += 1
            return 0, random.uniform(0, 1)
        again_s = float(answer.headers.get("retry-after", 0))
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            self.tally.shed += 1
            self.tally.retry_after.append(again_s)
        elif answer.status_code != httpx.codes.OK:
            self.tally.too_late += 1
        return answer.status_code, again_s or random.uniform(0, 1)


@contextmanager
def shop(folder: Path, store: str, scale: Scale, *, admission: bool) -> Iterator[str]:
    """An API and a worker, in processes of their own; where the API answers."""
    os.environ |= {
        "HEADRACE_STORE": store,
        ADMISSION: "on" if admission else "off",
        SERVICE_S: str(scale.service_s),
        PATIENCE_S: str(scale.patience_s),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "bench.overload_app:app", "--port", str(port)]
    with (folder / "api.log").open("wb") as log:
        api = subprocess.Popen([*command, "--log-level", "error"], cwd=ROOT, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        options = ("--concurrency", str(SLOTS), "--processes", "1")
        with WorkerTree(store, folder, *options, app="bench.overload_app:hr"):
            wait_for(lambda: _serves(url), "the first job", 60.0, 0.1)
            yield url
    finally:
        api.terminate()
        try:
            api.wait(STOP_S)
        except subprocess.TimeoutExpired:
            api.kill()
            api.wait()


def _serves(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.post(f"{url}/work", timeout=10).status_code == httpx.codes.OK
    return False


async def flood(url: str, scale: Scale, overload_s: float, *, protected: bool) -> tuple[Tally, tuple[int, int, int]]:
    """Calm, ten times too many, calm again; and in which second each of the last two began, and the end."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    timeout = httpx.Timeout(scale.patience_s + 2, pool=None)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=timeout) as http:
        crowd = Crowd(http, scale, budget=protected)
        normal = 0.7 * scale.capacity
        await crowd.come(scale.calm_s, normal)
        began = crowd.second
        await crowd.come(overload_s, 10 * scale.capacity)
        ended = crowd.second + 1
        await crowd.come(scale.after_s, normal)
        end = crowd.second
        await crowd.leave()
    return crowd.tally, (began, ended, end)


def recovery_s(tally: Tally, ended: int, end: int) -> float | None:
    """How long after the overload clients are served again, and go on being served; None: they are not."""
    for second in range(ended, end - WINDOW_S):
        if all(tally.share(at, at + WINDOW_S) >= GOOD for at in range(second, end - WINDOW_S + 1)):
            return float(second - ended)
    return None


def measure(folder: Path, scale: Scale, store: str, *, protected: bool) -> dict[str, float | str]:
    """One run."""
    overload_s = scale.overload_s if protected else scale.overload_off_s
    with shop(folder, store, scale, admission=protected) as url:
        tally, (began, ended, end) = asyncio.run(flood(url, scale, overload_s, protected=protected))
    back_s = recovery_s(tally, ended, end)
    during = sum(tally.served.get(second, 0) for second in range(began, ended)) / max(1, ended - began)
    head = "upstream" if protected else "upstream.unprotected"
    waits = sorted(tally.retry_after)
    return {
        f"{head}.overload_s": overload_s,
        f"{head}.served_before_pct": round(100 * tally.share(0, began), 1),
        f"{head}.served_during_per_s": round(during, 1),
        f"{head}.served_after_pct": round(100 * tally.share(max(ended, end - 10), end), 1),
        f"{head}.recovery_s": "never" if back_s is None else back_s,
        f"{head}.requests": tally.requests,
        f"{head}.shed": tally.shed,
        f"{head}.too_late": tally.too_late,
        f"{head}.retry_after_median_s": waits[len(waits) // 2] if waits else 0.0,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description="Recovery from an overload.")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures under flat keys")
    parser.add_argument("--quick", action="store_true", help="a few seconds: checks the bench itself")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server of its own, not on SQLite")
    parser.add_argument("--only", choices=("on", "off"), help="with or without admission; both by default")
    arguments = parser.parse_args()
    scale = QUICK if arguments.quick else FULL
    keys: dict[str, float | str] = {"upstream.capacity_per_s": scale.capacity, "upstream.patience_s": scale.patience_s}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Postgres()) if arguments.postgres else None
        for name in ("on", "off") if arguments.only is None else (arguments.only,):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-overload-")))
            store = f"sqlite:///{folder / 'jobs.db'}" if server is None else server.create_database()
            keys |= measure(folder, scale, store, protected=name == "on")
    for key, value in keys.items():
        print(f"{key:40} {value}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(keys, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
