"""Job ids: UUID version 7, in order of making within a process."""

import uuid

from headrace.core.model import JobId


class IdMaker:
    """Makes UUIDv7 ids that rise within one maker, also within a millisecond or a clock step back.

    Source: RFC 9562, section 6.2, method 1 (a 12-bit counter after the millisecond).
    """

    __slots__ = ("_counter", "_ms")

    def __init__(self) -> None:
        """Starts before any instant."""
        self._ms = 0
        self._counter = 0

    def make(self, now_at: float, noise: bytes) -> JobId:
        """The next id at wall time `now_at`; `noise` is at least 8 random bytes."""
        ms = int(now_at * 1000)
        if ms > self._ms:
            self._ms, self._counter = ms, noise[7] & 0x7F
        elif self._counter < 0xFFF:  # noqa: PLR2004 - the counter's 12 bits
            self._counter += 1
        else:
            self._ms, self._counter = self._ms + 1, 0
        head = self._ms.to_bytes(6) + (0x7000 | self._counter).to_bytes(2)
        return head + bytes((0x80 | (noise[0] & 0x3F),)) + noise[1:8]


def as_uuid(job_id: JobId) -> uuid.UUID:
    """The id as users see it."""
    return uuid.UUID(bytes=job_id)
