"""What a ledger depends on besides the program: commit, machine, versions."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from proof.processes import ROOT


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def commit() -> str:
    """The commit of the checkout, marked if files differ from it; `unknown` outside of one."""
    found = _git("rev-parse", "HEAD")
    changed = found and _git("status", "--porcelain", "--untracked-files=no", "--", "src", "proof")
    return f"{found or 'unknown'}{'+' if changed else ''}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """Processors, memory and kernel, in one line."""
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return f"{os.cpu_count()} x {_cpu()}, {memory_mb:,} MB, {platform.system()} {platform.release()}"


def versions() -> dict[str, str]:
    """Of what runs."""
    return {"python": platform.python_version(), "headrace": version("headrace")}
