"""The statements of a store: one a file in its `queries/`, whose first line says what it does and under which guard."""

from importlib.resources import files


def load(package: str) -> dict[str, str]:
    """The texts of `queries/*.sql` of a package by name, without their comments."""
    texts: dict[str, str] = {}
    for entry in files(package).joinpath("queries").iterdir():
        if entry.name.endswith(".sql"):
            lines = entry.read_text(encoding="utf-8").splitlines()
            texts[entry.name.removesuffix(".sql")] = "\n".join(line for line in lines if not line.startswith("--"))
    return texts
