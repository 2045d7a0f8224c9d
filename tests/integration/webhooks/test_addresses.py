"""Where deliveries go: to public addresses, and to what was checked, whatever the name says a moment later."""

import ssl

import pytest

from headrace import Headrace, JobState
from tests.integration.calling.flaky import Flaky, Say
from tests.integration.webhooks.kit import LOCAL, NAME, Names, ended, endpoint, publish, receiving, verified


@pytest.mark.parametrize(
    ("addresses", "why"),
    [
        (["10.0.0.7"], "10.0.0.7 is a private address"),
        (["127.0.0.1"], "127.0.0.1 is a loopback address"),
        (["169.254.169.254"], "169.254.169.254 is a link-local address, where clouds hand out credentials"),
        (["93.184.216.34", "10.0.0.7"], "10.0.0.7 is a private address"),
        (["::ffff:127.0.0.1"], "::ffff:127.0.0.1 is 127.0.0.1, a loopback address"),
        (["fe80::1%lo"], "fe80::1 is a link-local address"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
async def test_private_addresses_are_not_called(
    hr: Headrace, receiver: Flaky, names: Names, addresses: list[str], why: str
) -> None:
    names.answers = [addresses]
    partner = hr.webhook("partner", f"http://{NAME}:{receiver.port}/", insecure=True)
    async with hr.embedded():
        await publish(partner, {})
        (job,) = await ended(hr)
    assert (job.state, receiver.heard) == (JobState.FAILED, [])
    assert job.failure is not None
    assert job.failure.message == f"{NAME} is not called: {why}"


async def test_what_was_checked_is_what_is_called(hr: Headrace, receiver: Flaky, names: Names) -> None:
    """DNS rebinding: the second answer would be let through by nobody, and is never asked for."""
    names.answers = [["127.0.0.1"], ["10.0.0.7"]]
    partner = hr.webhook("partner", f"http://{NAME}:{receiver.port}/", allow=LOCAL, insecure=True)
    async with hr.embedded():
        await publish(partner, {})
        await ended(hr)
        assert (names.asked, len(receiver.heard)) == (1, 1)
        assert receiver.heard[0].headers["host"] == f"{NAME}:{receiver.port}"
        await publish(partner, {})
        _, job = await ended(hr, 2)
    assert (job.state, len(receiver.heard)) == (JobState.FAILED, 1)


async def test_a_redirect_is_not_followed(hr: Headrace, receiver: Flaky) -> None:
    partner = endpoint(hr, receiver)
    async with receiving() as inside:
        receiver.default = Say(307, headers=(("Location", f"{inside.url}/latest/meta-data/"),))
        async with hr.embedded():
            await publish(partner, {})
            (job,) = await ended(hr)
        assert inside.heard == []
    assert job.failure is not None
    assert "redirects are not followed" in job.failure.message


async def test_the_next_address_is_tried_where_one_refuses(hr: Headrace, receiver: Flaky, names: Names) -> None:
    names.answers = [["127.0.0.9", "127.0.0.1"]]
    partner = hr.webhook("partner", f"http://{NAME}:{receiver.port}/", allow=LOCAL, insecure=True)
    async with hr.embedded():
        await publish(partner, {})
        (job,) = await ended(hr)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)


async def test_a_name_that_nobody_knows(hr: Headrace, receiver: Flaky, names: Names) -> None:
    names.answers = [[]]
    partner = hr.webhook("partner", f"https://{NAME}/")
    async with hr.embedded():
        await publish(partner, {})
        (job,) = await ended(hr)
    assert job.failure is not None
    assert job.failure.message == f"{NAME} was not found: Name or service not known"


async def test_the_certificate_must_be_the_names(
    hr: Headrace, names: Names, tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    names.answers = [["127.0.0.1"]]
    async with receiving(tls) as secure:
        partner = hr.webhook("partner", f"https://{NAME}:{secure.port}/hooks", allow=LOCAL, verify=trusting)
        by_number = hr.webhook("number", f"https://127.0.0.1:{secure.port}/hooks", allow=LOCAL, verify=trusting)
        distrusted = hr.webhook("distrusted", f"https://{NAME}:{secure.port}/hooks", allow=LOCAL)
        async with hr.embedded():
            for each in (partner, by_number, distrusted):
                await publish(each, {"order": 7})
            (job,) = await ended(hr)
            (numbered,) = await ended(hr, 1, "number")
            (stranger,) = await ended(hr, 1, "distrusted")
        assert job.state is JobState.SUCCEEDED
        (heard,) = secure.heard
        assert (await verified(partner, heard))["data"] == {"order": 7}
    for failed in (numbered, stranger):
        assert failed.failure is not None
        assert "certificate verify failed" in failed.failure.message
