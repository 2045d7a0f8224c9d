"""What a seed draws of too much: bounds of queues under rushes of jobs, and API processes whose loops are late."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.core.admission import QueuePolicy
from headrace.core.model import NewJob

SHARE = 0.5  # of all worlds whose pace is 1: what is waited for in an overload is not scaled
QUEUES = ("default", "mail")


@dataclass(frozen=True, slots=True)
class Strain:
    """What a world has to bear."""

    policies: Mapping[str, QueuePolicy]  # of the queues that are declared, in each API process
    rush: bool  # jobs come in bursts
    nested: float  # so many enqueues come from inside attempts
    block_s: float | None  # loops of API processes are blocked for up to so long, again and again; None: never
    spell_s: float  # for up to so long

    def fits(self, jobs: Sequence[NewJob]) -> bool:
        """Whether so many could ever be let in together."""
        counts = Counter(job.queue for job in jobs)
        return all(count <= (self._policy(queue).depth_max or count) for queue, count in counts.items())

    def _policy(self, queue: str) -> QueuePolicy:
        return self.policies.get(queue, QueuePolicy())


def draw(seed: int, *, always: bool = False) -> Strain | None:
    """What the world of a seed bears; None: nothing."""
    rng = random.Random(f"{seed} strain")  # noqa: S311 - a seed's draws are to be repeatable
    if rng.random() >= SHARE and not always:
        return None
    drawn = {queue: _draw_policy(rng) for queue in QUEUES}
    return Strain(
        {queue: policy for queue, policy in drawn.items() if policy is not None},
        rush=rng.random() < OFTEN,
        nested=rng.choice((0.0, 0.1)),
        block_s=rng.choice((None, 0.5, 2.0, 2.0)),
        spell_s=rng.choice((10.0, 25.0)),
    )


def _draw_policy(rng: random.Random) -> QueuePolicy | None:
    depth_max = rng.choice((None, 1, 3, 10))
    age_s = rng.choice((None, 1.0, 1.0, 3.0))
    interval_s = rng.choice((0.1, 0.5, 1.0))
    if depth_max is None and age_s is None:
        return None
    return QueuePolicy(depth_max, age_s, 1.0 if age_s is None else interval_s)


OFTEN = 0.8
