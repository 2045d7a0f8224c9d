"""Tells the job that a fallback stood in for an upstream."""

import asyncio
import logging

from headrace.core.errors import Full, StoreError
from headrace.runtime.context import JobContext, SyncJobContext, current_attempt

logger = logging.getLogger(__name__)

_telling: set[asyncio.Task[None]] = set()


async def note_degraded(upstream: str) -> None:
    """On the attempt whose body runs here; outside of attempts a line of the log, for who debugs.

    A feed that takes nothing any more does not undo the fallback; the next write of the attempt says why.
    """
    context = current_attempt.get()
    if context is None:
        logger.debug("degraded: a fallback stood in for the upstream %r", upstream)
        return
    try:
        if isinstance(context, JobContext):
            await context.note_degraded(upstream)
        else:
            await asyncio.to_thread(context.note_degraded, upstream)
    except (Full, StoreError) as error:
        logger.debug("the feed was not told of a fallback for %r: %s", upstream, error)


def note_degraded_sync(upstream: str) -> None:
    """As `note_degraded`; on an event loop it only sees to it that the feed is told."""
    context = current_attempt.get()
    if isinstance(context, SyncJobContext):
        try:
            context.note_degraded(upstream)
        except (Full, StoreError) as error:
            logger.debug("the feed was not told of a fallback for %r: %s", upstream, error)
        return
    work = note_degraded(upstream)
    try:
        task = asyncio.get_running_loop().create_task(work)
    except RuntimeError:  # a thread of the task's own, which has no loop to tell the feed on
        work.close()
        logger.info("degraded: a fallback stood in for the upstream %r", upstream)
    else:
        _telling.add(task)
        task.add_done_callback(_telling.discard)
