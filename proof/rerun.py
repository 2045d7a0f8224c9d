"""How soon a job runs again after a SIGKILL took the process that ran it.

Measured from the instant before the kill, by the killer's clock, to the line that the same job's body writes next.
Both clocks are the machine's monotonic one. Set apart, and counted: jobs that died among suspects (they run alone
from then on, one after another, or back off), kills with no other worker up, and kills whose jobs came
back while another fault (a full disk, a stopped tree, a restart of everything) lasted.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from proof.evidence import Fault, Line

KILLS: Final = ("kill_worker", "kill_tree")
OTHERS: Final = ("disk_full", "stop_worker", "stop_tree", "restart_all")


@dataclass(slots=True)
class Rerun:
    """Seconds from the kill to the next start, and why others were not counted."""

    samples: list[float] = field(default_factory=list[float])
    first: list[float] = field(default_factory=list[float])  # of each kill, the job that came back first
    apart: dict[str, int] = field(default_factory=dict[str, int])
    apart_max_s: float = 0.0

    def extend(self, other: "Rerun") -> None:
        """Add those of another run."""
        self.samples.extend(other.samples)
        self.first.extend(other.first)
        self.apart = dict(Counter(self.apart) + Counter(other.apart))
        self.apart_max_s = max(self.apart_max_s, other.apart_max_s)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def measure(lines: Sequence[Line], faults: Sequence[Fault]) -> Rerun:
    """Every job that a kill cut off, and when its body started again."""
    rerun = Rerun()
    windows = [fault for fault in faults if fault.kind in OTHERS]
    cut = _cut_off(lines)
    for fault in faults:
        if fault.kind not in KILLS:
            continue
        found = [pair for pid in fault.pids for pair in cut.get(pid, ())]
        counted: list[float] = []
        for line, again in found:
            if line.at > fault.at + 0.5:  # a later process that was given the same number
                continue
            took_s = again.at - fault.at
            why = _why_apart(fault, line, again, windows)
            if why is None:
                counted.append(took_s)
            else:
                rerun.apart[why] = rerun.apart.get(why, 0) + 1
                rerun.apart_max_s = max(rerun.apart_max_s, took_s)
        rerun.samples += counted
        rerun.first += [min(counted)] if counted else []
    return rerun


def _cut_off(lines: Sequence[Line]) -> dict[int, list[tuple[Line, Line]]]:
    """Per process: the starts that have no end, with the next start of the same job."""
    ended = {(line.job, line.fence) for line in lines if line.word == "end"}
    starts: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.word == "start":
            starts[line.job].append(line)
    cut: dict[int, list[tuple[Line, Line]]] = defaultdict(list)
    for line, again in _pairs(starts):
        if (line.job, line.fence) not in ended:
            cut[line.pid].append((line, again))
    return cut


def _pairs(starts: dict[str, list[Line]]) -> Iterator[tuple[Line, Line]]:
    for lines in starts.values():
        yield from itertools.pairwise(lines)


def _why_apart(fault: Fault, line: Line, again: Line, windows: Sequence[Fault]) -> str | None:
    if line.pid in fault.suspects:
        return "its process ran suspects: they run alone now, or back off"
    if not fault.others:
        return "no other worker was up"
    for window in windows:
        if window.at < again.at and window.until > fault.at:
            return f"during {window.kind}"
    return None
