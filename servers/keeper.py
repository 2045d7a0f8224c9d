"""Waits for the end of the process that started it, then ends the server of a directory and removes the directory.

It hears of that end through its standard input, which nobody writes to. The server's process stands in the file `pid`
of the directory, and is believed only if it names the directory in its command line.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 5.0


def running(directory: Path) -> int | None:
    """The server of a directory, if it runs."""
    try:
        pid = int((directory / "pid").read_text("ascii"))
    except (OSError, ValueError):
        return None
    shown = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return pid if str(directory) in shown else None


def left(directory: Path) -> list[int]:
    """The processes, but for this one, that name the directory in their command lines."""
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=False
    ).stdout
    found = (line.split(maxsplit=1) for line in listing.splitlines() if str(directory) in line)
    return [int(pid) for pid, _ in found if int(pid) != os.getpid()]


def end(directory: Path, first: int) -> None:
    """End the server: by the signal that it listens to, and by SIGKILL if it does not; then what helped it."""
    deadline = time.monotonic() + PATIENCE_S
    number = first
    while (pid := running(directory)) is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        number = signal.SIGKILL if time.monotonic() > deadline else first
        time.sleep(0.05)
    for pid in left(directory):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Wait, then clean up."""
    directory = Path(sys.argv[1])
    sys.stdin.buffer.read()
    end(directory, int(sys.argv[2]))
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
