"""The worker's shell on the loop that supervised workers and most APIs run on."""

import asyncio
import logging

import pytest
import uvloop

from headrace.core.model import JobId
from tests.unit.runtime.test_worker_shell import ENDED, Rig


def test_a_deadline_that_is_now_is_a_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """Of one that is due at once, uvloop gives a handle that does not know its time."""

    async def main() -> None:
        rig = Rig()
        await rig.store.open()

        async def quick() -> None: ...

        task = rig.task(quick)
        later: list[JobId] = [await rig.enqueue(task, delay_s=n / 1_000) for n in range(1, 100)]
        async with rig.worker():
            for job in later:
                await rig.until(job, *ENDED)
        await rig.store.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
