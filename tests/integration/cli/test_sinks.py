"""`headrace sinks`, on a store in which events wait and some were refused."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from headrace import Headrace, kafka, nats
from headrace.cli.fail import Fail
from headrace.cli.sinks import sinks_command
from headrace.core.relay_events import Refusal


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'db'}"

    async def fill() -> None:
        hr = Headrace(url)
        for number in range(3):
            await hr.publish(kafka("orders"), number, key=f"k{number}")
        await hr.publish(nats("orders.paid"), "x")
        page = await hr.post.outgoing("kafka", 0, 10, 1 << 20)
        places = [out.place for out in page.events]
        await hr.post.sent("kafka", (), [Refusal(place, "too large", parked=True) for place in places[:2]])
        await hr.close()

    asyncio.run(fill())
    return url


def run(*args: str) -> str:
    told = CliRunner().invoke(sinks_command, list(args), catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.output


def listed(url: str) -> dict[str, dict[str, object]]:
    return {each["name"]: each for each in json.loads(run("list", "--json", "--store", url))["sinks"]}


def test_what_waits_and_what_is_parked(url: str) -> None:
    found = listed(url)
    assert {name: (each["waiting"], each["parked"], each["state"]) for name, each in found.items()} == {
        "kafka": (1, 2, "unattended"),
        "nats": (1, 0, "unattended"),
    }
    heads, kafka_row, nats_row, note = run("list", "--store", url).splitlines()
    assert heads.split() == ["SINK", "STATE", "WAITING", "OLDEST", "PARKED", "PROCESS"]
    assert (kafka_row.split()[:3], kafka_row.split()[5]) == (["kafka", "unattended", "1"], "2")
    assert nats_row.split()[0] == "nats"
    assert "`headrace sinks list kafka`" in note
    parked = json.loads(run("list", "kafka", "--json", "--store", url))["parked"]
    assert [(each["key"], each["why"], each["refused"], each["bytes"]) for each in parked] == [
        ("k0", "too large", 1, 1),
        ("k1", "too large", 1, 1),
    ]
    assert "too large" in run("list", "kafka", "--store", url)


def test_parked_events_go_again_or_are_deleted(url: str) -> None:
    first, second = (each["place"] for each in json.loads(run("list", "kafka", "--json", "--store", url))["parked"])
    assert run("drop", "kafka", str(first), "--store", url) == "1 events of kafka are deleted\n"
    assert run("retry", "kafka", str(first), "--store", url) == "0 events go to kafka again\n"
    assert run("retry", "kafka", str(second), "--store", url) == "1 events go to kafka again\n"
    assert (listed(url)["kafka"]["waiting"], listed(url)["kafka"]["parked"]) == (2, 0)


def test_a_sink_that_there_is_not_is_named(url: str) -> None:
    with pytest.raises(Fail, match="there is no sink 'rabbitmq'"):
        CliRunner().invoke(sinks_command, ["retry", "rabbitmq", "--store", url], catch_exceptions=False)
