"""What the doctor says of a notifier."""

from pathlib import Path

import pytest

from headrace import Headrace
from headrace.cli import checks_notifier
from headrace.cli.checks import Check, Grade
from headrace.cli.checks_notifier import check_notifier
from headrace.notifiers.local import LocalNotifier
from headrace.ports.notifier import Health, Notifier


class Told(LocalNotifier):
    """One that says of itself what it was told to."""

    def __init__(self, working: bool | None, echo_s: float | None = None, trouble: str | None = None) -> None:
        super().__init__(None)
        self.working = bool(working)  # type: ignore[misc]
        self.health = Health("redis", working=working, echo_s=echo_s, trouble=trouble)  # type: ignore[misc]


async def told(notifier: str | Notifier, tmp_path: Path) -> Check:
    hr = Headrace(f"sqlite:///{tmp_path}/jobs.db", notifier=notifier)
    await hr.open()
    try:
        return await check_notifier(hr)
    finally:
        await hr.close()


@pytest.mark.parametrize(
    ("notifier", "words"),
    [
        ("none", "none: processes find work by polling"),
        ("local", "hints go from process to process on this machine"),
        (Told(working=True, echo_s=0.0012), "hints go by redis, and a probe was back in 1.2 ms"),
    ],
)
async def test_one_that_works(notifier: str | Notifier, words: str, tmp_path: Path) -> None:
    assert await told(notifier, tmp_path) == Check("notifier", Grade.OK, words)


async def test_one_that_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_notifier, "PATIENCE_S", 0.05)
    check = await told(Told(working=False, trouble="redis://host is not reached"), tmp_path)
    assert check.grade is Grade.FAIL
    assert check.saw == "redis://host is not reached; processes find work by polling, which is slower"
    assert "HEADRACE_NOTIFIER" in check.mend
