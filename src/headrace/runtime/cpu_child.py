"""The child process that runs the bodies of cpu tasks, one after the other.

    python -m headrace.runtime.cpu_child

The body has the main thread for itself. A thread beside it talks to the worker, and ends this
process, and whatever the body has started, when the worker is gone.
"""

import asyncio
import logging
import os
import queue
import random
import resource
import signal
import socket
import threading
import time
import traceback
from concurrent.futures import Future
from dataclasses import replace
from typing import Final, NoReturn

from headrace.core import errors
from headrace.core.event import Event
from headrace.core.model import (
    Cause,
    ClaimedJob,
    Failed,
    GivenBack,
    Json,
    Outcome,
    Retried,
    Snoozed,
    Succeeded,
    UpdateKind,
)
from headrace.core.retry import Retry
from headrace.runtime.context import SyncJobContext, current_attempt
from headrace.runtime.cpu_wire import CPU_FD, event_to_wire, job_from_wire, outcome_to_wire
from headrace.runtime.failures import after_failure, failure_of
from headrace.runtime.imports import find, import_all
from headrace.runtime.pipe import Message, Pipe
from headrace.runtime.process import die_with_parent, leave_interrupts
from headrace.runtime.registry import Policies, TaskDef
from headrace.runtime.steering import Abandon, RetryAfter, Snooze

log = logging.getLogger(__name__)

PROGRESS_EVERY_S: Final = 0.02


class PipeChannel:
    """An attempt's channel, through the pipe to its worker. On the loop of the thread beside the body."""

    def __init__(self, pipe: Pipe, task: TaskDef) -> None:
        self._pipe: Final = pipe
        self._task: Final = task
        self._asked: Final[dict[int, asyncio.Future[Message]]] = {}
        self._count = 0
        self._latest: Json | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.settled = False

    @property
    def cancelled(self) -> bool:
        """A body that is to stop is killed, so one that can ask was not told to."""
        return False

    @property
    def lease_lost(self) -> bool:
        """Likewise."""
        return False

    def progress(self, data: Json) -> None:
        """Pass on the latest, not more often than anybody could look."""
        self._latest = data
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PROGRESS_EVERY_S, self.flush)

    def flush(self) -> None:
        """Pass on the progress that was kept back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        latest, self._latest = self._latest, None
        if latest is not None:
            self._pipe.send({"op": "progress", "data": latest})

    async def emit(self, kind: UpdateKind, data: Json, key: str | None) -> int:
        """Have the worker add to the feed, and wait for it."""
        answer = await self._ask({"op": "emit", "kind": kind.value, "data": data, "key": key})
        offset: int = answer["value"]
        return offset

    async def succeed(self, result: object, using: object | None) -> None:
        """Have the worker settle, and wait for it."""
        if using is not None:
            raise errors.UsageError("a cpu task runs in a process of its own, and cannot succeed with `using=`")
        await self._ask({"op": "succeed", "result": self._task.encode_result(result)})
        self.settled = True

    async def check(self) -> None:
        """Have the worker ask whether the attempt runs, and wait for it."""
        await self._ask({"op": "check"})

    async def publish(self, event: Event, using: object | None) -> None:
        """Have the worker put an event into its outbox, and wait for it."""
        if using is not None:
            raise errors.UsageError("a cpu task runs in a process of its own, and cannot publish with `using=`")
        await self._ask({"op": "publish", "event": event_to_wire(event)})

    def answered(self, message: Message) -> None:
        """The worker's answer to what was asked."""
        asked = self._asked.pop(message["n"], None)
        if asked is not None:
            asked.set_result(message)

    async def _ask(self, message: Message) -> Message:
        self.flush()
        self._count = number = self._count + 1
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._pipe.send({**message, "n": number})
        answer = await future
        if "error" in answer:
            raise _error(answer["error"], answer["message"])
        return answer


def _error(name: str, message: str) -> errors.HeadraceError:
    found = getattr(errors, name, None)
    if isinstance(found, type) and issubclass(found, errors.HeadraceError):
        return found(message)
    return errors.StoreError(f"{name}: {message}")


class Line:
    """The thread that talks to the worker."""

    def __init__(self, sock: socket.socket) -> None:
        self.orders: Final[queue.SimpleQueue[Message]] = queue.SimpleQueue()
        self._sock: Final = sock
        self._channel: PipeChannel | None = None
        self._up: Final[Future[tuple[asyncio.AbstractEventLoop, Pipe]]] = Future()
        threading.Thread(target=lambda: asyncio.run(self._talk()), name="headrace-line", daemon=True).start()
        self.loop, self.pipe = self._up.result()

    def channel(self, task: TaskDef) -> PipeChannel:
        """The channel of the next attempt."""
        self._channel = PipeChannel(self.pipe, task)
        return self._channel

    def tell(self, message: Message) -> None:
        """Send, from the body's thread, after everything it has said."""

        def send() -> None:
            if self._channel is not None:
                self._channel.flush()
            self.pipe.send(message)

        self.loop.call_soon_threadsafe(send)

    async def _talk(self) -> None:
        pipe = await Pipe.open(self._sock)
        self._up.set_result((asyncio.get_running_loop(), pipe))
        while (message := await pipe.receive()) is not None:
            if message["op"] != "answer":
                if message["op"] == "run":
                    pipe.send({"op": "begun"})  # out before the body can end this process
                self.orders.put(message)
            elif self._channel is not None:
                self._channel.answered(message)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)


class MemoryLimit:
    """Bounds what the process may add to its address space while the body runs."""

    def __init__(self, limit_bytes: int | None) -> None:
        self._limit_bytes: Final = limit_bytes
        self._before = resource.getrlimit(resource.RLIMIT_AS)

    def __enter__(self) -> None:
        """Set it."""
        if self._limit_bytes is None:
            return
        hard = self._before[1]
        limit = _address_space_bytes() + self._limit_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))

    def __exit__(self, *_: object) -> None:
        """Take it away, so that the child itself can go on."""
        resource.setrlimit(resource.RLIMIT_AS, self._before)


def _address_space_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - a file of the kernel's
            return int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:  # macOS, where the limit is not enforced either
        return 0


def _run(order: Message, line: Line) -> tuple[Outcome | None, bool]:
    """Run one body; its outcome (None: it settled itself), and whether this process should not go on."""
    job = job_from_wire(order["job"])
    task = _definition(order)
    channel = line.channel(task)
    try:
        with MemoryLimit(order["memory_limit_bytes"]):
            result = task.encode_result(_call(task, job, channel, line))
    except BaseException as error:
        if channel.settled:
            log.warning("an error after success changes nothing", exc_info=error)
            return None, False
        return _ended_by(error, task, job, order["memory_limit_bytes"]), isinstance(error, MemoryError)
    else:
        return (None if channel.settled else Succeeded(result)), False


def _call(task: TaskDef, job: ClaimedJob, channel: PipeChannel, line: Line) -> object:
    deadline_at = None if job.deadline_in_s is None else time.time() + job.deadline_in_s - time.monotonic()
    context = SyncJobContext(
        job, channel, deadline_at, line.loop, item_bytes_max=task.item_bytes_max, publisher=task.publisher
    )
    arguments = task.decode_args(job.args)
    current_attempt.set(context)
    try:
        return task.fn(*((context,) if task.takes_context else ()), **arguments)
    finally:
        current_attempt.set(None)


def _definition(order: Message) -> TaskDef:
    found = find(order["module"], order["qualname"])
    definition = getattr(found, "definition", None)
    if isinstance(definition, TaskDef):
        return definition
    # The bare function: the task bears another name in its module.
    return TaskDef(order["task"], found, Policies(cpu=True, retry=Retry(order["job"]["max_attempts"])))


def _ended_by(error: BaseException, task: TaskDef, job: ClaimedJob, limit_bytes: int | None) -> Outcome:
    outcome: Outcome
    match error:
        case Snooze():
            outcome = Snoozed(error.delay_s, str(error))
        case Abandon():
            outcome = Failed(failure_of(error, Cause.ABANDONED))
        case RetryAfter() if error.delay_s is not None:
            last = job.failures + 1 >= task.retry.max_attempts
            outcome = Failed(failure_of(error)) if last else Retried(failure_of(error), error.delay_s)
        case errors.LeaseLost():
            outcome = GivenBack(started=True)
        case errors.InvalidArguments():
            outcome = Failed(failure_of(error, Cause.ARGUMENTS))
        case errors.UsageError():
            outcome = Failed(failure_of(error))
        case _:
            failure = failure_of(error)
            if isinstance(error, MemoryError) and limit_bytes is not None and not str(error):
                failure = replace(failure, message=f"over the task's memory limit of {limit_bytes} bytes")
            outcome = after_failure(failure, type(error), task.retry, job.failures, random.Random())  # noqa: S311
    return outcome


def main() -> NoReturn:
    """Load what the worker says, then run what it sends, until it is gone."""
    die_with_parent()
    leave_interrupts()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the worker decides when this ends
    sock = socket.socket(fileno=int(os.environ.pop(CPU_FD)))
    sock.set_inheritable(False)
    line = Line(sock)
    while True:
        order = line.orders.get()
        if order["op"] == "load":
            logging.basicConfig(level=order["log_level"])
            try:
                import_all(order["path"], order["main"], order["modules"])
            except BaseException:  # noqa: BLE001 - a module may even exit
                line.tell({"op": "broken", "message": traceback.format_exc()})
            else:
                line.tell({"op": "loaded"})
        else:
            outcome, retire = _run(order, line)
            wire = None if outcome is None else outcome_to_wire(outcome)
            line.tell({"op": "end", "outcome": wire, "retire": retire})


if __name__ == "__main__":
    main()
