"""A server and a worker as two processes under one: what `dev` and `demo` are made of.

Invariant: no process of the tree outlives the one that started it.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from headrace.runtime.clock import SystemClock
from headrace.runtime.process import Process

END_S: Final = 5.0


class Tree:
    """The children, and the wish to stop. Bound to the loop that enters it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """`env` is added to the environment of every child."""
        self._env = dict(env)
        self._children: list[Process] = []
        self._clock = SystemClock()
        self.stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Hear Ctrl-C and SIGTERM; the second one is final."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._asked)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is left behind."""
        await self.end()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)

    def _asked(self) -> None:
        if self.stop.is_set():
            self._kill()
        self.stop.set()

    def start(self, *args: str, listening: socket.socket | None = None) -> Process:
        """Start `headrace` with these arguments, in a process group of its own."""
        return self.start_program(sys.executable, "-m", "headrace", *args, "--tied", listening=listening)

    def start_program(self, *args: str, listening: socket.socket | None = None) -> Process:
        """Start a program that ends with this process and takes `--fd`."""
        argv = list(args)
        fds: Sequence[int] = ()
        if listening is not None:
            argv.append(f"--fd={listening.fileno()}")
            fds = (listening.fileno(),)
        child = Process(argv, env=self._env, pass_fds=fds, own_group=True)
        self._children.append(child)
        return child

    async def until_stopped_or_ended(self) -> Process | None:
        """Wait for the wish to stop (None), or for the first child that ends by itself."""
        stopped = asyncio.get_running_loop().create_task(self.stop.wait())
        try:
            ends: set[asyncio.Future[Any]] = {stopped, *(child.ended for child in self._children)}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if self.stop.is_set():
            return None
        return next(child for child in self._children if not child.alive)

    async def end(self) -> None:
        """Ask every child to end, and kill those that do not."""
        for child in self._children:
            if child.alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)  # to it alone: what it started is its own to end
        left = {child.ended for child in self._children if child.alive}
        if left:
            await asyncio.wait(left, timeout=END_S)
        self._kill()
        for child in self._children:
            await child.wait()
        self._children.clear()

    def _kill(self) -> None:
        """Kill what is left of every group, also where its first process has ended."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter: on macOS, of zombies
                os.killpg(child.pid, signal.SIGKILL)
