"""The rules that lint and import-linter enforce do bite: a rule that no longer fires protects nothing."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
BANNED = sorted(CONFIG["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])


def ruff(code: str, path: str) -> str:
    done = subprocess.run(
        [BIN / "ruff", "check", "--select", "TID251", "--output-format", "concise", "--stdin-filename", path, "-"],
        input=code,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    return done.stdout


@pytest.mark.parametrize("name", BANNED)
def test_a_core_reads_no_clock_and_makes_no_chance(name: str) -> None:
    module, _, _ = name.partition(".")
    code = f"import {module}\nx = {name}\n"
    assert "TID251" in ruff(code, "src/headrace/core/probe.py")
    assert "TID251" not in ruff(code, "src/headrace/runtime/probe.py")


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("core", "import asyncio"),
        ("core", "from threading import Lock"),
        ("core", "import time"),
        ("core", "from headrace.ports import clock"),
        ("ports", "from headrace import runtime"),
        ("stores/sqlite", "from headrace.stores import memory"),
        ("runtime", "from headrace import stores"),
        ("runtime", "from headrace import app"),
        ("surprise", ""),
    ],
)
def test_a_wrong_import_breaks_a_contract(where: str, line: str, tmp_path: Path) -> None:
    house = tmp_path / "headrace"
    for room in ("", "core", "ports", "runtime", "stores", "stores/memory", "stores/sqlite", "web", "testing", where):
        (house / room).mkdir(exist_ok=True)
        (house / room / "__init__.py").touch()
    (house / "ports" / "clock.py").touch()
    (house / "app.py").touch()
    assert lint_imports(tmp_path).returncode == (1 if where == "surprise" else 0)

    (house / where / "__init__.py").write_text(line)
    told = lint_imports(tmp_path)
    assert told.returncode == 1, told.stdout
    assert "BROKEN" in told.stdout


def lint_imports(where: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "lint-imports", "--no-cache", "--config", ROOT / "pyproject.toml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=where,
        env={"PYTHONPATH": str(where), "COLUMNS": "200", "PATH": str(BIN)},
    )
