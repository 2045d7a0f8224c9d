"""The statements: one a file in `queries/`, whose first line says what it does and under which guard."""

from importlib.resources import files
from typing import Final


def _load() -> dict[str, str]:
    texts: dict[str, str] = {}
    for entry in files("headrace.stores.sqlite").joinpath("queries").iterdir():
        if entry.name.endswith(".sql"):
            lines = entry.read_text(encoding="utf-8").splitlines()
            texts[entry.name.removesuffix(".sql")] = "\n".join(line for line in lines if not line.startswith("--"))
    return texts


QUERIES: Final = _load()


def query(name: str) -> str:
    """The text of `queries/<name>.sql`, without its comments: the same object each time."""
    return QUERIES[name]
