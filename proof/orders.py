"""What the customers order: drawn from the seed, so that a run asks for the same things again."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

KINDS: Final = {"pay": 35, "pack": 25, "draw": 25, "ship": 15}
ROUTES: Final = {"single": 30, "batch": 25, "placed": 15, "api": 15, "api-batch": 15}
BATCH_MAX: Final = 8
SECONDS: Final = (0.01, 0.08)


@dataclass(frozen=True, slots=True)
class Purchase:
    """One wish of a customer, named by the customer."""

    id: str
    kind: str
    seconds: float

    def body(self) -> dict[str, Any]:
        """As the shop's own endpoints take it."""
        return {"id": self.id, "kind": self.kind, "seconds": self.seconds}

    def call(self) -> dict[str, Any]:
        """As Headrace's endpoint takes it."""
        return {"task": self.kind, "args": {"purchase": self.id, "seconds": self.seconds}}


@dataclass(frozen=True, slots=True)
class Order:
    """One request: which way it goes, with what."""

    route: str
    purchases: tuple[Purchase, ...]

    @property
    def path(self) -> str:
        """Where it is posted."""
        return {
            "single": "/purchases",
            "batch": "/purchases/batch",
            "placed": "/purchases/placed",
            "api": "/headrace/api/jobs",
            "api-batch": "/headrace/api/jobs/batch",
        }[self.route]

    @property
    def body(self) -> Any:
        """What is posted."""
        match self.route:
            case "batch":
                return [each.body() for each in self.purchases]
            case "api":
                return self.purchases[0].call()
            case "api-batch":
                return {"jobs": [each.call() for each in self.purchases]}
            case _:
                return self.purchases[0].body()

    @property
    def headers(self) -> dict[str, str]:
        """Headrace's own endpoints know a repeated request by its key, the shop's by the purchase's id."""
        return {"Idempotency-Key": self.purchases[0].id} if self.route.startswith("api") else {}

    def jobs_of(self, answer: Any) -> list[dict[str, Any]]:
        """The jobs in the answer, in the order of the purchases."""
        match self.route:
            case "batch":
                return list(answer)
            case "api-batch":
                return list(answer["jobs"])
            case _:
                return [answer]


def orders(seed: int) -> Iterator[Order]:
    """Orders without end."""
    rng = random.Random(f"orders {seed}")
    number = 0
    while True:
        (route,) = rng.choices(list(ROUTES), list(ROUTES.values()))
        purchases: list[Purchase] = []
        for _ in range(rng.randint(2, BATCH_MAX) if "batch" in route else 1):
            number += 1
            (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
            purchases.append(Purchase(f"p{seed}-{number}", kind, round(rng.uniform(*SECONDS), 3)))
        yield Order(route, tuple(purchases))
