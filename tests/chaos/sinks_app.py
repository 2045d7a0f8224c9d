"""What the workers of the chaos tests of sinks run: a broker that is a file, which every process adds to."""

import asyncio
import os
from collections.abc import Callable, Sequence

from headrace import Headrace, JobContext, Retry, kafka
from headrace.core.event import Outgoing
from headrace.core.relay_events import Confirmed
from headrace.ports.bridge import Sink, SinkEnd


class FileSink:
    """Each event is a line, confirmed a moment after it was written."""

    one_per_key = True

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def send(self, events: Sequence[Outgoing], tell: Callable[[SinkEnd], None]) -> None:
        for out in events:
            line = f"{out.event.id.hex()} {out.event.key} {out.event.body.decode()} {os.getpid()}\n"
            os.write(self._fd, line.encode())
            await asyncio.sleep(0.003)
            tell(Confirmed((out.place,)))

    async def reset(self) -> None:
        """There is no connection."""

    async def close(self) -> None:
        """The process ends."""


def open_sink(name: str) -> Sink | None:
    return FileSink(os.environ["SINK_FILE"]) if name == "kafka" else None


hr = Headrace()
hr.brokers.sink = open_sink  # type: ignore[method-assign]


@hr.task(retry=Retry(max_attempts=10, initial=0.01), timeout=20)
async def sell(ctx: JobContext, order: int) -> None:
    await ctx.publish(kafka("orders"), order, key=f"of-jobs-{order % 5}")
    await asyncio.sleep(0.05)  # a worker that is killed now has published, and runs this again
