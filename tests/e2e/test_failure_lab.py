"""The failure lab as a visitor knows it: `headrace demo`, a real Chromium, and a print shop that is taken down."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.kit import Lab, Program, until

PRINTS = 100
MINIMUM, PROBES, AT_ONCE = 10, 3, 8  # of the shop's breaker and its max_concurrency
SHOTS = Path(__file__).parents[2] / ".cache" / "e2e-shots"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab of this file's own, so that nobody else's prints are counted."""
    env = {}
    if getattr(request, "param", "sqlite") == "postgres":
        env["HEADRACE_STORE"] = request.getfixturevalue("postgres").create_database()
    with Program("demo", "--no-browser", "--port=0", cwd=tmp_path_factory.mktemp("lab"), env=env) as demo:
        lab = Lab(demo.said(r"^The photo lab is on (http://\S+)$")[1])
        until(lab.pids, "a worker", 30)
        yield lab
        lab.close()


def number(page: Page, name: str) -> int:
    return int(page.locator(f"#{name}").inner_text())


@pytest.mark.parametrize("lab", [pytest.param("sqlite", marks=pytest.mark.nightly), "postgres"], indirect=True)
def test_a_shop_that_is_down_costs_no_print(page: Page, lab: Lab) -> None:
    page.get_by_role("link", name="Take a print shop down").click()
    expect(page.locator("#live")).to_have_text("Live")
    page.get_by_role("switch").check()
    page.get_by_role("button", name="Order 100 prints").click()
    expect(page.locator("#state")).to_have_text("Open")
    expect(page.locator("#why")).to_contain_text("failed")
    until(lambda: number(page, "held") == PRINTS, "all of them held")
    expect(page.locator("#next")).to_contain_text("next try in")
    page.screenshot(path=SHOTS / "failure-lab-open.png")
    tripped_by = number(page, "received-down")
    assert MINIMUM <= tripped_by <= MINIMUM + AT_ONCE
    expect(page.locator("#why")).to_contain_text(re.compile(r"probes: \d of \d calls failed"))  # it is tried, in vain
    expect(page.locator("#state")).to_have_text("Open")
    assert number(page, "received-down") <= tripped_by + 2 * PROBES
    assert number(page, "succeeded") == 0

    page.get_by_role("switch").uncheck()
    started = time.monotonic()
    until(lambda: number(page, "succeeded") == PRINTS, "all prints")
    assert time.monotonic() - started < 20
    expect(page.locator("#state")).to_have_text("Closed")
    for name in ("held", "failed", "failures"):
        expect(page.locator(f"#{name}")).to_have_text("0")
    seen = lab.http.get("/lab/prints").raise_for_status().json()
    assert seen["jobs"] == {"waiting": 0, "running": 0, "succeeded": PRINTS, "failed": 0, "failures": 0}
    books = seen["shop"]["books"]
    assert (books["printed"], books["printed_twice"]) == (PRINTS, 0)
    assert books["most_under_way"] <= AT_ONCE
    assert books["received"] == PRINTS + books["failed"]


def test_the_sliders_reach_the_shop_and_stay_where_they_were_put(page: Page, lab: Lab) -> None:
    page.goto(f"{lab.url}/prints.html")
    expect(page.locator("#live")).to_have_text("Live")
    page.get_by_label("Error rate").fill("30")
    page.get_by_label("Latency").fill("1500")
    expect(page.locator("#latency-shown")).to_have_text("1.50 s")
    want = {"down": False, "error_rate": 30, "latency_ms": 1500}
    until(lambda: lab.http.get("/lab/prints").json()["shop"]["mood"] == want, "the shop's mood")
    page.reload()
    expect(page.get_by_label("Error rate")).to_have_value("30")
    expect(page.locator("#latency-shown")).to_have_text("1.50 s")


def test_nobody_elses_page_may_press_its_buttons(lab: Lab) -> None:
    elsewhere = {"Origin": "https://evil.example"}
    assert lab.http.post("/lab/prints", headers=elsewhere).status_code == 403
    assert lab.http.put("/lab/shop", headers=elsewhere, json={"down": True}).status_code == 403
    assert lab.http.put("/lab/shop", json={"error_rate": 101}).status_code == 422
