"""Moves on two stores, drawn by a seed alone: long and varied walks, where Hypothesis likes to repeat itself."""

import random
from collections.abc import Sequence
from typing import Any, TypeAlias

from headrace.core.limits import Limit, RateLimit
from headrace.core.model import (
    Cancelled,
    Failed,
    Failure,
    GivenBack,
    Outcome,
    Retried,
    Snoozed,
    Succeeded,
    Suspicion,
    UpdateKind,
)
from headrace.testing.conformance.store_base import request

WORKERS = ("worker-1", "worker-2")
QUEUES = ("billing", "mail")
BOOM = Failure("app.Boom", "it broke")
OUTCOMES: list[Outcome] = [
    Succeeded('"done"'),
    Failed(BOOM),
    Retried(BOOM),
    Retried(BOOM, 20.0),
    Snoozed(20.0, "shut"),
    Snoozed(0.0),
    Cancelled(),
    GivenBack(started=True),
    GivenBack(started=False),
]
SPECS: tuple[Sequence[Any], ...] = (
    ("charge", "refund"),
    QUEUES,
    (0.0, 0.0, 20.0),  # delays
    (None, None, "k", "l"),  # keys
    ("d", "d", "e"),  # and their digests
    (None, None, 30.0),  # deadlines
    (0, 0, 5),  # priorities
)
Limits: TypeAlias = tuple[Limit | None, RateLimit | None, bool]  # and whether it is ordered
LIMITS: tuple[Limits, ...] = (
    (Limit(1), None, False),
    (Limit(2, key="tenant"), None, False),
    (Limit(4), None, False),
    (None, RateLimit(2, 40.0), False),
    (Limit(3), RateLimit(1, 20.0, burst=2), False),
)
IN_ORDER: tuple[Limits, ...] = ((None, None, True), (Limit(1), None, True), (None, RateLimit(2, 40.0), True))
WAITS_S = (1.0, 1.0, 20.0, 20.0, 110.0, 110.0, 250.0, 600.0)
KINDS = (UpdateKind.ITEM, UpdateKind.ITEM, UpdateKind.LOG, UpdateKind.PROGRESS)
MOVES = (
    *("exchange", "exchange", "settle_many", "claim_what_is_first", "come_late", "append", "append", "change"),
    *("leave_or_reconcile", "let_time_pass", "enqueue", "enqueue_again", "reap", "renew", "pause_or_resume"),
)
SELDOM, OFTEN = 0.2, 0.5
ORDERED = 0.3  # of claims under limits


def draw_spec(rng: random.Random) -> Any:
    """What a job is made of."""
    return tuple(rng.choice(each) for each in SPECS)


def draw_move(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """A rule of the model, and its arguments; small numbers pick the newest."""
    worker = rng.choice(WORKERS)
    picks = [int(rng.expovariate(0.5)) for _ in range(rng.choice((1, 2, 3)))]
    outcomes = rng.choices(OUTCOMES, k=3)
    task, queue, *_ = draw_spec(rng)
    kind = rng.choices(tuple(Suspicion), (8, 1, 1))[0]
    arguments: dict[str, dict[str, Any]] = {
        "enqueue": {"specs": [draw_spec(rng) for _ in picks]},
        "enqueue_again": {"picks": [3 * pick for pick in picks]},  # older ones too
        "exchange": {
            "worker": worker,
            "picks": picks,
            "outcomes": outcomes,
            "wanted": request(1000, suspects=None),
        },
        "settle_many": {"worker": worker, "picks": [*picks, 0, 1, 2], "last": outcomes[0]},
        "claim_what_is_first": {"worker": worker, "task": task, "queue": queue, "kind": kind},
        "come_late": {"worker": worker, "pick": picks[0], "outcomes": outcomes},
        "append": {
            "picks": picks,
            "kinds": rng.choices(KINDS, k=3),
            "keys": rng.choices((None, "a", "b"), k=3),
        },
        "change": {"picks": picks, "verb": rng.choice(("cancel", "retry", "retry", "edit"))},
        "leave_or_reconcile": {
            "worker": worker,
            "known": rng.choice((None, picks, picks)),
            "late": picks[-1] if len(picks) > 1 else None,
        },
        "reap": {"dead": [worker] if rng.random() < SELDOM else [], "back": rng.random() > SELDOM},
        "renew": {"worker": worker},
        "pause_or_resume": {"queue": queue},
        "let_time_pass": {"seconds": rng.choice(WAITS_S), "pruning": rng.random() < OFTEN},
    }
    name = rng.choice(MOVES)
    own = random.Random(f"{worker} {picks} {task} {queue}")  # noqa: S311 - so that the others are drawn as ever
    if name == "claim_what_is_first" and own.random() < OFTEN:
        limits = {"limits": own.choice(LIMITS), "most": own.choice((1, 3, 1000)), "unlimited": own.random() < OFTEN}
        order = random.Random(f"{worker} {picks} {queue} in order")  # noqa: S311 - as above
        if order.random() < ORDERED:
            limits["limits"] = order.choice(IN_ORDER)
        return "claim_under_limits", {"worker": worker, "task": task, "queue": queue, "outcome": outcomes[0], **limits}
    return name, arguments[name]
