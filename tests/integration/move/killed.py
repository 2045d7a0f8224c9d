"""Moves a file, and kills itself at the n-th write to either side: `killed.py PATH URL N`; 0 is never.

Prints how many writes there were, if it lives to the end.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

import headrace.stores.move.hold as hold_module
import headrace.stores.move.source as source_module
from headrace.stores.sqlite import schema
from tests.integration.move import kit

hold_module.HOLD_S = 1.5  # type: ignore[misc]
hold_module.HOLD_AGAIN_S = 0.3  # type: ignore[misc]
source_module.JOBS_MAX = 5  # type: ignore[misc]

fatal = int(sys.argv[3])
count = 0


def step() -> None:
    """Before each write, and so also after the one before."""
    global count  # noqa: PLW0603 - a script
    count += 1
    if count == fatal:
        os.kill(os.getpid(), signal.SIGKILL)


def counted(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def after_a_step(*args: Any, **named: Any) -> Any:
        step()
        return await method(*args, **named)

    return after_a_step


locked = schema.locked


def locked_after_a_step(*args: Any, **named: Any) -> Any:
    if sys._getframe(2).f_code.co_name != "_put":  # the hold's renewals come when they like
        step()
    return locked(*args, **named)


schema.locked = locked_after_a_step  # type: ignore[assignment]
for name in ("execute", "executemany", "copy_records_to_table", "fetchval"):
    setattr(asyncpg.Connection, name, counted(getattr(asyncpg.Connection, name)))
asyncpg.transaction.Transaction.commit = counted(asyncpg.transaction.Transaction.commit)

asyncio.run(kit.move(Path(sys.argv[1]), sys.argv[2], grace_s=0.2))
sys.stdout.write(f"{count}\n")
