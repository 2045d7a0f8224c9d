"""The workflows of `.github/` are what two linters want, and pinned; each check bites."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))

GoTool = Callable[[str], Path]


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a copy of our workflows."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    assert run("git", "init", "--quiet", tmp_path).returncode == 0
    return tmp_path


def actionlint(where: Path, go_tool: GoTool) -> subprocess.CompletedProcess[str]:
    # The linters of shells and of Python that it would use are not everywhere, so nowhere.
    return run(go_tool("actionlint"), "-shellcheck=", "-pyflakes=", "-no-color", cwd=where)


def zizmor(where: Path) -> subprocess.CompletedProcess[str]:
    strict = ("--offline", "--no-progress", "--color=never", "--persona=auditor")
    return run(BIN / "zizmor", *strict, str(where / ".github"))


@pytest.mark.timeout(300)
def test_actionlint_finds_nothing(repository: Path, go_tool: GoTool) -> None:
    told = actionlint(repository, go_tool)
    assert told.returncode == 0, told.stdout


def test_zizmor_finds_nothing(repository: Path) -> None:
    told = zizmor(repository)
    assert told.returncode == 0, told.stdout


def broken(repository: Path, right: str, wrong: str) -> Path:
    file = repository / ".github" / "workflows" / "ci.yaml"
    text = file.read_text("utf-8")
    assert right in text
    file.write_text(text.replace(right, wrong), "utf-8")
    return repository


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("right", "wrong"), [("runs-on: ubuntu-24.04", "runs-on: ubuntu-24"), ("matrix.python }", "matrix.snake }")]
)
def test_actionlint_bites(right: str, wrong: str, repository: Path, go_tool: GoTool) -> None:
    assert actionlint(broken(repository, right, wrong), go_tool).returncode == 1


@pytest.mark.parametrize(
    ("right", "wrong", "audit"),
    [
        ("persist-credentials: false", "persist-credentials: true", "artipacked"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "unpinned-uses"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("run: .ci/run", "run: .ci/run ${{ github.event.pull_request.title }}", "template-injection"),
    ],
)
def test_zizmor_bites(right: str, wrong: str, audit: str, repository: Path) -> None:
    told = zizmor(broken(repository, right, wrong))
    assert told.returncode != 0
    assert audit in told.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_limits_and_pins(path: Path) -> None:
    text = path.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    assert "concurrency" in workflow
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    uses = re.findall(r"uses: (.*)", text)
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use) for use in uses), uses


def test_ci_runs_the_whole_check_on_each_python_that_is_promised() -> None:
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text("utf-8"))["jobs"]["test"]
    promised = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert job["strategy"]["matrix"]["python"] == promised
    assert job["steps"][-1] == {"run": ".ci/run"}
