"""Child processes: their start, their end, and what reaches them."""

import asyncio
import os
import signal
import sys

import pytest

from headrace.runtime.process import Process, describe_exit, leave_interrupts

WAITS = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exited with status 0"), (3, "exited with status 3"), (-9, "was killed by SIGKILL"), (-64, "SIGRTMAX")],
)
def test_an_exit_code_in_words(code: int, words: str) -> None:
    assert words in describe_exit(code)


@pytest.mark.parametrize("pidfd", [True, False], ids=["by pidfd", "by a thread"])
async def test_its_exit_code_is_heard(pidfd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    if not pidfd:
        monkeypatch.setattr(os, "pidfd_open", refuse)
    process = Process((sys.executable, "-c", "raise SystemExit(7)"), env={})
    assert await process.wait() == 7
    assert not process.alive
    process.kill()


async def test_the_environment_and_only_the_named_descriptors_reach_it() -> None:
    handed, kept = os.pipe(), os.pipe()
    os.set_inheritable(kept[1], True)
    code = (
        "import os; os.write(int(os.environ['FD']), os.environ['HEADRACE_PARENT_PID'].encode())\n"
        f"try: os.fstat({kept[1]})\nexcept OSError: raise SystemExit(5)"
    )
    process = Process((sys.executable, "-c", code), env={"FD": str(handed[1])}, pass_fds=(handed[1],))
    assert await process.wait() == 5
    assert os.read(handed[0], 99) == str(os.getpid()).encode()
    for fd in (*handed, *kept):
        os.close(fd)


async def test_an_interrupt_while_it_is_loaded_means_nothing_to_it_and_later_its_children_hear_them() -> None:
    code = (
        "import signal, subprocess, sys, time\n"
        "from headrace.runtime.process import leave_interrupts\n"
        "leave_interrupts()\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "raise SystemExit(subprocess.run(['/bin/sh', '-c', 'kill -INT $$; exit 3']).returncode)"
    )
    process = Process((sys.executable, "-c", code), env={}, leaves_interrupts=True)
    process.kill(signal.SIGINT)
    assert await process.wait() == -signal.SIGINT & 0xFF
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_who_leaves_interrupts_has_none() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        leave_interrupts()
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


async def test_stopped_and_continued() -> None:
    process = Process(WAITS, env={})
    assert not process.stopped
    for number, stopped in ((signal.SIGSTOP, True), (signal.SIGCONT, False), (signal.SIGSTOP, True)):
        process.kill(number)
        async with asyncio.timeout(30):
            while process.stopped is not stopped:  # noqa: ASYNC110 - the kernel says so when it likes
                await asyncio.sleep(0.005)
    process.kill()
    assert await process.wait() == -signal.SIGKILL


async def test_a_group_of_its_own_is_killed_as_one() -> None:
    read, write = os.pipe()
    code = (
        "import subprocess, os; fd = int(os.environ['FD'])\n"
        "child = subprocess.Popen(['sleep', '600'], pass_fds=[fd]); os.write(fd, b'!'); child.wait()"
    )
    process = Process((sys.executable, "-c", code), env={"FD": str(write)}, pass_fds=(write,), own_group=True)
    os.close(write)
    assert await asyncio.wait_for(asyncio.to_thread(os.read, read, 1), 30) == b"!"
    process.kill()
    await process.wait()
    assert await asyncio.wait_for(asyncio.to_thread(os.read, read, 1), 30) == b""  # its child let go of the pipe, too
    os.close(read)
