"""Customers: they order over HTTP, repeat what was not answered, and write down what they know."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from proof.orders import Order

TIMEOUT_S: Final = 8.0
WAIT_S: Final = (0.05, 0.3)
GIVES_UP: Final = 0.03
"""How often a customer who got no answer goes away instead of repeating."""


class RefusedError(AssertionError):
    """An answer that no repetition will mend."""


class Producers:
    """Some customers at once; `acknowledged` hears of each job."""

    def __init__(
        self, url: str, key: str, log: Path, seed: int, acknowledged: Callable[[dict[str, Any]], None]
    ) -> None:
        """The log is written line by line; nothing is sent yet."""
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False)
        self._key = key
        self._log = log.open("a", encoding="utf-8", buffering=1)
        self._rng = random.Random(f"producers {seed}")
        self._acknowledged = acknowledged
        self.held = False
        """Whether customers wait before they order."""
        self.in_flight = 0
        self.count = 0
        self.answers: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self._http.aclose()
        self._log.close()

    async def customer(self, orders: Iterator[Order], pause_s: float, enough: Callable[[], bool]) -> None:
        """Order and order again, with a pause after each job, until there is enough."""
        while not enough():
            if self.held:
                await asyncio.sleep(WAIT_S[1])
                continue
            order = next(orders)
            for purchase in order.purchases:
                self._log.write(f"attempt {order.route} {purchase.id}\n")
            await self._insist(order, enough)
            await asyncio.sleep(pause_s * len(order.purchases) * self._rng.uniform(0.5, 1.5))

    async def _insist(self, order: Order, enough: Callable[[], bool]) -> None:
        while True:
            answer = await self._post(order)
            if answer is not None:
                for purchase, job in zip(order.purchases, order.jobs_of(answer), strict=True):
                    self._log.write(f"acknowledged {purchase.id} {job['id'].replace('-', '')}\n")
                    self.count += 1
                    self._acknowledged(job)
                return
            if enough() or self._rng.random() < GIVES_UP:
                return
            await asyncio.sleep(self._rng.uniform(*WAIT_S))

    async def _post(self, order: Order) -> Any:
        """The answer; None: there is none, or it says to come again.

        Raises:
            RefusedError: the request is wrong, which would be ours.
        """
        headers = {"Authorization": f"Bearer {self._key}", **order.headers}
        self.in_flight += 1
        try:
            response = await self._http.post(order.path, json=order.body, headers=headers)
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            return None
        finally:
            self.in_flight -= 1
        self.answers[str(response.status_code)] += 1
        if response.status_code == 202:
            return json.loads(response.text)
        if response.status_code in (409, 429) or response.status_code >= 500:
            return None
        raise RefusedError(f"{order.route}: {response.status_code} {response.text}")
