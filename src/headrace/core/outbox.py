"""The frames that wait for one live connection's reader, in order.

Invariant: at most one write is under way, and `waiting_bytes` counts what the queue holds and nothing else.
"""

from collections import OrderedDict
from typing import TypeAlias

from headrace.core.wire import frame_bytes

Ticket: TypeAlias = int


class Outbox:
    """A queue whose waiting frames can still be taken back."""

    __slots__ = ("_frames", "_last", "sent_at", "waiting_bytes", "writing_since")

    def __init__(self, now: float) -> None:
        """Nothing waits."""
        self._frames: OrderedDict[Ticket, tuple[int, str, int]] = OrderedDict()
        self._last = 0
        self.waiting_bytes = 0
        self.writing_since: float | None = None
        self.sent_at = now

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being written."""
        return self.writing_since is None and not self._frames

    def push(self, ref: int, text: str) -> Ticket:
        """Queue a frame of the subscription `ref`."""
        self._last += 1
        size = frame_bytes(text)
        self._frames[self._last] = ref, text, size
        self.waiting_bytes += size
        return self._last

    def take_back(self, ticket: Ticket) -> None:
        """The frame is not wanted any more; one that was sent stays sent."""
        _, _, size = self._frames.pop(ticket, (0, "", 0))
        self.waiting_bytes -= size

    def forget(self, ref: int) -> None:
        """Take back every frame of one subscription."""
        for ticket in [ticket for ticket, (of, _, _) in self._frames.items() if of == ref]:
            self.take_back(ticket)

    def next_frame(self, now: float) -> str | None:
        """The frame to write now, if no other is being written."""
        if self.writing_since is not None or not self._frames:
            return None
        _, (_, text, size) = self._frames.popitem(last=False)
        self.waiting_bytes -= size
        self.writing_since = now
        return text

    def written(self, now: float) -> None:
        """The frame is through."""
        self.writing_since = None
        self.sent_at = now

    def clear(self) -> None:
        """Nothing more is sent."""
        self._frames.clear()
        self.waiting_bytes = 0
