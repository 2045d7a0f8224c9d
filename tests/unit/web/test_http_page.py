"""The page on HTTP names every problem and every route that there is."""

import re
from pathlib import Path

from fastapi import FastAPI

from headrace import Headrace
from headrace.core.problems import KINDS
from headrace.settings import Settings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "http.md").read_text("utf-8")


def test_every_problem_is_told() -> None:
    told = re.findall(r"^\| `([a-z-]+)` \| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert told == [(code, str(kind.status), kind.title) for code, kind in KINDS.items()]


def test_every_route_is_told() -> None:
    app = FastAPI()
    Headrace("memory://").install(app)
    paths: dict[str, dict[str, object]] = app.openapi()["paths"]
    routes = {(method.upper(), path.removeprefix("/headrace")) for path, methods in paths.items() for method in methods}
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    for method, path in routes:
        short = path.replace("{job_id}", "{id}")
        named = f"{method} {short}`" in rows
        abridged = f"…/{short.rsplit('/', 1)[1]}`" in rows or (method == "POST" and f"DELETE {short}`" in rows)
        assert named or abridged, f"{method} {path} is not on the page"


def test_the_bound_on_bodies() -> None:
    assert f"`HEADRACE_BODY_BYTES_MAX` ({Settings().body_bytes_max >> 20} MiB)" in PAGE
