"""What the tests of rules share."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def go_tool(missing: Callable[[str], NoReturn]) -> Callable[[str], Path]:
    """The path of a linter that is written in Go, by name; built the first time, which takes a while."""

    def path(name: str) -> Path:
        built = subprocess.run(
            [ROOT / "scripts" / "go-tool.sh", name], capture_output=True, text=True, check=False, timeout=280
        )
        if built.returncode != 0:
            missing(f"{name}, which is built with Go ({built.stderr.strip() or 'there is no `go` on the path'}),")
        return Path(built.stdout.strip())

    return path
