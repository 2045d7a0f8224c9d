"""Blocking calls from threads into the loop that a Headrace lives on."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from headrace.core.errors import UsageError

T = TypeVar("T")


class Portal:
    """Runs coroutines for threads: on the app's loop while that runs, else on one in a thread of its own."""

    def __init__(self) -> None:
        """No thread before it is needed."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def call(self, work: Coroutine[Any, Any, T], home: asyncio.AbstractEventLoop | None, instead: str) -> T:
        """The result of `work`; `home` is the app's loop, `instead` what to write in a coroutine.

        Raises:
            UsageError: this thread runs an event loop, which waiting here would stop.
        """
        if in_loop():
            work.close()
            raise UsageError(f"this would block the event loop; in a coroutine, write {instead}")
        loop = home if home is not None and home.is_running() else self._own()
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    def close(self) -> None:
        """End the thread, if there is one. Idempotent; a later call starts another."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            if thread is not threading.current_thread():
                thread.join()

    def _own(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = loop = asyncio.new_event_loop()
                # A daemon: a script that forgot to close still ends; what was enqueued is durable.
                self._thread = threading.Thread(target=_serve, args=(loop,), name="headrace-portal", daemon=True)
                self._thread.start()
            return self._loop


def in_loop() -> bool:
    """Whether this thread is running an event loop right now."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
