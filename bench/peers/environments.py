"""An environment for every peer, apart from the project's: pinned, made once, kept in `.cache/peers`."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.processes import ROOT

HERE = Path(__file__).resolve().parent
CACHE = ROOT / ".cache" / "peers"
INSTALL_S = 600.0
NODE_MIN = 20


class UnavailableError(RuntimeError):
    """What a peer needs is not on this machine, and what would bring it."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a peer's programs are, and the version of each thing that was installed."""

    folder: Path
    versions: dict[str, str]

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)


def own() -> Environment:
    """The project's own environment, for Headrace itself."""
    return Environment(Path(sys.executable).parent.parent, {"headrace": version("headrace")})


def python(name: str) -> Environment:
    """The environment of `requirements/{name}.txt`.

    Raises:
        UnavailableError: it cannot be installed, and why.
    """
    wanted = HERE / "requirements" / f"{name}.txt"
    folder = CACHE / f"{name}-{_digest(wanted, sys.version)}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        uv = str(ROOT / "scripts" / "uv.sh")
        _install([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        inside = str(folder / "bin" / "python")
        _install([uv, "pip", "install", "--quiet", "--no-deps", "--python", inside, "--requirement", str(wanted)])
        (folder / "ready").touch()
    pins = (line.partition("==") for line in wanted.read_text("utf-8").splitlines() if not line.startswith("#"))
    return Environment(folder, {package: pinned for package, _, pinned in pins})


def node(name: str) -> Environment:
    """A folder with the `node_modules` of `{name}/package-lock.json`, and our programs of that folder beside them.

    Raises:
        UnavailableError: no Node, or it cannot be installed.
    """
    if shutil.which("npm") is None or _node_version() < NODE_MIN:
        raise UnavailableError(f"Node {NODE_MIN} or newer with npm is not on the PATH")
    source = HERE / name
    folder = CACHE / f"{name}-{_digest(source / 'package-lock.json', 'npm')}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    if not (folder / "ready").exists():
        _install(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)])
        (folder / "ready").touch()
    pins: dict[str, str] = json.loads((source / "package.json").read_text("utf-8"))["dependencies"]
    return Environment(folder, pins)


def _node_version() -> int:
    if shutil.which("node") is None:
        return 0
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    return int(told.strip().lstrip("v").partition(".")[0] or 0)


def _digest(file: Path, salt: str) -> str:
    return hashlib.sha256(file.read_bytes() + salt.encode()).hexdigest()[:8]


def _install(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=INSTALL_S, cwd=ROOT, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UnavailableError(f"cannot install it: {' '.join(last)}")
