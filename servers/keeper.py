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
    shown = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return pid if str(directory) in shown else None


def end(directory: Path) -> None:
    """End the server: SIGQUIT lets PostgreSQL end its children, SIGKILL comes to who does not listen."""
    deadline = time.monotonic() + PATIENCE_S
    number = signal.SIGQUIT
    while (pid := running(directory)) is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        number = signal.SIGKILL if time.monotonic() > deadline else signal.SIGQUIT
        time.sleep(0.05)


def main() -> None:
    """Wait, then clean up."""
    directory = Path(sys.argv[1])
    sys.stdin.buffer.read()
    end(directory)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
