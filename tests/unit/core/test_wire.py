"""The golden vectors of `wire/`, which every client and server of the live feed must pass."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core import wire
from headrace.core.errors import PositionLost
from headrace.core.feed import Position
from headrace.core.model import Update, UpdateKind
from headrace.core.problems import Problem

VECTORS = Path(__file__).resolve().parents[3] / "wire"


def vectors(file: str, *names: str) -> list[Any]:
    loaded: Any = json.loads((VECTORS / f"{file}.json").read_text("utf-8"))
    return [vector for name in names for vector in loaded[name]]


def named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def meaning(frame: wire.ClientFrame) -> dict[str, Any]:
    match frame:
        case wire.Connect(token):
            return {"type": "connect", "token": token}
        case wire.Subscribe(ident, job, position, token):
            told = {"id": ident, "job": str(uuid.UUID(bytes=job)), "token": token}
            return {"type": "subscribe", "position": None if position is None else str(position), **told}
        case wire.Unsubscribe(ident):
            return {"type": "unsubscribe", "id": ident}
        case wire.Refresh(token, ident):
            return {"type": "refresh", "token": token, "id": ident}


def made(make: dict[str, Any]) -> str:  # noqa: PLR0911 - one per kind of frame
    match make["type"]:
        case "connected":
            return wire.connected(make["heartbeat_s"], make["topics_max"], make["expires_in_s"])
        case "refreshed":
            return wire.refreshed(make["expires_in_s"], make["id"])
        case "pending":
            return wire.pending(make["id"])
        case "subscribed":
            return wire.subscribed(
                make["id"],
                recovered=make["recovered"],
                position=Position.parse(make["position"]),
                ended=make["ended"],
                snapshot="" if make["snapshot"] is None else wire.dump(make["snapshot"]),
            )
        case "update":
            position = Position.parse(make["position"])
            data = wire.dump(make["data"])
            update = Update(position.offset, UpdateKind(make["kind"]), make["attempt"], data, make["at"])
            return wire.update(make["id"], update, position)
        case "error":
            return wire.error(Problem(make["code"], make["detail"]), make["id"])
        case "heartbeat":
            return wire.HEARTBEAT
        case other:
            raise AssertionError(f"no such frame: {other}")


@pytest.mark.parametrize("vector", vectors("client_frames", "good"), ids=named)
def test_a_clients_frame_is_understood(vector: dict[str, Any]) -> None:
    assert meaning(wire.parse_frame(vector["text"])) == vector["means"]


@pytest.mark.parametrize("vector", vectors("client_frames", "bad"), ids=named)
def test_a_broken_frame_is_refused(vector: dict[str, Any]) -> None:
    text = vector["text"] if "text" in vector else vector["repeat"][0] * vector["repeat"][1]
    with pytest.raises(wire.BadFrame) as refused:
        wire.parse_frame(text)
    assert refused.value.close == vector["close"]


def test_binary_frames_are_refused() -> None:
    with pytest.raises(wire.BadFrame, match="not binary"):
        wire.parse_frame(b'{"type":"connect"}')


@pytest.mark.parametrize("vector", vectors("server_frames", "frames"), ids=named)
def test_the_servers_frames(vector: dict[str, Any]) -> None:
    text = made(vector["make"])
    assert json.loads(text) == vector["frame"]
    assert "\n" not in text
    assert "\r" not in text


def test_every_kind_of_frame_and_update_has_a_vector() -> None:
    frames = [vector["frame"] for vector in vectors("server_frames", "frames")]
    said = {"connected", "refreshed", "pending", "subscribed", "update", "error", "heartbeat"}
    assert {frame["type"] for frame in frames} == said
    assert {frame["kind"] for frame in frames if frame["type"] == "update"} == set(UpdateKind)
    assert {vector["means"]["type"] for vector in vectors("client_frames", "good")} == {
        "connect",
        "subscribe",
        "unsubscribe",
        "refresh",
    }


def test_close_codes_carry_their_advice() -> None:
    codes = [{"code": code.value, "name": wire.CLOSE_CODES[code].name, "retry": code.retry} for code in wire.CloseCode]
    assert codes == vectors("close_codes", "codes")
    for code in wire.CloseCode:
        assert (code in wire.COME_BACK) != (code in wire.STAY_AWAY)


@pytest.mark.parametrize("vector", vectors("positions", "good"), ids=lambda vector: vector["text"][:20])
def test_a_position_survives_the_way_there_and_back(vector: dict[str, Any]) -> None:
    position = Position.parse(vector["text"])
    assert (position.epoch, position.offset, str(position)) == (vector["epoch"], vector["offset"], vector["text"])


@pytest.mark.parametrize("text", vectors("positions", "lost"), ids=repr)
def test_what_is_no_position_is_lost(text: str) -> None:
    with pytest.raises(PositionLost):
        Position.parse(text)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each, max_size=3))


@given(st.text() | st.dictionaries(st.sampled_from(["type", "id", "topic", "token", "position"]), JSON).map(json.dumps))
def test_whatever_comes_is_a_frame_or_a_refusal(text: str) -> None:
    try:
        frame = wire.parse_frame(text)
    except wire.BadFrame:
        return
    assert json.loads(text)["type"] == type(frame).__name__.lower()


def test_an_instant_is_utc_to_the_millisecond() -> None:
    assert wire.instant(0.0) == "1970-01-01T00:00:00.000Z"
    assert wire.instant(1_800_000_000.0009) == "2027-01-15T08:00:00.000Z"


def test_a_size_is_counted_in_bytes() -> None:
    assert [wire.frame_bytes(text) for text in ("abc", "é", "☕", "\ud800")] == [3, 2, 3, 3]


def test_the_data_of_an_sse_event_is_the_frame_without_the_id_of_a_subscription() -> None:
    position = Position("e", 7)
    told = Update(7, UpdateKind.ITEM, 2, '{"n":1}', 0.0)
    snapshot = '{"job":{}}'
    for with_id, without in (
        (wire.update("a", told, position), wire.update(None, told, position)),
        (
            wire.subscribed("a", recovered=True, position=position, ended=False, snapshot=snapshot),
            wire.subscribed(None, recovered=True, position=position, ended=False, snapshot=snapshot),
        ),
    ):
        assert json.loads(with_id) == {**json.loads(without), "id": "a"}
        assert "id" not in json.loads(without)
