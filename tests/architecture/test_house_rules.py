"""The rules that lint and import-linter enforce do bite: a rule that no longer fires protects nothing."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
BANNED = sorted(CONFIG["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])
ROOMS = (
    "core",
    "ports",
    "clients",
    "clients/kafka",
    "clients/nats",
    "clients/rabbitmq",
    "clients/redis",
    "runtime",
    "notifiers",
    "notifiers/kafka_line",
    "notifiers/local",
    "notifiers/nats_line",
    "notifiers/none",
    "notifiers/postgres_line",
    "notifiers/rabbitmq_line",
    "notifiers/redis_line",
    "bridges",
    "bridges/kafka",
    "bridges/memory",
    "bridges/nats",
    "bridges/rabbitmq",
    "bridges/redis",
    "stores",
    "stores/memory",
    "stores/postgres",
    "stores/sqlite",
    "app",
    "web",
    "testing",
)


def banned_lines(path: str) -> list[int]:
    """The lines that ruff refuses in a file there that uses one banned name a line."""
    done = subprocess.run(
        [
            BIN / "ruff",
            "check",
            "--select",
            "TID251",
            "--output-format",
            "concise",
            "--force-exclude",
            "--stdin-filename",
            path,
            "-",
        ],
        input="".join(f"import {name.partition('.')[0]}; {name}\n" for name in BANNED),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stderr == ""
    return [int(line) for line in re.findall(r":(\d+):\d+: TID251", done.stdout)]


@pytest.mark.parametrize("room", ["core", "ports", "clients", "app", "web", "cli"])
def test_no_clock_chance_or_task_outside_the_runtime(room: str) -> None:
    assert banned_lines(f"src/headrace/{room}/probe.py") == list(range(1, len(BANNED) + 1))


def test_the_runtime_may() -> None:
    assert banned_lines("src/headrace/runtime/probe.py") == []


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house with the rooms that the contracts name, and nothing in them."""
    for room in ("", *ROOMS):
        (tmp_path / "headrace" / room).mkdir()
        (tmp_path / "headrace" / room / "__init__.py").touch()
    (tmp_path / "headrace" / "ports" / "clock.py").touch()
    return tmp_path


def lint_imports(where: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "lint-imports", "--no-cache", "--config", ROOT / "pyproject.toml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=where,
        env={"PYTHONPATH": str(where), "COLUMNS": "200", "PATH": str(BIN)},
    )


def test_an_empty_house_keeps_every_contract(house: Path) -> None:
    told = lint_imports(house)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("core", "import asyncio"),
        ("core", "from threading import Lock"),
        ("core", "import time"),
        ("core", "import sqlite3"),
        ("core", "from headrace.ports import clock"),
        ("ports", "from headrace import runtime"),
        ("stores/sqlite", "from headrace.stores import memory"),
        ("notifiers/nats_line", "from headrace.notifiers import redis_line"),
        ("clients/nats", "from headrace.clients import redis"),
        ("clients", "from headrace import bridges"),
        ("runtime", "from headrace import stores"),
        ("runtime", "from headrace import app"),
        ("app", "from headrace import web"),
        ("web", "from headrace import testing"),
        ("surprise", ""),
    ],
)
def test_a_wrong_import_breaks_a_contract(room: str, line: str, house: Path) -> None:
    (house / "headrace" / room).mkdir(exist_ok=True)
    (house / "headrace" / room / "__init__.py").write_text(line)
    told = lint_imports(house)
    assert told.returncode == 1, told.stdout
    assert "BROKEN" in told.stdout


def test_the_lock_names_only_the_public_index() -> None:
    hosts = set(re.findall(r'https?://([^/"]+)', (ROOT / "uv.lock").read_text("utf-8")))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}
