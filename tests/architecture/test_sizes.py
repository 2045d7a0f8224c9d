"""A file over 400 lines or a function over 60 wants to be two rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "headrace"
FILES = sorted(SRC.rglob("*.py"))
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def name_of(path: Path) -> str:
    return str(path.relative_to(SRC))


def long_functions(source: str) -> Iterator[str]:
    """Names of the functions over the budget; the lines of the docstring and of the decorators are free."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        first = node.body[0]
        if ast.get_docstring(node) is not None:
            lines -= (first.end_lineno or first.lineno) - first.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield f"{node.name}, line {node.lineno}: {lines} lines"


def test_there_is_something_to_measure() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_one_room(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= FILE_LINES_MAX


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    assert list(long_functions(path.read_text("utf-8"))) == []


def test_the_measure_sees_a_long_function_and_forgives_a_long_docstring() -> None:
    code = "def long():\n" + "    x = 1\n" * 61
    told = 'def told():\n    """One.\n' + "\n" * 80 + '    """\n    x = 1\n'
    assert list(long_functions(code)) == ["long, line 1: 62 lines"]
    assert list(long_functions(told)) == []
