"""What runs beside the workers of a process: its sources."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from headrace.core.errors import InvalidConfig
from headrace.ports.post import Post
from headrace.runtime.intake import Parts
from headrace.runtime.sources import SourcePlan
from headrace.settings import Switch

if TYPE_CHECKING:
    from headrace.app.consuming import SourceDef
    from headrace.app.headrace import Headrace

NOBODY = bytes(16)  # the id of no job


@asynccontextmanager
async def bridging(
    hr: "Headrace", queues: frozenset[str] | None, until: asyncio.Event | None = None
) -> AsyncGenerator[None]:
    """Take messages for the queues that the workers here serve (None: all), until this ends, or before that `until`.

    Raises:
        InvalidConfig: a source whose broker has no URL, or whose client is not installed.
    """
    wanted = [found for found in hr.sources if queues is None or found.task.queue in queues]
    if not wanted or hr.settings.sources is Switch.OFF:
        yield
        return
    async with hr.services.sources.taking([_plan(hr, found, post_of(hr)) for found in wanted], until):
        yield


def post_of(hr: "Headrace") -> Post:
    """The side of the store that takes messages in.

    Raises:
        InvalidConfig: it has none.
    """
    store = hr.store
    if not isinstance(store, Post):
        raise InvalidConfig(f"{type(store).__name__} cannot take messages in: it does not implement ports.post.Post")
    return store


def _plan(hr: "Headrace", found: "SourceDef", post: Post) -> SourcePlan:
    parts = Parts(
        found.name,
        hr.brokers.source(found.address, found.name),
        hr.sources.decoder(found.name),
        found.settings,
        post,
        hr.gate,
        partial(hr.store.get, [NOBODY]),
        hr.clock,
        random.Random(),  # noqa: S311 - jitter
        hr.services.metrics.observer,
    )
    return SourcePlan(parts, found.window_s)
