"""Fleets: several processes' worth of Headrace on one store, and a service that they call."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from headrace import Headrace
from tests.integration.upstreams.kit import Fleet


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that several can open."""
    if request.param == "postgres":
        found: str = request.getfixturevalue("postgres_url")
        return found
    return f"sqlite:///{tmp_path / 'headrace.db'}"


@pytest.fixture
async def fleet(url: str) -> AsyncIterator[Fleet]:
    """Each member is a process to the others; they are closed at the end."""
    members = Fleet(url)
    yield members
    for hr in members.members:
        await hr.close()


@pytest.fixture
def until() -> Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]:
    """Wait for what somebody asks."""

    async def wait(look: Callable[[], Awaitable[object]], within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            while not await look():  # noqa: ASYNC110 - what is asked has no event
                await asyncio.sleep(0.02)

    return wait


__all__ = ["Headrace"]
