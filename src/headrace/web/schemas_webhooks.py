"""The shapes of answers about webhooks, as OpenAPI publishes them."""

from uuid import UUID

from pydantic import BaseModel, Field

from headrace.core.fleet import BreakerState
from headrace.core.states import JobState


class DeliveryView(BaseModel):
    """One event on its way to one webhook."""

    job: str
    event: str | None
    type: str | None
    state: JobState
    failures: int
    created_at: str
    answer: str | None = Field(description="How it was answered last, or what was in the way.")


class WebhookView(BaseModel):
    """An endpoint that events are posted to; `endpoint` and `types` where this process has defined it."""

    name: str
    endpoint: str | None = Field(description="Scheme and host of its URL: the rest may be a secret.")
    types: list[str] | None = Field(description="The events that it gets; null: all of them, or it is not known here.")
    enabled: bool = Field(description="False after it has answered 410: what is published waits.")
    state: BreakerState | None = Field(description="Of the breaker of its upstream; null before the first delivery.")
    since: str | None
    reason: str
    last: DeliveryView | None


class WebhooksView(BaseModel):
    """Every webhook, by name."""

    webhooks: list[WebhookView]


class ReplayedAnswer(BaseModel):
    """The job that sends a delivery once more."""

    job: UUID
