"""Hints within a process and between two: every pair of notifiers on one directory stands for two processes."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from headrace.notifiers import local
from headrace.notifiers.local import MESSAGE_BYTES_MAX, LocalNotifier
from tests.unit.notifiers.ear import Ear

LISTENER = """
import asyncio, pathlib, sys
from headrace.notifiers.local import LocalNotifier

async def main():
    notifier = LocalNotifier(pathlib.Path(sys.argv[1]))
    await notifier.start()
    notifier.subscribe(("job:",), lambda hints: print(*sorted(hints), flush=True))
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[[], LocalNotifier]]:
    made: list[LocalNotifier] = []

    def new() -> LocalNotifier:
        made.append(LocalNotifier(tmp_path / "wake"))
        return made[-1]

    yield new
    for notifier in made:
        await notifier.stop()
    assert list((tmp_path / "wake").glob("*")) == []


def fifos(directory: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in directory.iterdir())


async def test_within_one_process_by_prefix() -> None:
    notifier, queues, one_job = LocalNotifier(None), Ear(), Ear()
    await notifier.start()
    assert not notifier.wants("job:")
    end = notifier.subscribe(("queue:", "cancel"), queues)
    notifier.subscribe((f"job:{'a' * 32}",), one_job)
    assert notifier.wants("job:")
    notifier.publish(["queue:mail", f"job:{'a' * 32}", f"job:{'b' * 32}", "cancel"])
    await queues.hears("queue:mail", "cancel")
    assert queues.heard == {"queue:mail", "cancel"}
    assert one_job.heard == {f"job:{'a' * 32}"}
    end()
    notifier.publish(["queue:again", "job:*"])
    await one_job.hears("job:*")
    assert "queue:again" not in queues.heard
    await notifier.stop()


async def test_a_burst_is_one_call() -> None:
    notifier, ear = LocalNotifier(None), Ear()
    await notifier.start()
    notifier.subscribe(("queue:",), ear)
    for number in range(100):
        notifier.publish([f"queue:{number}"])
    await ear.hears("queue:99")
    assert (len(ear.heard), len(ear.calls)) == (100, 1)


async def test_from_any_thread() -> None:
    notifier, ear = LocalNotifier(None), Ear()
    await notifier.start()
    notifier.subscribe(("queue:",), ear)
    threads = [threading.Thread(target=notifier.publish, args=([f"queue:{number}"],)) for number in range(8)]
    for thread in threads:
        thread.start()
    await ear.hears(*(f"queue:{number}" for number in range(8)))
    for thread in threads:
        thread.join()


async def test_between_processes_only_to_those_who_listen(make: Callable[[], LocalNotifier], tmp_path: Path) -> None:
    writer, worker, api = make(), make(), make()
    queues, jobs = Ear(), Ear()
    assert not writer.wants("queue:")
    await worker.start()
    worker.subscribe(("queue:",), queues)
    assert writer.wants("queue:")
    assert not writer.wants("job:")
    await api.start()
    end = api.subscribe(("job:",), jobs)
    assert writer.wants("job:")
    assert fifos(tmp_path / "wake") == ["job", "queue"]
    writer.publish(["queue:mail", "job:*"])  # never started: publishing alone works
    await queues.hears("queue:mail")
    await jobs.hears("job:*")
    end()
    assert not writer.wants("job:")
    assert fifos(tmp_path / "wake") == ["queue"]


async def test_a_listener_that_comes_within_one_tick_of_the_file_system_s_clock_is_seen(
    make: Callable[[], LocalNotifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def coarse(path: Path) -> SimpleNamespace:
        return SimpleNamespace(st_mtime_ns=stat(path).st_mtime_ns // 60_000_000_000)

    monkeypatch.setattr(local, "os", SimpleNamespace(**{**vars(os), "stat": coarse}))
    writer = make()
    for kind in ("queue", "job", "cancel"):
        listener = make()
        await listener.start()
        before = writer.wants(kind)
        listener.subscribe((kind,), Ear())
        assert (before, writer.wants(kind)) == (False, True)


async def test_many_hints_make_several_messages(make: Callable[[], LocalNotifier]) -> None:
    writer, reader, ear = make(), make(), Ear()
    await reader.start()
    reader.subscribe(("job:",), ear)
    hints = [f"job:{number:032x}" for number in range(100)]
    writer.publish([*hints, "job:" + "x" * MESSAGE_BYTES_MAX, "job:two\nlines"])
    await ear.hears(*hints)
    assert ear.heard == set(hints)


async def test_a_reader_that_was_stopped_for_long_learns_that_many_jobs_moved(
    make: Callable[[], LocalNotifier],
) -> None:
    writer, reader, ear = make(), make(), Ear()
    await reader.start()
    reader.subscribe(("job:",), ear)
    for number in range(5_000):  # this loop is blocked meanwhile
        writer.publish([f"job:{number:032x}"])
    assert ear.heard == set()
    await ear.hears("job:*")
    writer.publish([f"job:{5_000:032x}"])
    await ear.hears(f"job:{5_000:032x}")


async def test_a_dead_reader_is_forgotten(make: Callable[[], LocalNotifier], tmp_path: Path) -> None:
    wake = tmp_path / "wake"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LISTENER, str(wake), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    known, late = make(), make()
    known.publish(["job:*"])
    assert await process.stdout.readline() == b"job:*\n"
    process.kill()
    await process.wait()
    (orphan,) = wake.iterdir()
    known.publish(["job:*"])  # finds out by writing
    assert not orphan.exists()
    os.mkfifo(orphan)
    assert not late.wants("job:")  # finds out by opening
    assert not orphan.exists()


async def test_a_full_table_of_descriptors_removes_nobody(
    make: Callable[[], LocalNotifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = make(), make()
    await reader.start()
    reader.subscribe(("job:",), Ear())

    def no_descriptors(*_: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_descriptors)
        writer.publish(["job:*"])
    assert fifos(tmp_path / "wake") == ["job"]


async def test_start_moves_to_another_loop() -> None:
    notifier, ear = LocalNotifier(None), Ear()
    notifier.subscribe(("queue:",), ear)
    await asyncio.to_thread(asyncio.run, notifier.start())
    notifier.publish(["queue:lost"])  # its loop is closed
    await notifier.start()
    notifier.publish(["queue:heard"])
    await ear.hears("queue:heard")
    assert ear.heard == {"queue:heard"}
