"""A fleet at rest: every worker has loaded the app and waits."""

import asyncio
import random
import time

from bench.app import App
from bench.processes import TooSlowError

READY_S = 60.0
SPREAD = (0.7, 1.3)
"""A rest is drawn anew each time, so that no measurement keeps step with what the fleet does periodically."""


async def at_rest(app: App, workers: int, standbys: int, rest_s: float) -> None:
    """Until so many workers and so many in reserve are ready, and a little longer."""
    give_up = time.monotonic() + READY_S
    while True:
        roles = [worker.role for worker in await app.hr.workers() if worker.alive and worker.tasks]
        if roles.count("worker") == workers and len(roles) == workers + standbys:
            break
        if time.monotonic() >= give_up:
            raise TooSlowError(f"{workers} workers and {standbys} in reserve: there are {roles}")
        await asyncio.sleep(0.05)
    await asyncio.sleep(rest_s * random.uniform(*SPREAD))
