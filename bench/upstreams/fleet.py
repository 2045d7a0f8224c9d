"""Several processes of a fleet, and what they tell."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.processes import ROOT

STOP_S = 10.0


class Fleet:
    """As many processes as asked for; `next` waits for what any of them tells."""

    def __init__(
        self, count: int, job: str, url: str, log: Path, *, ports: Sequence[int] = (), callers: int = 0
    ) -> None:
        self._told: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
        self._log = log.open("wb")
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.upstreams.process", job, url, json.dumps(ports), str(callers)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
            )
            for _ in range(count)
        ]
        for at in range(count):
            threading.Thread(target=self._read, args=(at,), daemon=True).start()

    def _read(self, at: int) -> None:
        lines = self._processes[at].stdout
        assert lines is not None
        for line in lines:
            self._told.put((at, json.loads(line)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        for each in self._processes:
            each.kill()
        for each in self._processes:
            each.wait(STOP_S)
        self._log.close()
        if kind is not None:
            print(Path(self._log.name).read_text("utf-8", errors="replace")[-4000:], file=sys.stderr)

    def next(self, within_s: float) -> tuple[int, dict[str, Any]]:
        """Which one, and what.

        Raises:
            queue.Empty: none, in this time.
        """
        return self._told.get(timeout=within_s)

    def say(self, at: int) -> None:
        """Give one of them its word."""
        stdin = self._processes[at].stdin
        assert stdin is not None
        stdin.write("go\n")
        stdin.flush()
