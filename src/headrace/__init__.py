"""Durable background jobs for FastAPI that you can watch live."""

from importlib.metadata import version

from headrace.app import Call, Headrace, Job, Task, Update
from headrace.core.errors import (
    Conflict,
    DuplicateTask,
    Full,
    HeadraceError,
    IllegalTransition,
    InvalidArguments,
    InvalidConfig,
    JobCancelled,
    JobError,
    JobFailed,
    JobTimedOut,
    LeaseLost,
    NotEncodable,
    PayloadTooLarge,
    PositionLost,
    Rejected,
    ResultExpired,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
    StoreUnusable,
    UnknownJob,
    UnknownTask,
    UsageError,
)
from headrace.core.model import UpdateKind
from headrace.core.retry import Retry
from headrace.core.states import JobState
from headrace.runtime.context import JobContext, SyncJobContext
from headrace.runtime.depends import Injected
from headrace.settings import Settings

__version__ = version("headrace")

__all__ = [
    "Call",
    "Conflict",
    "DuplicateTask",
    "Full",
    "Headrace",
    "HeadraceError",
    "IllegalTransition",
    "Injected",
    "InvalidArguments",
    "InvalidConfig",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobError",
    "JobFailed",
    "JobState",
    "JobTimedOut",
    "LeaseLost",
    "NotEncodable",
    "PayloadTooLarge",
    "PositionLost",
    "Rejected",
    "ResultExpired",
    "Retry",
    "SchemaMismatch",
    "Settings",
    "StoreError",
    "StoreUnavailable",
    "StoreUnusable",
    "SyncJobContext",
    "Task",
    "UnknownJob",
    "UnknownTask",
    "Update",
    "UpdateKind",
    "UsageError",
    "__version__",
]
