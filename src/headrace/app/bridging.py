"""What runs beside the workers of a process: its sources, its relays, and who tells outcomes."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from headrace.core.errors import InvalidConfig
from headrace.ports.post import Post
from headrace.runtime.intake_parts import Parts
from headrace.runtime.promises import Promises
from headrace.runtime.relays import Relays
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

    And send what waits in outboxes, until this ends.

    Raises:
        InvalidConfig: a source whose broker has no URL, or whose client is not installed.
    """
    wanted = [found for found in hr.sources if queues is None or found.task.queue in queues]
    async with AsyncExitStack() as stack:
        if hr.settings.sinks is Switch.ON:
            await stack.enter_async_context(relays_of(hr).running(hr.services.upstreams.process))
        if hr.outlets:
            await stack.enter_async_context(promises_of(hr).running(hr.services.upstreams.process))
        if wanted and hr.settings.sources is Switch.ON:
            plans = [_plan(hr, found, post_of(hr)) for found in wanted]
            await stack.enter_async_context(hr.services.sources.taking(plans, until))
        yield


def relays_of(hr: "Headrace") -> Relays:
    """The relays of this process."""
    services = hr.services
    if services.relays is None:
        services.relays = Relays(
            hr.store,
            hr.notifier,
            hr.clock,
            random.Random(),  # noqa: S311 - jitter
            open_sink=hr.brokers.sink,
            observer=lambda: services.metrics.observer,
        )
    return services.relays


def promises_of(hr: "Headrace") -> Promises:
    """Who tells outcomes in this process."""
    services = hr.services
    if services.promises is None:
        services.promises = Promises(
            hr.store,
            hr.clock,
            random.Random(),  # noqa: S311 - jitter
            hr.outlets.rules,
            source=hr.settings.event_source,
            bytes_max=hr.settings.event_bytes_max,
        )
    return services.promises


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
        hr.brokers.source(found.address, found.name, ordered=found.task.ordered),
        hr.sources.decoder(found.name),
        found.settings,
        post,
        hr.gate,
        hr.open,
        partial(hr.store.get, [NOBODY]),
        hr.clock,
        random.Random(),  # noqa: S311 - jitter
        hr.services.metrics.observer,
    )
    return SourcePlan(parts, found.window_s)
