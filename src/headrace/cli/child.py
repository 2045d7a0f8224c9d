"""What a supervisor starts: `python -m headrace.cli.child APP` takes its seat, loads APP and runs its jobs."""

import asyncio
import gc
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import click

from headrace.runtime.child import Seat, take_seat

if TYPE_CHECKING:
    from headrace.app import Headrace
    from headrace.runtime.worker import Worker

COLLECT_AFTER: Final = 10_000  # new objects: a batch of jobs makes thousands, and nearly all of them go by themselves


@click.command("child")
@click.argument("target", metavar="APP")
@click.option("--app-dir", default=".")
@click.option("--queues", default="")
@click.option("--concurrency", type=int)
@click.option("--threads", type=int)
@click.option("--cpu-processes", type=int)
@click.option("--counting", is_flag=True, help="Tell the supervisor what is counted.")
def child_command(*, target: str, app_dir: str, queues: str, counting: bool, **pools: int | None) -> None:
    """Run jobs of APP for the supervisor that started this process."""
    seat = take_seat()
    gc.set_threshold(max(COLLECT_AFTER, gc.get_threshold()[0]), *gc.get_threshold()[1:])
    hr = _load(seat, target, app_dir)
    gc.collect()
    gc.freeze()  # what is loaded by now stays: it is not looked through again and again
    if counting:
        hr.services.metrics.begin()
    given = {name: count for name, count in pools.items() if count is not None}
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(_serve(seat, hr, frozenset(queues.split(",")) if queues else None, given, counting=counting))
    seat.leave(code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where that is installed, as uvicorn has it for the API; None: that of asyncio."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _load(seat: Seat, target: str, app_dir: str) -> "Headrace":
    """The Headrace of APP; where it does not load, the supervisor is told why."""
    from headrace.cli.fail import Fail
    from headrace.cli.load import load, put_on_path
    from headrace.cli.log import to_stderr

    put_on_path(app_dir)
    try:
        hr = load(target).hr
    except Fail as error:
        seat.fail(f"{error.detail}{error}")
        sys.exit(1)
    to_stderr(hr.settings.log_level)
    return hr


async def _serve(
    seat: Seat, hr: "Headrace", queues: frozenset[str] | None, pools: dict[str, Any], *, counting: bool
) -> int:
    from headrace.app.bridging import bridging

    beside = AsyncExitStack()

    async def build(_: Seat) -> "Worker":
        hr.services.upstreams.known_as(seat.worker_id)  # its supervisor frees what it holds when it dies
        notifier = seat.hush(hr.notifier)
        await hr.open()
        seat.adopt(hr.store)
        worker = hr.worker(
            seat.worker_id,
            seat.role,
            queues=queues,
            beat=seat.beat,
            notifier=notifier,
            on_idle=seat.idle,
            supervisor_pid=seat.supervisor_pid,
            **pools,
        )
        if seat.role == "worker":
            await beside.enter_async_context(bridging(hr, queues, until=worker.ending))
        return worker

    try:
        return await seat.serve(
            build,
            lambda: [(task.name, task.fn) for task in hr.registry],
            hr.clock,
            hr.settings.blocked_loop_s,
            hr.services.metrics.take if counting else None,
        )
    finally:
        await beside.aclose()
        await hr.close()


if __name__ == "__main__":
    child_command()
