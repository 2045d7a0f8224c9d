"""What a figure depends on besides the program."""

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.processes import ROOT
from bench.run import Value


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """What kind of file system a folder is on; memory would make every commit look free."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    best, kind = "", "unknown"
    for line in mounts.read_text("utf-8").splitlines():
        _, point, this_kind = line.split()[:3]
        if folder.is_relative_to(point) and len(point) > len(best):
            best, kind = point, this_kind
    return kind


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _memory_mb() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (OSError, ValueError):  # not every system tells
        return 0


def describe(folder: Path, synchronous: str) -> dict[str, Value]:
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "commit.clean": int(changed == ""),
        "machine.cpu": _cpu(),
        "machine.cores": os.cpu_count() or 1,
        "machine.memory_mb": _memory_mb(),
        "machine.system": f"{platform.system()} {platform.release()}",
        "machine.file_system": _file_system(folder.resolve()),
        "machine.load_before": round(os.getloadavg()[0], 2),
        "python.version": platform.python_version(),
        "sqlite.version": sqlite3.sqlite_version,
        "sqlite.synchronous": synchronous,
        "headrace.version": version("headrace"),
        "huey.version": version("huey"),
    }
