"""What the joins of SQL stores have in common, whichever connection the user brings."""

import asyncio
import threading
from collections.abc import Callable
from typing import Final

from headrace.core.errors import UsageError

RING_AGAIN_S: Final = 0.05  # the user commits somewhat after the write


def ring_soon(ring: Callable[[], None]) -> None:
    """Ring now and a little later, for those whose commit cannot be seen."""
    ring()
    try:
        asyncio.get_running_loop().call_later(RING_AGAIN_S, ring)
    except RuntimeError:  # a thread without a loop
        timer = threading.Timer(RING_AGAIN_S, ring)
        timer.daemon = True
        timer.start()


def unknown(using: object, store: str, known: str) -> UsageError:
    """What to tell of an object that is none of the `known` kinds."""
    kind = f"{type(using).__module__}.{type(using).__qualname__}"
    return UsageError(f"using={kind} is not a connection that the {store} store can write through; pass {known}")
