"""The tasks of the simulated world: real registered functions, run by the production `Bodies`.

What a body does is a list of steps in its arguments, so that the seed decides it. Two versions of
the code know different sets of tasks, as during a deploy.
"""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from headrace.core.model import Outcome, WorkerId
from headrace.core.retry import Retry
from headrace.runtime.attempt import Attempt
from headrace.runtime.bodies import Bodies
from headrace.runtime.context import JobContext
from headrace.runtime.registry import Policies, Registry, TaskDef
from headrace.testing.sim import events as e
from headrace.testing.sim.loop import NodeLoop
from headrace.testing.sim.outages import Outages
from headrace.testing.sim.services import make_call
from headrace.testing.sim.sessions import Session

if TYPE_CHECKING:
    from headrace.testing.sim.node import Node

Step: TypeAlias = dict[str, Any]

UNSTORABLE = "unstorable"  # in a result, it makes the store refuse the whole batch
RETRY = Retry(max_attempts=4, cap=30.0)
VERSIONS: dict[int, tuple[str, ...]] = {1: ("both", "old"), 2: ("both", "new")}


class BodyFailed(Exception):
    """What a simulated body raises."""


class WatchedBodies(Bodies):
    """Tells the world when a body has ended, and how."""

    node: "Node"
    worker: WorkerId

    async def run(self, attempt: Attempt) -> Outcome | None:
        """Run it."""
        outcome = await super().run(attempt)
        job = attempt.job
        self.node.tell(e.Returned(job.id, job.fence, self.worker, self.node.name, outcome, attempt.lease_lost))
        return outcome


@lru_cache(8)
def registry(version: int, outages: Outages | None = None) -> Registry:
    """What this version of the code knows, in a world with these upstreams."""
    made = Registry()
    for name in VERSIONS[version]:
        made.add(TaskDef(name, body, Policies(retry=RETRY)))
    if outages is not None:
        for name in outages.tasks:
            made.add(TaskDef(name, body, Policies(retry=RETRY, needs=outages.needs(name, version))))
    return made


async def body(ctx: JobContext, steps: str) -> dict[str, int]:
    """Do what the arguments say; the result names the attempt."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, NodeLoop)
    node = loop.node
    node.tell(e.Started(ctx.id.bytes, ctx.fence, ctx.attempt, node.worker or "", node.name))
    plan: list[Step] = json.loads(steps)
    result = {"fence": ctx.fence}
    for number, step in enumerate(plan):
        if ctx.attempt > step.get("until", ctx.attempt):
            continue  # only the first attempts do this
        if step["do"] == UNSTORABLE:
            result[UNSTORABLE] = 1
        else:
            await _STEPS[step["do"]](ctx, node, step, number)
    return result


async def _work(_: JobContext, __: "Node", step: Step, ___: int) -> None:
    await asyncio.sleep(step["s"])


async def _emit(ctx: JobContext, node: "Node", step: Step, number: int) -> None:
    key = f"item {number}" if step["keyed"] else None
    had = key is not None and ctx.emitted(key)
    await ctx.emit({"fence": ctx.fence, "number": number}, key=key)
    if not had:
        node.tell(e.Emitted(ctx.id.bytes, ctx.fence, key, number))


async def _log(ctx: JobContext, _: "Node", __: Step, number: int) -> None:
    await ctx.log(f"step {number}")


async def _progress(ctx: JobContext, _: "Node", __: Step, number: int) -> None:
    await ctx.progress(number, 10)


async def _block(_: JobContext, node: "Node", step: Step, __: int) -> None:
    node.pause(step["s"])
    await asyncio.sleep(0)


async def _die(_: JobContext, node: "Node", __: Step, ___: int) -> None:
    node.kill(-signal.SIGKILL)
    await node.loop.create_future()


async def _fail(_: JobContext, __: "Node", ___: Step, number: int) -> None:
    raise BodyFailed(f"step {number}")


async def _snooze(ctx: JobContext, _: "Node", step: Step, __: int) -> None:
    raise ctx.snooze(step["s"])


async def _retry(ctx: JobContext, _: "Node", step: Step, __: int) -> None:
    raise ctx.retry(after=step["s"])


async def _abandon(ctx: JobContext, _: "Node", __: Step, ___: int) -> None:
    raise ctx.abandon("it is no use")


async def _succeed(ctx: JobContext, node: "Node", _: Step, __: int) -> None:
    await ctx.succeed({"fence": ctx.fence})
    node.tell(e.Succeeded(ctx.id.bytes, ctx.fence))


async def _join(ctx: JobContext, node: "Node", _: Step, __: int) -> None:
    await ctx.succeed({"fence": ctx.fence}, using=Session(ctx.id.bytes, ctx.fence))
    node.tell(e.Succeeded(ctx.id.bytes, ctx.fence))


async def _deaf(_: JobContext, __: "Node", step: Step, ___: int) -> None:
    """Work on for a while although it was asked to stop."""
    loop = asyncio.get_running_loop()
    end = loop.time() + step["s"]
    while (left_s := end - loop.time()) > 0:
        try:
            await asyncio.sleep(left_s)
        except asyncio.CancelledError:
            continue


async def _call(_: JobContext, node: "Node", step: Step, __: int) -> None:
    await make_call(node, step)


_STEPS: dict[str, Callable[[JobContext, "Node", Step, int], Awaitable[None]]] = {
    "work": _work,
    "emit": _emit,
    "log": _log,
    "progress": _progress,
    "block": _block,
    "die": _die,
    "fail": _fail,
    "snooze": _snooze,
    "retry": _retry,
    "abandon": _abandon,
    "succeed": _succeed,
    "join": _join,
    "deaf": _deaf,
    "call": _call,
}
