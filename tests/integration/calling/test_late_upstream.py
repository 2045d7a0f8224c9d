"""An upstream that is defined when the Headrace is open already: the fleet hears of it all the same."""

import asyncio
from pathlib import Path

import pytest

from headrace import Breaker, BreakerOpen, Headrace


async def test_its_trip_is_known_to_the_fleet(tmp_path: Path) -> None:
    hr = Headrace(f"sqlite:///{tmp_path / 'headrace.db'}")
    await hr.open()
    bank = hr.upstream("bank", breaker=Breaker(minimum_number_of_calls=3))
    for _ in range(3):
        with pytest.raises(OSError, match="down"):
            async with bank:
                raise OSError("down")
    with pytest.raises(BreakerOpen):
        async with bank:
            pass
    async with asyncio.timeout(5):
        while [each.state for each in await hr.upstreams()] != ["open"]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    await hr.close()
