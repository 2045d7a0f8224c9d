"""`headrace webhooks`, on an endpoint that has gone and comes back."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from headrace import Headrace, Retry, Webhook
from headrace.app import webhooks
from headrace.cli.fail import Fail
from headrace.cli.webhooks import webhooks_command
from tests.integration.calling.flaky import Flaky, Say, Thread
from tests.integration.webhooks.kit import ended

EVENTS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(2)]
APP = """
from headrace import Headrace

hr = Headrace("{store}")
partner = hr.webhook("partner", "{url}/hidden", allow=("127.0.0.0/8",), insecure=True)
"""


class Shop:
    """An app with a webhook, in a directory of its own, and the command run on it."""

    def __init__(self, path: Path, flaky: Flaky) -> None:
        self.flaky = flaky
        self.store = f"sqlite:///{path / 'shop.db'}"
        (path / "webhook_shop.py").write_text(APP.format(store=self.store, url=flaky.url))
        self.app = ("--app", "webhook_shop:hr", "--app-dir", str(path))

    def run(self, *args: str) -> str:
        """What it prints, on the store alone or with `self.app`."""
        where = () if "--app" in args or "--new" in args else ("--store", self.store)
        told = CliRunner().invoke(webhooks_command, [*args, *where], catch_exceptions=False)
        assert told.exit_code == 0, told.output
        return told.output

    def only(self, *where: str) -> dict[str, Any]:
        (found,) = json.loads(self.run("list", "--json", *where))["webhooks"]
        assert isinstance(found, dict)
        return found

    @asynccontextmanager
    async def working(self) -> AsyncIterator[tuple[Headrace, Webhook]]:
        """A worker of the app."""
        hr = Headrace(self.store)
        partner = hr.webhook("partner", self.flaky.url, allow=["127.0.0.0/8"], insecure=True)
        async with hr.embedded():
            yield hr, partner
        await hr.close()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(webhooks, "SCHEDULE", Retry(max_attempts=1))
    monkeypatch.setattr(sys, "path", list(sys.path))
    with Thread(Flaky()) as flaky:
        yield Shop(tmp_path, flaky)
    sys.modules.pop("webhook_shop", None)


def test_gone_enabled_replayed(shop: Shop) -> None:
    async def go() -> None:
        async with shop.working() as (hr, partner):
            await hr.publish(partner, {}, type="order.paid", id=EVENTS[0])
            await ended(hr)

    async def come_back(count: int) -> None:
        async with shop.working() as (hr, _):
            await ended(hr, count)

    shop.flaky.will(Say(410, b"moved"))
    asyncio.run(go())
    gone = shop.only()
    assert (gone["enabled"], gone["endpoint"], gone["reason"]) == (False, None, "it answered 410 Gone: moved")
    assert shop.only(*shop.app)["endpoint"] == shop.flaky.url
    head, row, note = shop.run("list", *shop.app).splitlines()
    assert head.split() == ["WEBHOOK", "ENDPOINT", "STATE", "SINCE", "LATEST", "ANSWER"]
    assert row.split()[:3] == ["partner", shop.flaky.url, "disabled"]
    assert "hidden" not in row
    assert note == "headrace: partner is disabled: it answered 410 Gone: moved"

    assert shop.run("replay", "partner", "--dry-run").split()[1:] == [EVENTS[0], "failed"]
    assert shop.run("replay", "partner").endswith(f"{EVENTS[0]}  failed -> sent again\n")
    assert shop.run("enable", "partner") == "partner: enabled\n"
    asyncio.run(come_back(1))
    assert "no delivery matches" in shop.run("replay", "partner")
    with pytest.raises(Fail, match="take the app that defines the webhook with --app"):
        shop.run("replay", "partner", "--all")
    told = json.loads(shop.run("replay", "partner", "--all", "--since", "10m", "--json", *shop.app))
    assert [(one["event"], one["state"]) for one in told["deliveries"]] == [(EVENTS[0], "succeeded")]
    asyncio.run(come_back(2))
    assert shop.flaky.sent("webhook-id") == [EVENTS[0]] * 3


def test_secrets_and_names(shop: Shop) -> None:
    async def make() -> None:
        async with shop.working():
            pass

    asyncio.run(make())
    first = shop.run("secret", "partner", *shop.app)
    assert first.startswith("whsec_")
    assert shop.run("secret", "partner", *shop.app) == first
    assert shop.run("secret", "--new") != shop.run("secret", "--new")
    with pytest.raises(Fail, match="no webhook 'partner' is defined here; take the app that defines it with --app"):
        shop.run("secret", "partner")
    with pytest.raises(Fail, match="there are partner"):
        shop.run("secret", "tank", *shop.app)
    with pytest.raises(Fail, match="there is no webhook 'tank'"):
        shop.run("enable", "tank")
    assert CliRunner().invoke(webhooks_command, ["secret"]).exit_code == 2
