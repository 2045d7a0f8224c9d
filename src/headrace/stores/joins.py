"""What the joins of SQL stores have in common, whichever connection the user brings."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Final

from headrace.core.errors import UsageError

RING_AGAIN_S: Final = (0.05, 0.3, 1.0, 3.0, 10.0)  # the user commits somewhat after the write


def ring_soon(ring: Callable[[], None]) -> None:
    """Ring now, and again for a while, ever more rarely: for those whose commit cannot be seen."""
    ring()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # a thread without a loop
        _later(ring, RING_AGAIN_S)
    else:
        for later_s in RING_AGAIN_S:
            loop.call_later(later_s, ring)


def _later(ring: Callable[[], None], after: Sequence[float]) -> None:
    def again() -> None:
        ring()
        _later(ring, [later_s - after[0] for later_s in after[1:]])

    if after:
        timer = threading.Timer(after[0], again)
        timer.daemon = True
        timer.start()


def unknown(using: object, store: str, known: str) -> UsageError:
    """What to tell of an object that is none of the `known` kinds."""
    kind = f"{type(using).__module__}.{type(using).__qualname__}"
    return UsageError(f"using={kind} is not a connection that the {store} store can write through; pass {known}")
