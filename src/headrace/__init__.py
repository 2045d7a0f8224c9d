"""Durable background jobs for FastAPI that you can watch live.

The names are loaded when they are first asked for, so that a command line that needs few of them
starts at once.
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.app import Call, Headrace, Job, Task, Update, Upstream, Webhook
    from headrace.app.addresses import kafka, nats, rabbitmq, redis_stream
    from headrace.core.breaker import Breaker
    from headrace.core.budget import RetryBudget
    from headrace.core.bulkhead import Adaptive
    from headrace.core.classify import Classify
    from headrace.core.errors import (
        BreakerOpen,
        Conflict,
        DuplicateTask,
        Full,
        HeadraceError,
        IllegalTransition,
        InvalidArguments,
        InvalidConfig,
        InvalidEvent,
        InvalidWebhook,
        JobCancelled,
        JobError,
        JobFailed,
        JobTimedOut,
        LeaseLost,
        NotEncodable,
        PayloadTooLarge,
        PositionLost,
        RateLimited,
        Rejected,
        ResultExpired,
        SchemaMismatch,
        Shed,
        StoreError,
        StoreMoved,
        StoreUnavailable,
        StoreUnusable,
        UnknownJob,
        UnknownTask,
        UnknownUpstream,
        UnknownWebhook,
        UsageError,
    )
    from headrace.core.event import CloudEvent
    from headrace.core.limits import Limit, RateLimit
    from headrace.core.message import Message
    from headrace.core.model import UpdateKind
    from headrace.core.order import MESSAGE_KEY
    from headrace.core.retry import Retry
    from headrace.core.states import JobState
    from headrace.runtime.context import JobContext, SyncJobContext
    from headrace.runtime.depends import Injected
    from headrace.runtime.verifying import verify_webhook
    from headrace.settings import Settings

__version__ = version("headrace")

__all__ = [
    "MESSAGE_KEY",
    "Adaptive",
    "Breaker",
    "BreakerOpen",
    "Call",
    "Classify",
    "CloudEvent",
    "Conflict",
    "DuplicateTask",
    "Full",
    "Headrace",
    "HeadraceError",
    "IllegalTransition",
    "Injected",
    "InvalidArguments",
    "InvalidConfig",
    "InvalidEvent",
    "InvalidWebhook",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobError",
    "JobFailed",
    "JobState",
    "JobTimedOut",
    "LeaseLost",
    "Limit",
    "Message",
    "NotEncodable",
    "PayloadTooLarge",
    "PositionLost",
    "RateLimit",
    "RateLimited",
    "Rejected",
    "ResultExpired",
    "Retry",
    "RetryBudget",
    "SchemaMismatch",
    "Settings",
    "Shed",
    "StoreError",
    "StoreMoved",
    "StoreUnavailable",
    "StoreUnusable",
    "SyncJobContext",
    "Task",
    "UnknownJob",
    "UnknownTask",
    "UnknownUpstream",
    "UnknownWebhook",
    "Update",
    "UpdateKind",
    "Upstream",
    "UsageError",
    "Webhook",
    "__version__",
    "kafka",
    "nats",
    "rabbitmq",
    "redis_stream",
    "verify_webhook",
]

_HOMES = {
    "headrace.app": ("Call", "Headrace", "Job", "Task", "Update", "Upstream", "Webhook"),
    "headrace.app.addresses": ("kafka", "nats", "rabbitmq", "redis_stream"),
    "headrace.core.breaker": ("Breaker",),
    "headrace.core.budget": ("RetryBudget",),
    "headrace.core.bulkhead": ("Adaptive",),
    "headrace.core.classify": ("Classify",),
    "headrace.core.errors": (
        "BreakerOpen",
        "Conflict",
        "DuplicateTask",
        "Full",
        "HeadraceError",
        "IllegalTransition",
        "InvalidArguments",
        "InvalidConfig",
        "InvalidEvent",
        "InvalidWebhook",
        "JobCancelled",
        "JobError",
        "JobFailed",
        "JobTimedOut",
        "LeaseLost",
        "NotEncodable",
        "PayloadTooLarge",
        "PositionLost",
        "RateLimited",
        "Rejected",
        "ResultExpired",
        "SchemaMismatch",
        "Shed",
        "StoreError",
        "StoreMoved",
        "StoreUnavailable",
        "StoreUnusable",
        "UnknownJob",
        "UnknownTask",
        "UnknownUpstream",
        "UnknownWebhook",
        "UsageError",
    ),
    "headrace.core.event": ("CloudEvent",),
    "headrace.core.limits": ("Limit", "RateLimit"),
    "headrace.core.message": ("Message",),
    "headrace.core.model": ("UpdateKind",),
    "headrace.core.order": ("MESSAGE_KEY",),
    "headrace.core.retry": ("Retry",),
    "headrace.core.states": ("JobState",),
    "headrace.runtime.context": ("JobContext", "SyncJobContext"),
    "headrace.runtime.depends": ("Injected",),
    "headrace.runtime.verifying": ("verify_webhook",),
    "headrace.settings": ("Settings",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
