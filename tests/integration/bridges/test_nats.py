"""NATS as a source and as a sink: the public suites."""

from collections.abc import Mapping, Sequence

import pytest

from headrace.bridges.nats import NatsSink, NatsSource, link, source
from headrace.testing.conformance import (
    BridgeSinkConformance,
    BridgeSourceConformance,
    Found,
    MakeSink,
    MakeSource,
    OrderedSourceConformance,
    Outage,
    Put,
    Read,
    ServedSinkConformance,
    ServedSourceConformance,
)
from headrace.testing.conformance.bridge_base import MIB
from servers.nats import Nats
from tests.integration.bridges.nats_kit import Subject, bare, broker_of, new_stream, publish, read_all
from tests.integration.notifiers.outage import ServerOutage

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for on a network, sooner."""
    monkeypatch.setattr(source, "ACK_WAIT_S", 2.0)
    monkeypatch.setattr(link, "ANSWER_S", 3.0)


@pytest.fixture
def outage(nats: Nats) -> Outage:
    return ServerOutage(nats)


@pytest.fixture
async def stream(nats: Nats) -> str:
    return await new_stream(nats)


@pytest.fixture
def put(nats: Nats, stream: str) -> Put:
    async def put(
        bodies: Sequence[bytes],
        *,
        key: str = "key",
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> None:
        beside = dict(headers or {}) | ({"Content-Type": content_type} if content_type else {})
        await publish(nats, f"{stream}.{key}", bodies, beside)

    return put


class TestSource(ServedSourceConformance, BridgeSourceConformance):
    @pytest.fixture
    def make_source(self, nats: Nats, stream: str) -> MakeSource:
        return lambda: NatsSource(broker_of(nats), Subject(f"{stream}.>"), f"nats:{stream}")


class TestOrderedSource(OrderedSourceConformance):
    @pytest.fixture
    def make_source(self, nats: Nats, stream: str) -> MakeSource:
        return lambda: NatsSource(broker_of(nats), Subject(f"{stream}.>"), f"nats:{stream}", ordered=True)


class TestSink(ServedSinkConformance, BridgeSinkConformance):
    nowhere = "nowhere"
    body_bytes_max = MIB

    @pytest.fixture
    def make_sink(self, nats: Nats) -> MakeSink:
        return lambda: NatsSink(broker_of(nats))

    @pytest.fixture
    async def target(self, nats: Nats) -> str:
        return f"{await new_stream(nats, max_msg_size=MIB)}.here"

    @pytest.fixture
    def read(self, nats: Nats) -> Read:
        async def read(target: str) -> list[Found]:
            return await read_all(nats, target.partition(".")[0])

        return read


async def test_ids_are_those_of_messages_or_of_their_place(nats: Nats) -> None:
    """A stream that is made anew has others, though it counts from 1 again."""
    ids: list[str | None] = []
    for _ in range(2):
        await new_stream(nats, "anew")
        await publish(nats, "anew.one", [b"x"], {"Nats-Msg-Id": "mine"})
        await publish(nats, "anew.two", [b"x"], ids=False)
        made = await NatsSource(broker_of(nats), Subject("anew.>"), "nats:anew").open(_nowhere)
        found = (await made.fetch(10, 5)).messages
        found += (await made.fetch(10, 1)).messages
        assert [message.key for message in found] == ["anew.one", "anew.two"]
        assert [message.place for message in found] == ["1", "2"]
        assert all(message.at is not None and message.at > 1_700_000_000 for message in found)
        ids += [message.id for message in found]
        await made.close()
        async with bare(nats) as jetstream:
            await jetstream.delete_stream("anew")
    assert ids[0] == ids[2] == "mine"
    assert str(ids[1]).startswith("anew:2:")
    assert ids[1] != ids[3]


async def _nowhere(parts: Sequence[str]) -> Mapping[str, object]:
    raise AssertionError(parts)
