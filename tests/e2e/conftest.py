"""What the end-to-end tests share: a photo lab that runs, and a browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from tests.e2e.kit import Lab, Program, until

PACE_S = "0.4"
"""Long enough to press a button while a photograph is being developed."""
SHOTS = Path(__file__).parents[2] / ".cache" / "e2e-shots"
PATIENCE_MS = 20_000

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser(chromium: Path, chromium_args: list[str]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=chromium_args)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """`headrace demo`, as a person starts it; by its parameter with its jobs on PostgreSQL."""
    place, env = tmp_path_factory.mktemp("lab"), {"PHOTO_LAB_PACE": PACE_S}
    if getattr(request, "param", "sqlite") == "postgres":
        env["HEADRACE_STORE"] = request.getfixturevalue("postgres").create_database()
    with Program("demo", "--no-browser", "--port=0", cwd=place, env=env) as demo:
        lab = Lab(demo.said(r"^The photo lab is on (http://\S+)$")[1])
        until(lab.pids, "a worker", 30)
        yield lab
        lab.close()


@pytest.fixture
def page(browser: Browser, lab: Lab, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The lab's page, which may neither fail nor talk to anybody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    strangers: list[str] = []

    def watch(asked: Request) -> None:
        if not re.match(rf"{re.escape(lab.url)}/|blob:|data:", asked.url):
            strangers.append(asked.url)

    context.on("request", watch)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page = context.new_page()
    page.goto(lab.url)
    yield page
    page.screenshot(path=SHOTS / f"{request.node.name}.png")  # for people
    context.close()
    assert strangers == []
    # What a refused upload logs is the browser's own line about its status.
    assert [said for said in complaints if "the server responded with a status of 4" not in said] == []
