"""An app on an empty memory store for the length of a test."""

from collections.abc import Generator
from contextlib import contextmanager

from headrace.app import Headrace
from headrace.app.services import Services
from headrace.ports.clock import Clock
from headrace.stores.urls import MEMORY


@contextmanager
def memory(hr: Headrace, *, clock: Clock | None = None) -> Generator[Headrace]:
    """Whatever the app's store is, jobs go to an empty memory store until the end; the file is not touched.

    `clock`, for instance a `ManualClock`, replaces the app's meanwhile.
    """
    services, settings, former = hr.services, hr.settings, hr.clock
    hr.settings = settings.model_copy(update={"store": MEMORY, "notifier": "auto"})
    hr.clock = former if clock is None else clock
    hr.services = Services(hr.settings, hr.clock, moved=True)
    try:
        yield hr
    finally:
        hr.services.portal.close()
        hr.services, hr.settings, hr.clock = services, settings, former
