"""A wrong argument is an error to mypy and pyright before anything runs, and right ones pass."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
RIGHT, WRONG = HERE / "right.py", HERE / "wrong.py"
EXPECTED = {number for number, line in enumerate(WRONG.read_text("utf-8").splitlines(), 1) if line.endswith("# wrong")}


def mypy(path: Path) -> dict[int, str]:
    """The errors by line."""
    argv = [BIN / "mypy", "--strict", "--no-error-summary", "--disable-error-code=unused-ignore", path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    found = re.findall(rf"{path.name}:(\d+): error: (.*)", done.stdout)
    assert done.returncode == (1 if found else 0), done.stdout + done.stderr
    return {int(line): message for line, message in found}


def pyright(path: Path, tmp_path: Path) -> dict[int, str]:
    """The errors by line."""
    shutil.copy(path, tmp_path)  # it takes no absolute paths
    config = tmp_path / "pyrightconfig.json"
    config.write_text(json.dumps({"include": [path.name], "typeCheckingMode": "strict"}))
    argv = [BIN / "pyright", "--outputjson", "--project", config, "--pythonpath", sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    said = json.loads(done.stdout)
    assert said["summary"]["filesAnalyzed"] == 1, done.stdout + done.stderr
    return {each["range"]["start"]["line"] + 1: each["message"] for each in said["generalDiagnostics"]}


@pytest.mark.timeout(180)
def test_mypy_passes_what_is_right_and_nothing_else() -> None:
    assert mypy(RIGHT) == {}
    assert set(mypy(WRONG)) == EXPECTED


@pytest.mark.timeout(180)
def test_pyright_passes_what_is_right_and_nothing_else(tmp_path: Path) -> None:
    assert pyright(RIGHT, tmp_path) == {}
    assert set(pyright(WRONG, tmp_path)) == EXPECTED
