"""A user's database session, as simulated bodies hand it to `ctx.succeed(…, using=)`."""

from dataclasses import dataclass

from headrace.core.model import JobId


@dataclass(frozen=True, slots=True)
class Session:
    """A transaction that writes one effect: the line of `(job, fence)`."""

    job: JobId
    fence: int
