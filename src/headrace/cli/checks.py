"""What `headrace doctor` says, and what it looks at whatever the store is: settings, limits of the system.

Every check is a function that says what it saw; none changes anything.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FILES_MIN, FILES_GOOD = 256, 1024
SPOOL: Final = "spool"
INTERNAL: Final = frozenset(
    {"WORKER_ID", "ROLE", "CONTROL_FD", "SLOT_FD", "BEAT_FD", "STACK_FD", "CPU_FD", "PARENT_PID", "DESCRIBE_FD"}
)
"""What a supervisor tells its children in HEADRACE_ variables; no settings."""


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was seen, and the command or the step that mends it."""

    name: str
    grade: Grade
    saw: str
    mend: str = ""


def ok(name: str, saw: str) -> Check:
    """All is well."""
    return Check(name, Grade.OK, saw)


def warn(name: str, saw: str, mend: str) -> Check:
    """It works, and may surprise."""
    return Check(name, Grade.WARN, saw, mend)


def fail(name: str, saw: str, mend: str) -> Check:
    """It does not work so."""
    return Check(name, Grade.FAIL, saw, mend)


def check_variables() -> Iterator[Check]:
    """Variables that look like settings and are none."""
    import difflib

    from headrace.settings import PREFIX, Settings

    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    given = sorted(name for name in os.environ if name.startswith(PREFIX))
    strange = [name for name in given if name not in known and name.removeprefix(PREFIX) not in INTERNAL]
    for name in strange:
        near = difflib.get_close_matches(name, known, n=1)
        mend = f"did you mean {near[0]}?" if near else "`headrace settings` lists them"
        yield warn("settings", f"{name} is no setting and does nothing", mend)
    if not strange:
        said = ", ".join(given) if given else "none, so the defaults hold"
        yield ok("settings", f"HEADRACE_ variables: {said}")


def check_files_limit() -> Iterator[Check]:
    """How many files and connections one process may have."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "no limit" if soft == resource.RLIM_INFINITY else f"{soft} files at a time"
    mend = f"`ulimit -n {min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536}` before the start"
    if soft != resource.RLIM_INFINITY and soft < FILES_MIN:
        yield fail("open files", shown, mend)
    elif soft != resource.RLIM_INFINITY and soft < FILES_GOOD:
        yield warn("open files", f"{shown}; every live connection takes one", mend)
    else:
        yield ok("open files", shown)
