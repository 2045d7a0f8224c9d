"""`headrace sources`: what is set back, and what is refused."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headrace import Headrace
from headrace.app.bridging import post_of
from headrace.cli import program
from headrace.cli.fail import Fail

NAME = "kafka:orders:g"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with bookmarks of two parts."""

    async def make() -> str:
        hr = Headrace(f"sqlite:///{tmp_path}/jobs.db")
        await hr.open()
        for part, place in (("0", 50), ("1", 60)):
            await post_of(hr).put_bookmark(NAME, part, place)
        await hr.close()
        return hr.settings.store

    return asyncio.run(make())


def run(url: str, *args: str) -> Result:
    return CliRunner().invoke(program, ["sources", *args, "--store", url])


def test_a_place_of_one_part_and_all_parts_are_set(url: str) -> None:
    told = run(url, "reset", NAME, "--to", "45", "--part", "1")
    assert told.output == f"{NAME} part 1: 45\n"
    assert "0:50 1:45" in run(url, "list").output
    assert run(url, "reset", NAME, "--to", "earliest").output == f"{NAME} part 0: earliest\n{NAME} part 1: earliest\n"
    assert "0:0 1:0" in run(url, "list").output
    run(url, "reset", NAME, "--to", "group")
    assert "0:0" not in run(url, "list").output


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ((NAME, "--to", "yesterday"), "earliest, group, or a place"),
        ((NAME, "--to", "5"), "name it with --part"),
        ((NAME, "--to", "5", "--part", "7"), "no bookmark of part 7; it has 0, 1"),
        (("rabbitmq:orders", "--to", "earliest"), "rabbitmq:orders has no bookmarks"),
    ],
)
def test_what_cannot_be_set_is_refused(url: str, args: tuple[str, ...], why: str) -> None:
    told = run(url, "reset", *args)
    assert told.exit_code != 0
    assert why in told.output + (str(told.exception) if isinstance(told.exception, Fail) else "")
