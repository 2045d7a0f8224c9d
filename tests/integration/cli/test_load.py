"""An APP that does not load: the user's own traceback, short, and which part failed."""

from pathlib import Path
from typing import Any

import pytest

FILES = {
    "broken": "import json\ndef read():\n    return json.loads('{')\nread()\n",
    "misses": "import there_is_no_such_thing\n",
    "unfinished": "x = (\n",
    "leaves": "import sys\nsys.exit(3)\n",
    "bare": "from fastapi import FastAPI\napp = FastAPI()\nn = 3\ndef create():\n    return app\n",
    "twice": "from headrace import Headrace\nhr = Headrace()\nfor f in (lambda: 1, lambda: 2):\n    hr.task('f')(f)\n",
}


@pytest.fixture(autouse=True)
def files(shop: Any) -> None:
    for name, text in FILES.items():
        (shop.path / f"{name}.py").write_text(text)
    (shop.path / "inner").mkdir()
    (shop.path / "inner" / "deep.py").write_text("")


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("nothere:app", 1, "headrace: there is no module 'nothere' in "),
        ("deep:app", 1, "it is in inner: add --app-dir inner"),
        ("shop:ap", 1, "the module shop has no 'ap'; it has shop:app (a FastAPI app), shop:hr (a Headrace)"),
        ("shop", 2, "'shop' names a module but no attribute of it; did you mean shop:app or shop:hr?"),
        ("shop.py:app", 2, "'shop.py:app' names a file; APP is module:attribute, as in shop:app"),
        ("bare:app", 1, "no Headrace was installed on bare:app; call hr.install(app) at the module's top level"),
        ("bare:n", 1, "bare:n is of type int; APP must be a FastAPI app or a Headrace"),
        ("bare:create", 1, "bare:create is a function; APP is what it returns"),
        ("leaves:app", 1, "importing leaves ended the program (exit 3)"),
    ],
)
def test_what_cannot_be_an_app_is_one_line(shop: Any, target: str, code: int, said: str) -> None:
    done = shop.run("serve", target, "--port", "0")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "target", "frames", "said"),
    [
        ("worker", "broken:app", ["broken.py", "decoder.py"], "importing broken failed: JSONDecodeError: "),
        ("serve", "misses:app", ["misses.py"], "importing misses failed: ModuleNotFoundError: "),
        ("serve", "unfinished:app", ["unfinished.py"], "importing unfinished failed: SyntaxError: "),
        ("worker", "twice:hr", ["twice.py"], "importing twice failed: DuplicateTask: "),
    ],
)
def test_a_module_that_raises_shows_its_own_frames_only(
    shop: Any, command: str, target: str, frames: list[str], said: str
) -> None:
    done = shop.run(command, target)
    assert done.returncode == 1
    assert all(frame in done.stderr for frame in frames)
    assert "importlib" not in done.stderr
    package = Path(__import__("headrace").__file__).parent
    assert f'File "{package}' not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"headrace: {said}")
    assert done.stderr.count(said) == 1


def test_a_worker_takes_one_of_two_headraces_by_name(shop: Any) -> None:
    (shop.path / "pair.py").write_text(
        "from fastapi import FastAPI\nfrom headrace import Headrace\napp = FastAPI()\na, b = Headrace(), Headrace()\n"
        "a.install(app, prefix='/a')\nb.install(app, prefix='/b')\n"
    )
    done = shop.run("worker", "pair:app")
    assert done.returncode == 1
    assert done.stderr == "headrace: pair:app has several Headraces, under /a and /b; name one itself, as in shop:hr\n"
    assert "pair:b has no task" in shop.run("worker", "pair:b").stderr


def test_a_worker_without_tasks(shop: Any) -> None:
    (shop.path / "empty.py").write_text("from headrace import Headrace\nhr = Headrace()\n")
    done = shop.run("worker", "empty:hr")
    assert done.returncode == 1
    assert done.stderr.startswith("headrace: empty:hr has no task, so a worker has nothing to run; decorate")


def test_a_worker_on_a_store_that_it_could_not_see(shop: Any) -> None:
    (shop.path / "forgets.py").write_text(
        "from headrace import Headrace\nhr = Headrace('memory://')\n@hr.task()\ndef f() -> None: ...\n"
    )
    done = shop.run("worker", "forgets:hr")
    assert done.returncode == 1
    assert "memory://, which no other process can see; use hr.install(app, workers=1)" in done.stderr
