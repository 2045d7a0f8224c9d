"""The shop that `bench.overload` floods: an endpoint that waits for its job, and a task of a known length."""

import asyncio
import os
from typing import Any

from fastapi import FastAPI, HTTPException

from headrace import Headrace

ADMISSION = "BENCH_OVERLOAD_ADMISSION"
SERVICE_S = "BENCH_OVERLOAD_SERVICE_S"
PATIENCE_S = "BENCH_OVERLOAD_PATIENCE_S"
AGE_TARGET_S = 1.0


class Shop:
    """One Headrace and the app that it is installed on."""

    def __init__(self) -> None:
        service_s, patience_s = float(os.environ[SERVICE_S]), float(os.environ[PATIENCE_S])
        self.hr = Headrace()
        self.app = FastAPI()
        self.hr.install(self.app)
        if os.environ[ADMISSION] == "on":
            self.hr.queue("work", age_target=AGE_TARGET_S, interval=0.5)

        @self.hr.task(queue="work")
        async def work() -> None:
            await asyncio.sleep(service_s)

        @self.app.post("/work")
        async def wait() -> str:
            job = await work.enqueue()
            try:
                await job.result(timeout=patience_s)
            except TimeoutError:
                raise HTTPException(504) from None
            return "done"


_shop: Shop | None = None


def __getattr__(name: str) -> Any:
    """`hr` and `app` are made when a worker or a server asks for them."""
    global _shop  # noqa: PLW0603 - one per process
    if name not in ("hr", "app"):
        raise AttributeError(name)
    if _shop is None:
        _shop = Shop()
    return getattr(_shop, name)
