"""Child processes for `cpu=True` tasks: made by exec, reused, and really killed by a timeout or a cancel.

A child holds no liveness descriptor and dies with its worker. One spare child, with the tasks'
modules imported, waits for the next job while there are fewer than `size`.
"""

import asyncio
import logging
import random
import socket
import sys
from collections.abc import Collection, Sequence
from typing import Final

from headrace.core import errors
from headrace.core.model import Cause, ClaimedJob, Failure, Outcome, UpdateKind
from headrace.runtime.channel import Channel
from headrace.runtime.cpu_wire import CPU_FD, event_from_wire, job_to_wire, outcome_from_wire
from headrace.runtime.failures import after_failure
from headrace.runtime.imports import describe_main
from headrace.runtime.pipe import Message, Pipe
from headrace.runtime.process import Process, describe_exit
from headrace.runtime.registry import TaskDef

log = logging.getLogger(__name__)

LAST_WORDS_S: Final = 0.2
ARGV: Final = (sys.executable, "-m", "headrace.runtime.cpu_child")


class WorkerChildDied(errors.HeadraceError):
    """The process that ran a cpu task died, or could not import the task; counts as a failure of the attempt."""

    code = "worker-child-died"


class _NeverBegun(WorkerChildDied):
    """It died before it took the job: the next child can have it."""


class CpuPool:
    """Runs the bodies of cpu tasks, at most `size` at once. Bound to the loop that first uses it."""

    def __init__(self, size: int, modules: Collection[str], rng: random.Random, argv: Sequence[str] = ARGV) -> None:
        """`modules` are those of the cpu tasks, imported by every child before it is asked for a job."""
        self._size: Final = size
        self._modules: Final = sorted(modules)
        self._rng: Final = rng
        self._argv: Final = tuple(argv)
        self._room: Final = asyncio.Semaphore(size)
        self._children: Final[set[_Child]] = set()
        self._dying: Final[set[_Child]] = set()
        self._idle: Final[list[_Child]] = []
        self._closed = False

    async def warm(self) -> None:
        """Have a child ready; what is wrong with its imports is logged, and told again by `run`."""
        self._spare()
        if self._idle:
            try:
                await self._idle[-1].ready()
            except WorkerChildDied as error:
                log.warning("%s", error)

    async def run(self, task: TaskDef, job: ClaimedJob, channel: Channel) -> Outcome | None:
        """Run the body; None if it settled itself by `succeed`. Cancelling this kills the child.

        The child's death is a failure of the attempt, under the task's `Retry`.
        """
        async with self._room:
            try:
                try:
                    return await self._run_in_child(task, job, channel)
                except _NeverBegun:  # killed while it was idle, a moment ago
                    if self._closed:
                        raise
                    return await self._run_in_child(task, job, channel)
            except WorkerChildDied as error:
                failure = Failure(
                    "headrace.WorkerChildDied",
                    str(error),
                    Cause.CRASHED,
                    fingerprint=f"headrace.WorkerChildDied {task.name}",
                )
                return after_failure(failure, WorkerChildDied, task.retry, job.failures, self._rng)

    @property
    def pids(self) -> list[int]:
        """The children that live, the spare one too."""
        return sorted(child.process.pid for child in self._children if child.process.alive)

    async def close(self) -> None:
        """Kill every child and see each of them dead."""
        self._closed = True
        for child in tuple(self._children):
            child.kill()
        for child in (*self._children, *self._dying):
            await child.gone()
        self._children.clear()
        self._idle.clear()

    async def _run_in_child(self, task: TaskDef, job: ClaimedJob, channel: Channel) -> Outcome | None:
        child = self._take()
        try:
            await child.ready()
            return await child.run(task, job, channel)
        finally:
            self._give(child)
            if not child.usable:
                await child.process.wait()  # killed: it has ended before anybody hears that the body has

    def _take(self) -> "_Child":
        while self._idle:
            child = self._idle.pop()
            if child.usable:
                self._spare()
                return child
            self._forget(child)
        child = self._spawn()
        self._spare()
        return child

    def _give(self, child: "_Child") -> None:
        if child.usable and not self._closed:
            self._idle.append(child)
            return
        self._forget(child)
        self._spare()

    def _spare(self) -> None:
        if not self._idle and len(self._children) < self._size and not self._closed:
            try:
                self._idle.append(self._spawn())
            except OSError as error:  # the next job that needs one tries again, and is told
                log.warning("no spare child process could be started: %s", error)

    def _spawn(self) -> "_Child":
        child = _Child(self._argv, self._modules)
        self._children.add(child)
        return child

    def _forget(self, child: "_Child") -> None:
        self._children.discard(child)
        if child.process.alive:
            self._dying.add(child)
            child.process.ended.add_done_callback(lambda _: self._dying.discard(child))
        child.kill()


class _Child:
    """One process, running at most one job."""

    def __init__(self, argv: Sequence[str], modules: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            env = {CPU_FD: str(theirs.fileno())}
            self.process: Final = Process(argv, env=env, pass_fds=(theirs.fileno(),), own_group=True)
        self._socket: Final = ours
        self._loading: Final = asyncio.get_running_loop().create_task(self._load(modules))
        self._loading.add_done_callback(self._on_loaded)
        self.process.ended.add_done_callback(self._on_end)
        self._pipe: Pipe | None = None
        self._busy = False
        self._retired = False

    @property
    def usable(self) -> bool:
        """Whether it can take a job: alive, nothing under way, its imports not known to fail."""
        return self.process.alive and not self._busy and not self._retired

    def kill(self) -> None:
        """End it and what it started, whatever it does."""
        self._retired = True
        self.process.kill()
        self._loading.cancel()
        if self._pipe is not None:
            self._pipe.close()

    async def ready(self) -> None:
        """Wait until the tasks' modules are imported.

        Raises:
            WorkerChildDied: they could not be.
        """
        await asyncio.shield(self._loading)

    async def gone(self) -> None:
        """Wait until nothing of it is left."""
        await self.process.wait()
        await asyncio.wait([self._loading])
        if self._pipe is not None:
            self._pipe.close()
            await self._pipe.closed()

    async def _load(self, modules: Sequence[str]) -> None:
        self._pipe = pipe = await Pipe.open(self._socket)
        level = logging.getLogger().getEffectiveLevel()
        pipe.send({"op": "load", "path": sys.path, "main": describe_main(), "modules": modules, "log_level": level})
        answer = await pipe.receive()
        if answer is None:
            raise WorkerChildDied(await self._obituary("before it was ready"))
        if answer["op"] == "broken":
            self._retired = True
            raise WorkerChildDied(f"the child process for cpu tasks could not import them: {answer['message']}")

    async def run(self, task: TaskDef, job: ClaimedJob, channel: Channel) -> Outcome | None:
        """One job, from start to end; unless it comes to its end, the child is of no more use."""
        pipe = self._pipe
        if pipe is None or not self.process.alive:
            raise _NeverBegun(await self._obituary("while it waited"))
        self._busy = True
        begun = settled = False
        pipe.send({"op": "run", "task": task.name, "module": task.module, "qualname": task.qualname,
                   "memory_limit_bytes": task.memory_limit_bytes, "job": job_to_wire(job)})  # fmt: skip
        while (message := await pipe.receive()) is not None:
            match message["op"]:
                case "begun":
                    begun = True
                case "progress":
                    channel.progress(message["data"])
                case "end":
                    self._busy = False
                    self._retired = self._retired or message["retire"]
                    return None if settled or message["outcome"] is None else outcome_from_wire(message["outcome"])
                case _:
                    answer = await _answer(task, channel, message)
                    settled = settled or (message["op"] == "succeed" and "error" not in answer)
                    pipe.send(answer)
        if not begun:
            raise _NeverBegun(await self._obituary("before it took the job"))
        if not settled:
            raise WorkerChildDied(await self._obituary(f"while it ran {task.name}"))
        return None

    def _on_loaded(self, loading: asyncio.Task[None]) -> None:
        if self._pipe is None:
            self._socket.close()
        if not loading.cancelled():
            loading.exception()  # raised by `ready` to whoever wants the child

    def _on_end(self, _: asyncio.Future[int]) -> None:
        # What it sent before it died is read first; a process that it left behind may hold its socket.
        if self._pipe is not None:
            asyncio.get_running_loop().call_later(LAST_WORDS_S, self._pipe.close)

    async def _obituary(self, when: str) -> str:
        self._retired = True
        code = await self.process.wait()
        hint = " (out of memory?)" if code == -9 else ""  # noqa: PLR2004 - SIGKILL
        return f"the child process {describe_exit(code)}{hint} {when}"


async def _answer(task: TaskDef, channel: Channel, message: Message) -> Message:
    """Do what a child's context asks for; errors travel by name."""
    answer: Message = {"op": "answer", "n": message["n"]}
    try:
        if message["op"] == "succeed":
            await channel.succeed(task.decode_result(message["result"]), None)
        elif message["op"] == "check":
            await channel.check()
        elif message["op"] == "publish":
            await channel.publish(event_from_wire(message["event"]), None)
        else:
            answer["value"] = await channel.emit(UpdateKind(message["kind"]), message["data"], message["key"])
    except errors.HeadraceError as error:
        answer["error"] = type(error).__name__
        answer["message"] = str(error)
    return answer
