"""The published description of the live feed says what the code does: frames, bounds, close codes."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from headrace.core import wire
from headrace.core.feed import Position
from headrace.core.model import AttemptOutcome, Cause, Failure, UpdateKind
from headrace.core.session_events import SessionLimits
from headrace.core.states import JobState
from headrace.core.story import Story, end_data, state_data
from headrace.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "reference"
SPEC: Any = yaml.safe_load((REFERENCE / "asyncapi.yaml").read_text("utf-8"))
MESSAGES: dict[str, Any] = SPEC["components"]["messages"]
CLIENT: Any = json.loads((ROOT / "wire" / "client_frames.json").read_text("utf-8"))
SERVER: Any = json.loads((ROOT / "wire" / "server_frames.json").read_text("utf-8"))
SUBSCRIPTION_FRAMES = [each for each in SERVER["frames"] if each["name"] != "a snapshot as an SSE event"]


def validator(schema: Any) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({**schema, "components": SPEC["components"]}, validate_formats=True)


def follow(reference: str) -> Any:
    found: Any = SPEC
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        here = [node["$ref"]] if "$ref" in node else []
        return here + [reference for child in node.values() for reference in references(child)]
    return [reference for child in node for reference in references(child)] if isinstance(node, list) else []


def test_every_reference_leads_somewhere_and_every_message_is_in_one_operation() -> None:
    assert SPEC["asyncapi"] == "3.0.0"
    for reference in references(SPEC):
        assert follow(reference)
    told = [each["$ref"] for operation in SPEC["operations"].values() for each in operation["messages"]]
    assert sorted(told) == sorted(f"#/channels/feed/messages/{name}" for name in MESSAGES)
    assert sorted(SPEC["channels"]["feed"]["messages"]) == sorted(MESSAGES)


@pytest.mark.parametrize("vector", SUBSCRIPTION_FRAMES, ids=lambda vector: str(vector["name"]))
def test_the_servers_frames_are_as_described(vector: Any) -> None:
    frame = vector["frame"]
    validator(MESSAGES[frame["type"]]["payload"]).validate(frame)


@pytest.mark.parametrize("vector", CLIENT["good"], ids=lambda vector: str(vector["name"]))
def test_a_clients_good_frames_are_as_described(vector: Any) -> None:
    frame = json.loads(vector["text"])
    validator(MESSAGES[frame["type"]]["payload"]).validate(frame)


@pytest.mark.parametrize("vector", CLIENT["bad"], ids=lambda vector: str(vector["name"]))
def test_a_clients_bad_frames_are_not(vector: Any) -> None:
    try:
        frame = json.loads(vector["text"])
        payload = MESSAGES[frame["type"]]["payload"]
    except (KeyError, TypeError, ValueError):
        return  # not even an object of a known type
    if vector["name"] != "an id with a line end":  # the description leaves out what is printable
        assert not validator(payload).is_valid(frame)


def test_every_kind_and_state_is_described() -> None:
    assert MESSAGES["update"]["payload"]["properties"]["kind"]["enum"] == [kind.value for kind in UpdateKind]
    schemas = SPEC["components"]["schemas"]
    assert schemas["State"]["enum"] == [state.value for state in JobState]
    assert schemas["StateData"]["properties"]["outcome"]["enum"] == [outcome.value for outcome in AttemptOutcome]
    assert schemas["Cause"]["enum"] == [cause.value for cause in Cause]
    assert schemas["EndData"]["properties"]["state"]["enum"] == [state.value for state in JobState if state.terminal]


def test_what_a_store_tells_is_as_described() -> None:
    failure = Failure("builtins.ValueError", "no", Cause.TIMEOUT)
    state = state_data(
        JobState.SCHEDULED, 2, outcome=AttemptOutcome.RETRY, failure=failure, due_in_s=1.5, reason="because"
    )
    validator(SPEC["components"]["schemas"]["StateData"]).validate(json.loads(state))
    for failed, expired in ((failure, False), (None, True)):
        story = Story(JobState.FAILED, 1, 3, 0.0, None, 0.0, 2, 1.0, None, failed, result_expired=expired)
        validator(SPEC["components"]["schemas"]["EndData"]).validate(json.loads(end_data(story)))


def test_a_position_is_as_described() -> None:
    described = re.compile(SPEC["components"]["schemas"]["Position"]["pattern"])
    vectors: Any = json.loads((ROOT / "wire" / "positions.json").read_text("utf-8"))
    assert all(described.search(each["text"]) for each in vectors["good"])
    assert described.search(str(Position("z" * 32, 10**17)))
    assert not any(re.fullmatch(described.pattern[1:-1], text, re.ASCII) for text in vectors["lost"])


def test_bounds() -> None:
    schemas = SPEC["components"]["schemas"]
    assert schemas["Token"]["maxLength"] == wire.TOKEN_CHARS_MAX
    assert schemas["SubscriptionId"]["maxLength"] == wire.ID_CHARS_MAX
    assert f"within {SessionLimits().connect_s:.0f} seconds" in SPEC["operations"]["fromClient"]["summary"]
    assert SPEC["info"]["version"] == wire.PROTOCOL


def test_the_page_names_the_defaults() -> None:
    page = (REFERENCE / "live-feed.md").read_text("utf-8")
    settings = Settings()
    assert f"| {settings.topics_max} | `HEADRACE_TOPICS_MAX` |" in page
    assert f"| {settings.connection_bytes_max // 1024} KiB, and one frame | `HEADRACE_CONNECTION_BYTES_MAX` |" in page
    assert f"| {settings.connections_max:,} | `HEADRACE_CONNECTIONS_MAX` |" in page
    assert f"for {settings.heartbeat_s:.0f} seconds (`HEADRACE_HEARTBEAT_S`)" in page


def test_close_codes() -> None:
    told = {
        code.value: {"name": advice.name, "retry": code.retry, "then": advice.then}
        for code, advice in wire.CLOSE_CODES.items()
    }
    assert SPEC["x-close-codes"] == told
    page = (REFERENCE / "live-feed.md").read_text("utf-8")
    for code, advice in wire.CLOSE_CODES.items():
        assert f"| {code.value} | {advice.name} | {advice.means} | {advice.then} |" in page
