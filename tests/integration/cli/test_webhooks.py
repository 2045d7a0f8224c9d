"""`headrace webhooks`, on an endpoint that has gone and comes back."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.calling.flaky import Flaky, Say, Thread
from tests.integration.cli.test_doctor import checks, the

pytestmark = pytest.mark.timeout(150)  # many processes start and end; machines of CI are slow

PARTNER = """
partner = hr.webhook("partner", "{url}/hidden", allow=("127.0.0.0/8",), insecure=True)
"""
EVENTS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(2)]


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    with Thread(Flaky()) as made:
        yield made


@pytest.fixture
def posting(shop: Any, flaky: Flaky) -> Any:
    with (shop.path / "shop.py").open("a") as file:
        file.write(PARTNER.format(url=flaky.url))
    return shop


def only(shop: Any, *where: str) -> dict[str, Any]:
    (found,) = shop.json("webhooks", *where)["webhooks"]
    assert isinstance(found, dict)
    return found


def test_gone_enabled_replayed(posting: Any, flaky: Flaky) -> None:
    shop = posting
    shop.out("migrate")
    flaky.default = Say(410, b"moved")
    shop.run_script(f"await shop.hr.publish(shop.partner, {{}}, type='order.paid', id='{EVENTS[0]}')")
    worker = shop.start("worker", "shop:app", "--processes", "1")
    gone = shop.until(lambda: (seen := only(shop)) and not seen["enabled"] and seen, "it is disabled")
    assert (gone["endpoint"], gone["state"], gone["reason"]) == (None, "forced_open", "it answered 410 Gone: moved")
    assert only(shop, "--app", "shop:app")["endpoint"] == flaky.url
    listed = shop.run("webhooks", "--app", "shop:app")
    assert listed.stderr == "headrace: partner is disabled: it answered 410 Gone: moved\n"
    assert listed.stdout.splitlines()[1].split()[:3] == ["partner", flaky.url, "disabled"]
    check = the(checks(shop), "upstreams", "webhook:partner is open until somebody closes it")
    assert "410 Gone" in check["saw"]

    shop.run_script(f"await shop.hr.publish(shop.partner, {{}}, type='order.paid', id='{EVENTS[1]}')")
    flaky.default = Say(200)
    assert shop.out("webhooks", "enable", "partner") == "partner: enabled\n"
    shop.until(lambda: only(shop)["last"]["state"] == "succeeded", "what waited was sent")
    assert shop.out("webhooks", "replay", "partner", "--dry-run").split()[1:] == [EVENTS[0], "failed"]
    assert shop.out("webhooks", "replay", "partner").endswith(f"{EVENTS[0]}  failed -> sent again\n")
    shop.until(lambda: len(flaky.heard) == 3, "the one that had failed was sent again")
    assert flaky.sent("webhook-id") == [EVENTS[0], EVENTS[1], EVENTS[0]]
    shop.until(lambda: shop.out("webhooks", "replay", "partner") == "", "nothing is left that did not arrive")

    strange = shop.run("webhooks", "replay", "partner", "--all")
    assert (strange.returncode, "with --app" in strange.stderr) == (1, True)
    told = shop.json("webhooks", "replay", "partner", "--all", "--app", "shop:app", "--since", "10m")
    assert [one["event"] for one in told["deliveries"]] == EVENTS
    shop.until(lambda: sorted(flaky.sent("webhook-id")[3:]) == EVENTS, "all were sent once more")
    worker.terminate()
    assert worker.wait(timeout=60) == 0


def test_secrets_and_names(posting: Any) -> None:
    shop = posting
    shop.out("migrate")
    first = shop.out("webhooks", "secret", "partner", "--app", "shop:app")
    assert first.startswith("whsec_")
    assert shop.out("webhooks", "secret", "partner", "--app", "shop:app") == first
    assert shop.out("webhooks", "secret", "--new") not in {first, shop.out("webhooks", "secret", "--new")}
    assert shop.run("webhooks", "secret", "partner").stderr == (
        "headrace: no webhook 'partner' is defined here; take the app that defines it with --app\n"
    )
    assert "there are partner" in shop.run("webhooks", "secret", "tank", "--app", "shop:app").stderr
    assert shop.run("webhooks", "secret").returncode == 2
    assert "there is no webhook 'tank'" in shop.run("webhooks", "enable", "tank").stderr
