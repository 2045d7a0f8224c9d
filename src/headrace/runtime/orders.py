"""What a supervisor says to its child, and what the child says back, whatever carries it."""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from headrace.core.model import JobId, Lease, WorkerId
from headrace.core.worker_events import Woken
from headrace.ports.notifier import Health, Hint, Listener, Notifier
from headrace.runtime.pipe import Message
from headrace.runtime.worker import Worker

log = logging.getLogger(__name__)


class Orders:
    """The child's side of the conversation."""

    def __init__(self, worker_id: WorkerId, send: Callable[[Message], None]) -> None:
        """`send` queues a message to the supervisor."""
        self._worker_id: Final = worker_id
        self._send: Final = send
        self._said_idle = False

    def idle(self) -> None:
        """Nothing left to claim; the supervisor hears it once after each time it woke this child."""
        if not self._said_idle:
            self._said_idle = True
            self._send({"op": "idle"})

    async def obey(self, message: Message, worker: Worker) -> None:
        """Do what the supervisor says."""
        match message["op"]:
            case "wake":
                self._said_idle = False
                worker.post(Woken())
            case "cancel":
                worker.cancel(Lease(JobId(bytes.fromhex(job)), fence) for job, fence in message["leases"])
            case "drain":
                await worker.drain(message["grace_s"])
            case "lost":
                log.error("worker %s lost its lease; its attempts are stopped", self._worker_id)
                worker.abandon()
            case _:
                log.warning("a supervisor of another version says %r", message["op"])


class Deaf:
    """Rings, but hears nothing."""

    working = False

    def __init__(self, notifier: Notifier) -> None:
        self._notifier: Final = notifier

    @property
    def health(self) -> Health:
        """Of the one behind it."""
        return self._notifier.health

    async def start(self) -> None:
        """As the one behind it."""
        await self._notifier.start()

    async def stop(self) -> None:
        """As the one behind it."""
        await self._notifier.stop()

    def publish(self, hints: Iterable[Hint]) -> None:
        """As the one behind it."""
        self._notifier.publish(hints)

    def wants(self, prefix: str) -> bool:
        """As the one behind it."""
        return self._notifier.wants(prefix)

    def subscribe(self, prefixes: tuple[str, ...], listener: Listener) -> Callable[[], None]:
        """Hear nothing."""
        del prefixes, listener
        return _nothing


def _nothing() -> None:
    """End a subscription that there never was."""
