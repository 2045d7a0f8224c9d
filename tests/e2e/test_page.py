"""The page in a browser: what its buttons do, and that nothing of it is cut off on a telephone."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from headrace import Headrace, kafka
from headrace.core.relay_events import Refusal
from tests.e2e.kit import Program, until

APP = """
from fastapi import FastAPI
from headrace import Headrace

hr = Headrace("sqlite:///jobs.db")
app = FastAPI()
hr.install(app)
"""


async def park(store: Path) -> None:
    """Three events that Kafka refused."""
    hr = Headrace(f"sqlite:///{store}")
    for name in ("first", "second", "third"):
        await hr.publish(kafka("orders"), {"name": name}, key=name)
    page = await hr.post.outgoing("kafka", 0, 10, 1 << 20)
    await hr.post.sent(
        "kafka", (), [Refusal(out.place, "there is no topic orders", parked=True) for out in page.events]
    )
    await hr.close()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "shop.py").write_text(APP, "utf-8")
    with ThreadPoolExecutor(1) as apart:  # Playwright's loop is in this thread
        apart.submit(asyncio.run, park(tmp_path / "jobs.db")).result(20)
    with Program("serve", "shop:app", "--port=0", cwd=tmp_path, env={"HEADRACE_AUTH": "off"}) as serve:
        yield f"{serve.said(r'^headrace: serving shop:app on (http://[^;]+);')[1]}/headrace"


def test_parked_events_are_dropped_and_sent_again_on_a_telephone(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 800})
    answers = iter((False, True))
    page.on("dialog", lambda dialog: dialog.accept() if next(answers) else dialog.dismiss())

    def stands() -> tuple[int, int]:
        (sink,) = httpx.get(f"{url}/api/sinks").raise_for_status().json()["sinks"]
        return sink["waiting"], sink["parked"]

    page.goto(f"{url}/")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    drop = page.get_by_role("button", name="Drop")
    drop.first.click()  # and say no
    assert stands() == (0, 3)
    drop.first.click()
    until(lambda: stands() == (0, 2), "one dropped")
    expect(drop).to_have_count(2)
    page.get_by_role("button", name="Send again").first.click()
    until(lambda: stands() == (1, 1), "one that waits again")
    page.get_by_role("button", name="Send all again").click()
    until(lambda: stands() == (2, 0), "the other one too")
    expect(page.get_by_role("button")).to_have_count(0)
    page.close()
