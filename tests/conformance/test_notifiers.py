"""Notifiers that need no server against the public suite; those that do: tests/integration/notifiers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.notifiers.local import LocalNotifier
from headrace.notifiers.none import NoNotifier
from headrace.testing.conformance import (
    MakeNotifier,
    NotifierConformance,
    NotifierSystemConformance,
    SharedNotifierConformance,
)


class TestLocal(SharedNotifierConformance, NotifierSystemConformance):
    @pytest.fixture
    async def make_notifier(self, tmp_path: Path) -> AsyncIterator[MakeNotifier]:
        made: list[LocalNotifier] = []

        def new() -> LocalNotifier:
            made.append(LocalNotifier(tmp_path / "hints"))
            return made[-1]

        yield new
        for notifier in made:
            await notifier.stop()

    @pytest.fixture
    async def make_stranger(self, tmp_path: Path) -> AsyncIterator[MakeNotifier]:
        stranger = LocalNotifier(tmp_path / "others")
        yield lambda: stranger
        await stranger.stop()


class TestWithinOneProcess(NotifierConformance):
    @pytest.fixture
    async def make_notifier(self) -> AsyncIterator[MakeNotifier]:
        notifier = LocalNotifier(None)
        yield lambda: notifier
        await notifier.stop()


class TestNone(NotifierConformance, NotifierSystemConformance):
    rings = False

    @pytest.fixture
    def make_notifier(self) -> MakeNotifier:
        return NoNotifier
