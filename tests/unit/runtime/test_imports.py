"""Finding in a child what the parent imported."""

import sys
from pathlib import Path

import pytest

from headrace.runtime.imports import MAIN_ALIAS, find, import_all


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("__main__", MAIN_ALIAS):
        monkeypatch.setitem(sys.modules, name, sys.modules["__main__"])


def test_modules_are_found_on_the_parent_s_path(tmp_path: Path) -> None:
    (tmp_path / "a_users_module.py").write_text("class Lab:\n    @staticmethod\n    def develop(): return 'ok'\n")
    import_all([str(tmp_path), *sys.path], None, ["a_users_module"])
    assert find("a_users_module", "Lab.develop")() == "ok"


def test_a_script_is_run_again_without_its_main_part(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("def task(): return __name__\nif __name__ == '__main__':\n    raise SystemExit\n")
    import_all(sys.path, {"path": str(script)}, ["__main__"])
    assert find("__main__", "task")() == MAIN_ALIAS


def test_a_module_that_was_run_by_name(tmp_path: Path) -> None:
    (tmp_path / "a_program.py").write_text("def task(): return __name__\n")
    import_all([str(tmp_path), *sys.path], {"module": "a_program"}, ["__main__"])
    assert find("__main__", "task")() == MAIN_ALIAS


def test_what_stands_inside_a_function_is_out_of_reach() -> None:
    with pytest.raises(LookupError, match="must stand at the top of its module"):
        find("json", "outer.<locals>.inner")
