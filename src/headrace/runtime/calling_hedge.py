"""Two tries of one call side by side: the first good answer wins, the other is dropped."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, final

import httpx

from headrace.runtime.calling_http import Answer, HttpCall


@final
class Race:
    """Tries under way; `close` ends whatever did not win."""

    def __init__(self, call: HttpCall) -> None:
        """Nobody runs yet."""
        self._call = call
        self._tries: list[asyncio.Task[Answer]] = []
        self._won: Answer | None = None

    def start(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """One more."""
        task = asyncio.get_running_loop().create_task(work)
        self._tries.append(task)
        return task

    async def winner(self) -> Answer:
        """The first good answer; if none is good, the first try's, unless only the second one got any."""
        running = set(self._tries)
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                answer = task.result()
                if self._call.good(answer):
                    self._won = answer
                    return answer
        answers = [task.result() for task in self._tries]
        self._won = next((each for each in answers if isinstance(each, httpx.Response)), answers[0])
        return self._won

    async def close(self) -> None:
        """Cancel who still runs, and close the answers that were not taken."""
        running = [task for task in self._tries if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for task in self._tries:
            if not task.cancelled() and task.exception() is None and task.result() is not self._won:
                await let_go(task.result())


async def let_go(answer: Answer) -> None:
    """Close an answer that nobody will read."""
    if isinstance(answer, httpx.Response):
        with suppress(httpx.HTTPError, OSError):
            await answer.aclose()
