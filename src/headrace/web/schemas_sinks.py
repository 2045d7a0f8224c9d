"""The shapes of requests and answers about sinks, as OpenAPI publishes them."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from headrace.web.schemas import Strict

PLACE_MAX: Final = (1 << 63) - 1
PLACES_MAX: Final = 1_000
Places = Annotated[list[Annotated[int, Field(ge=1, le=PLACE_MAX)]], Field(min_length=1, max_length=PLACES_MAX)]


class SendAgainBody(Strict):
    """Which parked events of a sink go again."""

    places: Places | None = Field(None, description="As the list of parked events says; without it, all of them.")


class DropBody(Strict):
    """Which parked events of a sink are deleted for good."""

    places: Places = Field(description="As the list of parked events says.")


class SinkView(BaseModel):
    """One sink of events."""

    name: str
    state: Literal["idle", "sending", "sink_away", "store_away", "standby", "unattended"]
    why: str | None = Field(description="What it waits for.")
    waiting: int = Field(description="Events in its outbox, without the parked ones; counted up to a bound.")
    more: bool = Field(description="Whether there are more than were counted.")
    oldest_s: float | None = Field(description="How long the first of them has waited.")
    parked: int = Field(description="Events that it has refused too often.")
    process: str | None = Field(description="Who sends.")


class SinksView(BaseModel):
    """Every sink that had an event."""

    sinks: list[SinkView]


class ParkedView(BaseModel):
    """An event that its sink has refused too often."""

    place: int
    id: UUID
    target: str = Field(description="Where at the broker.")
    key: str | None
    head: dict[str, Any] = Field(description="Its headers and its media type.")
    bytes: int = Field(description="Of its body.")
    refused: int = Field(description="How often.")
    age_s: float
    why: str = Field(description="What the broker said last.")


class ParkedPageView(BaseModel):
    """Parked events of one sink, in order."""

    parked: list[ParkedView]
    next_after: int | None = Field(description="Go on with this as `after`; null: there are no more.")


class SentAgainAnswer(BaseModel):
    """The events that go to their sink again."""

    retried: int


class DroppedAnswer(BaseModel):
    """The events that were deleted for good."""

    dropped: int
