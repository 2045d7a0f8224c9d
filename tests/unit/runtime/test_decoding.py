"""Messages into arguments: whatever the bytes, a job that its task takes, or a letter that says why not."""

import base64
import json
import re
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from headrace import MESSAGE_KEY, Headrace, InvalidConfig, JobContext, Limit, Message, kafka, nats, rabbitmq
from headrace.app.consuming import SourceTable
from headrace.core.message import digest_of
from headrace.ports.post import Arrival
from headrace.runtime.letter import is_letter, message_of
from headrace.settings import Settings

JSON = "application/json"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Order(BaseModel):
    """What an order is."""

    id: int
    customer: str


hr = Headrace(settings=Settings(store="memory://", message_bytes_max=4096, letter_bytes_max=8192))


@hr.on(rabbitmq("whole"))
async def whole(ctx: JobContext, order: Order, note: str = "") -> None:
    """One required parameter."""


@hr.on(rabbitmq("named"))
async def named(ctx: JobContext, number: int, customer: str, message: Message | None = None) -> None:
    """Several, and the message."""


@hr.on(rabbitmq("told"))
async def told(ctx: JobContext, order: Order, message: Message | None = None) -> None:
    """One, and the message."""


@hr.on(rabbitmq("raw"))
async def raw(ctx: JobContext, body: bytes) -> None:
    """As it is."""


@hr.on(rabbitmq("text"))
def text(body: str) -> None:
    """As text."""


@hr.on(rabbitmq("any"))
async def anything(ctx: JobContext, value: Any) -> None:
    """Whatever JSON is."""


@hr.on(rabbitmq("maybe"))
async def maybe(ctx: JobContext, order: Order | None) -> None:
    """Or nothing."""


@hr.on(rabbitmq("tick"))
async def tick(ctx: JobContext) -> None:
    """No payload."""


@hr.on(kafka("whole", group="g"))
@hr.task(concurrency=Limit(1, key="customer"))
async def by_customer(ctx: JobContext, number: int, customer: str) -> None:
    """A task with a key."""


@hr.on(nats("whole", durable="d"))
@hr.task()
async def over_nats(ctx: JobContext, order: Order) -> None:
    """Another broker's spelling."""


def csv(message: Message) -> dict[str, Any]:
    """A format of one's own."""
    number, customer = message.body.decode().split(",")
    return {"id": number, "customer": customer}


@hr.on(rabbitmq("csv"), decode=csv, priority=7, dedup=False)
async def of_csv(ctx: JobContext, order: Order) -> None:
    """Of a format of one's own."""


def arrive(name: str, body: bytes, **given: Any) -> Arrival:
    source = name if ":" in name else f"rabbitmq:{name}"
    (arrival,) = hr.sources.decoder(source).arrivals([Message(source, body=body, **given)])
    return arrival


def args(name: str, body: bytes, **given: Any) -> Any:
    """What the task gets, decoded as a worker does; the letter's reason if it is one."""
    arrival = arrive(name, body, **given)
    if arrival.letter is not None:
        assert arrival.job.tags == ("letter",)
        return arrival.letter.why
    assert not is_letter(arrival.job.args)
    return hr.registry.get(arrival.job.task).decode_args(arrival.job.args)


ORDER = b'{"id": 7, "customer": "ada"}'
NAMED = b'{"number": 7, "customer": "ada"}'


def test_one_required_parameter_takes_the_whole_body_as_it_was_written() -> None:
    arrival = arrive("whole", ORDER, content_type=JSON)
    assert arrival.job.args == '{"order":' + ORDER.decode() + "}", "spliced, not written anew"
    assert args("whole", ORDER) == {"order": Order(id=7, customer="ada")}


def test_several_take_the_members_of_an_object() -> None:
    found = args("named", NAMED, id="m1", key="k", headers={"x": "1"})
    message = found.pop("message")
    assert found == {"number": 7, "customer": "ada"}
    assert (message.source, message.id, message.key, message.headers) == ("rabbitmq:named", "m1", "k", {"x": "1"})
    assert message.body == b"", "it is in the arguments"


def test_the_message_goes_beside_a_whole_body_too() -> None:
    found = args("told", ORDER, id="m1", at=12.5)
    assert found["order"] == Order(id=7, customer="ada")
    assert (found["message"].id, found["message"].at) == ("m1", 12.5)


def test_bytes_and_text_are_taken_as_they_are() -> None:
    every = bytes(range(256))
    assert args("raw", every) == {"body": every}
    assert args("raw", b"") == {"body": b""}
    assert args("text", '{"ä": 1}'.encode()) == {"body": '{"ä": 1}'}
    assert args("text", b"") == {"body": ""}


def test_text_is_a_value_where_no_text_is_asked_for() -> None:
    assert args("any", b"hello", content_type="text/plain") == {"value": "hello"}
    assert args("any", b'"hello"', content_type="application/hal+json; charset=utf-8") == {"value": "hello"}


def test_an_empty_body_is_null_where_that_is_a_value() -> None:
    assert args("maybe", b"") == {"order": None}
    assert args("any", b"") == {"value": None}
    assert args("whole", b"") == "the message is empty"
    assert args("whole", b" \n") == "the message is empty"
    assert args("named", b"") == "the message is empty"
    assert args("tick", b"whatever") == {}


def test_a_byte_order_mark_is_no_part_of_it() -> None:
    assert args("whole", b"\xef\xbb\xbf" + ORDER) == {"order": Order(id=7, customer="ada")}


@pytest.mark.parametrize(
    ("source", "body", "given", "why"),
    [
        ("whole", b'{"id": "x"}', {}, "id: input should be a valid integer"),
        ("whole", b'{"id": 1}', {}, "customer: missing"),
        ("whole", b"[1, 2", {}, "the body is not JSON"),
        ("whole", b"\xff\xfe", {}, "not UTF-8: byte 0 is 0xff"),
        ("whole", b"{}", {"content_type": "application/avro"}, "the content type 'application/avro' is not read here"),
        ("whole", b'{"id": 1, "customer": "\\u0000"}', {}, "NUL"),
        ("any", b"NaN", {}, "NaN"),
        ("any", b'"\\ud800"', {}, "not JSON"),
        ("any", b"[" * 3000, {}, "not JSON"),
        ("text", b"\0", {}, "NUL"),
        ("whole", b" " * 4097, {}, "4,097 bytes, over the limit of 4,096"),
        ("named", b"[1]", {}, "an object"),
        ("named", b'{"number": 1, "customer": "a", "extra": 1}', {}, "extra: there is no such parameter"),
        ("told", ORDER, {"key": "\ud800"}, "no text"),
        ("csv", b"1;ada", {}, "csv raised ValueError"),
        ("csv", b"x,ada", {}, "valid integer"),
    ],
)
def test_what_does_not_fit_becomes_a_letter_and_says_why(
    source: str, body: bytes, given: dict[str, Any], why: str
) -> None:
    arrival = arrive(source, body, id="m1", **given)
    assert arrival.letter is not None
    assert why in arrival.letter.why
    assert arrival.letter.body == body
    assert json.loads(arrival.job.args)["headrace.letter"]["why"] == arrival.letter.why
    assert (arrival.digest == digest_of("m1")) is (source != "csv"), "also a letter comes once"


@pytest.mark.parametrize(
    "body",
    [b'{"id":1,"customer":"a"},"note":"smuggled"', b'{"id":1,"customer":"a"}}', b'null,"note":"x"', b"1,2", b"1],[2"],
)
def test_a_body_cannot_give_what_is_not_its_own(body: bytes) -> None:
    """It is spliced into the arguments, so it must be one value and no more."""
    assert "not JSON" in args("whole", body)


def test_a_body_cannot_pretend_to_be_the_message() -> None:
    forged = b'{"number": 1, "customer": "a", "message": {"source": "forged"}}'
    assert "message: is filled by the source" in args("named", forged)


NAMES = ("whole", "named", "told", "raw", "text", "any", "maybe", "tick", "csv")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    body=st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()), source=st.sampled_from(NAMES)
)
@example(body=b'{"order":1}', source="any")
def test_no_bytes_are_an_error_and_what_is_stored_is_what_a_worker_takes(body: bytes, source: str) -> None:
    arrival = arrive(source, body, headers={"a": "\ud800", "ce-id": body.decode("latin-1")})
    task = hr.registry.get(arrival.job.task)
    if arrival.letter is None:
        decoded = task.decode_args(arrival.job.args)
        assert json.loads(arrival.job.args).keys() <= {each.name for each in task.parameters}
        if source == "any":
            assert json.loads(arrival.job.args) == {"value": json.loads(body) if body else None}
        assert isinstance(decoded, dict)
    else:
        assert arrival.letter.body == body
        arrival.job.args.encode()
        assert message_of(arrival.job.args, arrival.letter).body == body


# -- CloudEvents, traces, ids -----------------------------------------------------------------------

BINARY = {
    "cloudEvents:specversion": "1.0",
    "cloudEvents:id": "e1",
    "cloudEvents:source": "/shop",
    "cloudEvents:type": "order.placed",
}


def test_a_cloudevent_in_headers_is_its_data_and_its_source_and_id_are_who_it_is() -> None:
    arrival = arrive("told", ORDER, id="of the broker", headers=BINARY, content_type=JSON)
    assert arrival.letter is None
    found = hr.registry.get("told").decode_args(arrival.job.args)
    assert found["order"] == Order(id=7, customer="ada")
    assert found["message"].event["type"] == "order.placed"
    assert arrival.digest == digest_of("/shop\ne1")


def test_a_cloudevent_of_one_document_is_its_data() -> None:
    document = {"specversion": "1.0", "id": "e2", "source": "/shop", "type": "t", "data": {"id": 1, "customer": "b"}}
    arrival = arrive("whole", json.dumps(document).encode(), content_type="application/cloudevents+json")
    assert json.loads(arrival.job.args) == {"order": {"id": 1, "customer": "b"}}
    assert arrival.digest == digest_of("/shop\ne2")
    coded = {**document, "data_base64": base64.b64encode(ORDER).decode()}
    del coded["data"]
    assert args("raw", json.dumps(coded).encode(), content_type="application/cloudevents+json") == {"body": ORDER}
    bare = arrive("nats:whole:d", json.dumps(document).encode())
    assert json.loads(bare.job.args) == {"order": {"id": 1, "customer": "b"}}, "NATS may announce nothing"


def test_what_says_that_it_is_an_event_and_is_none_is_a_letter() -> None:
    why = args("whole", b'{"id": "e"}', content_type="application/cloudevents+json")
    assert why == "it is no CloudEvent: specversion is missing: an event has specversion, id, source and type"


def test_a_trace_goes_on() -> None:
    assert arrive("whole", ORDER, headers={"traceparent": TRACE}).job.traceparent == TRACE
    assert arrive("whole", ORDER, headers={"TraceParent": TRACE}).job.traceparent == TRACE
    assert arrive("whole", ORDER, headers={**BINARY, "cloudEvents:traceparent": TRACE}).job.traceparent == TRACE
    later = f"{TRACE}-later"
    assert arrive("whole", ORDER, headers={"traceparent": later}).job.traceparent == later
    untold = TRACE.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32)
    for wrong in ("", "00-abc", f"{TRACE}-\0", f"{TRACE}-\ud800", TRACE.upper(), untold):
        assert arrive("whole", ORDER, headers={"traceparent": wrong}).job.traceparent is None


def test_who_a_message_is() -> None:
    assert arrive("whole", ORDER).digest is None, "nobody would know its repeat"
    assert arrive("whole", ORDER, id="m").digest == digest_of("m")
    assert arrive("csv", b"1,a", id="m").digest is None, "by dedup=False"
    decoder = hr.sources.decoder("kafka:whole:g")
    (arrival,) = decoder.arrivals([Message("kafka:whole:g", "5", "0", id="m", body=NAMED)], {"0": 5})
    assert arrival.digest is None, "a bookmark does without"


@hr.on(rabbitmq("by key"))
@hr.task(ordered_by=MESSAGE_KEY)
async def by_key(ctx: JobContext, order: Order) -> None:
    """In the order of its messages."""


def test_an_order_by_messages_goes_by_their_own_keys() -> None:
    lane_of = hr.registry.get("by_key").lane_of
    assert arrive("by key", ORDER, key="ada").job.lane_key == lane_of("ada")
    assert arrive("by key", ORDER).job.lane_key == lane_of("")
    named = {**BINARY, "cloudEvents:partitionkey": "bob"}
    assert arrive("by key", ORDER, key="ada", headers=named).job.lane_key == lane_of("bob")
    assert arrive("by key", b"?", key="ada").job.lane_key == lane_of("ada"), "a letter waits for its turn"


def test_a_job_is_as_its_task_says_and_ids_rise() -> None:
    decoder = hr.sources.decoder("kafka:whole:g")
    arrivals = decoder.arrivals([Message("kafka:whole:g", str(at), "0", body=NAMED) for at in range(500)], {"0": 0})
    ids = [arrival.job.id for arrival in arrivals]
    assert ids == sorted(set(ids))
    job = arrivals[0].job
    assert (job.task, job.lane_key, job.fresh) == ("by_customer", "ada", True)
    assert job.signature == hr.registry.get("by_customer").signature
    assert arrive("csv", b"1,a").job.priority == 7


def test_what_is_too_large_is_kept_in_part() -> None:
    arrival = arrive("raw", b"x" * 100_000, content_type="a/b", headers={"h": "1"})
    assert arrival.letter is not None
    assert (len(arrival.letter.body), arrival.letter.size, arrival.letter.truncated) == (65_536, 100_000, True)
    said = json.loads(arrival.job.args)["headrace.letter"]
    assert (said["bytes"], said["headers"], said["content_type"]) == (100_000, {"h": "1"}, "a/b")


class Fussy(BaseModel):
    """A model whose validator breaks."""

    id: int

    @field_validator("id")
    @classmethod
    def _break(cls, value: int) -> int:
        return 1 // (value - 1)


@hr.on(rabbitmq("fussy"))
async def fussy(ctx: JobContext, value: Fussy) -> None:
    """Never."""


def test_a_validator_that_breaks_makes_a_letter_of_its_message_alone() -> None:
    decoder = hr.sources.decoder("rabbitmq:fussy")
    bodies = (b'{"id": 2}', b'{"id": 1}', b'{"id": 2}')
    arrivals = decoder.arrivals([Message("rabbitmq:fussy", body=body) for body in bodies])
    assert [arrival.letter is None for arrival in arrivals] == [True, False, True]
    assert arrivals[1].letter is not None
    assert arrivals[1].letter.why.startswith("reading it raised ZeroDivisionError")


# -- definitions --------------------------------------------------------------------------------------


def required(message: Message, order: Order) -> None: ...
def twice(order: Order, one: Message | None = None, two: Message | None = None) -> None: ...
def constrained(n: Annotated[int, Field(ge=3)]) -> None: ...


@pytest.mark.parametrize(("fn", "said"), [(required, "Message | None = None"), (twice, "one parameter may take")])
def test_the_parameter_for_the_message_is_one_that_others_leave_out(fn: Callable[..., Any], said: str) -> None:
    app = Headrace("memory://")
    app.on(rabbitmq("q"))(fn)
    with pytest.raises(InvalidConfig, match=re.escape(said)) as refused:
        app.check()
    assert str(refused.value).startswith(f"hr.on of rabbitmq:q: task {fn.__name__}")


def test_a_constraint_of_a_parameter_holds_for_messages() -> None:
    app = Headrace("memory://")
    app.on(rabbitmq("q"))(constrained)
    table: SourceTable = app.sources
    (good, bad) = table.decoder("rabbitmq:q").arrivals([Message("q", body=b"3"), Message("q", body=b"2")])
    assert good.letter is None
    assert bad.letter is not None
    assert "greater than or equal to 3" in bad.letter.why
