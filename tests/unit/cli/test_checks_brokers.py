"""What the doctor says of brokers and sources."""

import socket

import pytest

from headrace import Headrace, rabbitmq
from headrace.cli.checks import Check, Grade
from headrace.cli.checks_brokers import check_brokers, check_sources
from headrace.core.source_record import SourceCounts, SourceStatus
from headrace.settings import Settings

NAME = "rabbitmq:orders"


def said(status: SourceStatus, *, defined: bool = True) -> list[Check]:
    return list(check_sources([status], {status.name} if defined else set()))


def test_what_is_taken_from_is_fine() -> None:
    assert list(check_sources([], set())) == [Check("sources", Grade.OK, "none")]
    assert said(SourceStatus(NAME, state="consuming")) == [Check("sources", Grade.OK, "1, all taken from")]


@pytest.mark.parametrize(
    ("status", "saw", "mend"),
    [
        (SourceStatus(NAME, "take", "default"), f"nobody takes from {NAME}", "start a worker: `headrace worker APP`"),
        (
            SourceStatus(NAME, "take", "mail"),
            f"nobody takes from {NAME}",
            "start a worker that serves the queue mail: `headrace worker APP`",
        ),
        (
            SourceStatus(NAME, state="away", why="no such queue"),
            f"{NAME} waits: no such queue",
            "it tries again by itself",
        ),
        (
            SourceStatus(NAME, queue="mail", state="full"),
            f"{NAME} waits: the queue mail is full",
            "start more workers, or give the queue more room: `headrace queues`",
        ),
        (
            SourceStatus(NAME, state="consuming", counts=SourceCounts(taken=100, unnamed=37)),
            f"37 % of {NAME} have no id: a crash at the wrong moment runs them twice",
            "have the publisher set message_id, or send CloudEvents, whose source and id count",
        ),
        (
            SourceStatus(NAME, state="consuming", counts=SourceCounts(taken=400, repeated=600)),
            f"60% of {NAME} had the id of a message before, and were no jobs",
            "see that the publisher gives each message an id of its own",
        ),
        (
            SourceStatus(NAME, state="consuming", counts=SourceCounts(taken=9, letters=2)),
            f"2 messages of {NAME} did not fit their task",
            "`headrace jobs list --state failed --tag letter` shows why",
        ),
    ],
)
def test_what_waits_or_may_surprise(status: SourceStatus, saw: str, mend: str) -> None:
    assert said(status) == [Check("sources", Grade.WARN, saw, mend)]


def test_few_repeats_and_what_others_define_are_no_news() -> None:
    assert said(SourceStatus(NAME, state="consuming", counts=SourceCounts(taken=999, repeated=1)))[0].grade is Grade.OK
    assert said(SourceStatus(NAME), defined=False)[0].grade is Grade.OK


async def test_a_broker_that_takes_no_connections_is_told_without_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        hr = Headrace(settings=Settings(store="memory://", rabbitmq_url=f"amqp://ada:s3cret@127.0.0.1:{port}/shop"))
        hr.on(rabbitmq("orders"))(_take)
        refused, *_ = [check async for check in check_brokers(hr)]
        assert refused.grade is Grade.FAIL
        assert refused.saw.startswith(f"rabbitmq (amqp://ada:…@127.0.0.1:{port}/shop): 127.0.0.1:{port} cannot be")
        taken.listen()
        well, waits = [check async for check in check_brokers(hr)][:2]
        assert (well.grade, waits.saw) == (Grade.OK, f"nobody takes from {NAME}")
    await hr.close()


async def _take(number: int) -> None:
    """Nothing."""
