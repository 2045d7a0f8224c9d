"""Every setting: one frozen, typed class, read from `HEADRACE_*`.

Invariant: a bound that Headrace keeps stands here, is finite, and is listed in `docs/reference/settings.md`, which is
made from this file.
"""

import os
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from headrace.core.errors import InvalidConfig
from headrace.ports.store import StoreSettings

PREFIX = "HEADRACE_"
SECRET_BYTES_MIN = 32
MIB = 1 << 20
KIB = 1 << 10
DAY_S = 86_400.0

Seconds = Annotated[float, Field(gt=0, le=10 * 365 * DAY_S, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Bytes = Annotated[int, Field(ge=KIB, le=1 << 30)]
Url = Annotated[str, StringConstraints(min_length=1)] | None
Secret = Annotated[SecretStr, Field(min_length=SECRET_BYTES_MIN)]


class Auth(StrEnum):
    """Whether the HTTP side asks for a credential."""

    ON = "on"
    OFF = "off"


class Switch(StrEnum):
    """Whether something is done."""

    ON = "on"
    OFF = "off"


class LogLevel(StrEnum):
    """The least severe message that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Synchronous(StrEnum):
    """SQLite's `synchronous`: what an enqueue that returned survives."""

    FULL = "FULL"
    NORMAL = "NORMAL"


class Settings(BaseSettings):
    """Arguments first, then `HEADRACE_*`, then the defaults.

    Raises:
        InvalidConfig: a value that cannot work; the message names the variable.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, validate_default=False
    )

    # -- store ----------------------------------------------------------------------------------
    store: Annotated[str, StringConstraints(min_length=1)] = Field(
        "sqlite:///headrace.db",
        repr=False,
        description="Where jobs live: `sqlite:///relative/path`, `sqlite:////absolute/path`,"
        " `postgresql://user@host/database` or `memory://`.",
    )
    listen_url: str | None = Field(
        None,
        repr=False,
        description="A PostgreSQL URL past a pooler that lends its sessions by transaction, for LISTEN. Without it the"
        " store's own is used; where LISTEN is not to be had there, workers and readers poll.",
    )
    notifier: Annotated[str, StringConstraints(min_length=1)] = Field(
        "auto",
        repr=False,
        description="What wakes processes: `auto` is what goes with the store (FIFOs beside a SQLite file, PostgreSQL's"
        " LISTEN), `none` lets all poll, `local` is this machine (on PostgreSQL this process), `postgres` LISTEN; or"
        " a broker: `redis://host`, `nats://host`, `amqp://user:password@host/vhost`, `kafka://host:9092`.",
    )
    postgres_connections: Count = Field(
        10, description="The most connections to PostgreSQL that one process opens for its jobs."
    )
    sqlite_synchronous: Synchronous = Field(
        Synchronous.FULL,
        description="`FULL`: an enqueue that returned survives a power cut. `NORMAL`: it survives a crash of every"
        " process, but a power cut may take the last moments.",
    )
    busy_timeout_s: Seconds = Field(
        5.0, description="How long a write waits for SQLite's write lock before it fails as unavailable."
    )

    # -- spool ----------------------------------------------------------------------------------
    spool: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        None,
        description="A directory on a local disk that takes enqueues while the store is out of reach; they are answered"
        " as `spooled` and brought to the store in order when it is back. Without it, they fail.",
        json_schema_extra={"default": "none"},
    )
    spool_bytes_max: Bytes = Field(
        64 * MIB, description="What one process may keep in its spool; beyond it, an enqueue fails as without one."
    )

    # -- worker ---------------------------------------------------------------------------------
    concurrency: Count = Field(100, description="Attempts of `async def` tasks that one worker runs at a time.")
    threads: Count = Field(10, description="Attempts of `def` tasks that one worker runs at a time, in threads.")
    cpu_processes: Count = Field(
        default_factory=lambda: os.cpu_count() or 1,
        description="Attempts of `cpu=True` tasks that one worker runs at a time, in child processes.",
        json_schema_extra={"default": "the number of CPUs"},
    )
    task_timeout_s: Seconds = Field(600.0, description="An attempt's timeout, where its task states none.")
    lease_s: Seconds = Field(
        10.0, description="How long the jobs of a worker stay its own after its supervisor went silent."
    )
    embedded_lease_s: Seconds = Field(
        30.0, description="The same for a worker that runs inside the API's process, which has no supervisor."
    )
    grace_s: Annotated[float, Field(ge=0, le=DAY_S, allow_inf_nan=False)] = Field(
        30.0, description="On SIGTERM, how long running attempts may go on before their jobs are given back."
    )
    kill_grace_s: Seconds = Field(
        10.0, description="How long past its timeout an attempt may linger before its supervisor kills the worker."
    )
    poll_s: Seconds = Field(
        1.0,
        description="How often an idle worker looks for jobs when no hint wakes it; while hints are known to"
        " arrive, more and more rarely, down to once in 30 s by LISTEN, in 5 s by a broker.",
    )
    blocked_loop_s: Seconds = Field(
        0.5, description="An event loop that a task has blocked for so long is reported, with the task and its stack."
    )
    crashes_max: Count = Field(
        3, description="Crashes of a job's worker, counted while the job ran alone, before quarantine."
    )
    crash_backoff_s: Seconds = Field(
        1.0, description="The wait after a counted crash; doubled by each further one, at most 60 s."
    )

    # -- retention ------------------------------------------------------------------------------
    retention_s: Seconds = Field(7 * DAY_S, description="How long ended jobs, their attempts and feeds are kept.")
    result_retention_s: Seconds = Field(7 * DAY_S, description="How long results are kept; afterwards `ResultExpired`.")
    key_retention_s: Seconds = Field(
        DAY_S, description="How long a job's `key` still finds the job after it has ended."
    )
    idempotency_retention_s: Seconds = Field(
        DAY_S, description="How long a repeated `Idempotency-Key` replays its first answer."
    )

    # -- sizes ----------------------------------------------------------------------------------
    args_bytes_max: Bytes = Field(MIB, description="A job's arguments, as JSON text.")
    result_bytes_max: Bytes = Field(MIB, description="A job's result, as JSON text.")
    item_bytes_max: Bytes = Field(64 * KIB, description="One item or log line of a feed, as JSON text.")
    event_bytes_max: Bytes = Field(MIB, description="The body of one event that is published.")
    items_max: Count = Field(10_000, description="Items and log lines of one job's feed.")
    body_bytes_max: Bytes = Field(16 * MIB, description="The body of one HTTP request under the prefix.")
    batch_max: Count = Field(1_000, description="Jobs in one `POST …/api/jobs/batch`.")
    page_size: Count = Field(50, description="Jobs on one page of a listing that does not say how many.")
    page_size_max: Count = Field(500, description="Jobs on one page of a listing, at most.")

    # -- brokers --------------------------------------------------------------------------------
    rabbitmq_url: Url = Field(
        None,
        repr=False,
        description="Where `rabbitmq(…)` is, as `amqp://user:password@host/vhost`.",
        json_schema_extra={"default": "none"},
    )
    kafka_servers: Url = Field(
        None,
        repr=False,
        description="Where `kafka(…)` is: `host:9092,host:9092`, or `kafka://user:password@host:9092`.",
        json_schema_extra={"default": "none"},
    )
    nats_url: Url = Field(
        None,
        repr=False,
        description="Where `nats(…)` is, as `nats://host:4222`.",
        json_schema_extra={"default": "none"},
    )
    redis_url: Url = Field(
        None,
        repr=False,
        description="Where `redis_stream(…)` is, as `redis://host:6379/0`.",
        json_schema_extra={"default": "none"},
    )
    sources: Switch = Field(
        Switch.ON, description="`off`: workers of this process take no messages from brokers, whatever `hr.on` says."
    )
    sinks: Switch = Field(Switch.ON, description="`off`: workers of this process send no events to brokers.")
    source_batch_max: Count = Field(1_000, description="Messages of a source that become jobs in one transaction.")
    dedup_window_s: Annotated[float, Field(gt=0, le=7 * DAY_S, allow_inf_nan=False)] = Field(
        3600.0,
        description="For how long a source remembers a message's id, counted while messages are taken, where its broker"
        " counts no places: a repeat within it is no second job.",
    )
    message_bytes_max: Bytes = Field(MIB, description="A message of a broker; one above it is kept as a letter.")
    letter_bytes_max: Bytes = Field(
        64 * MIB, description="What is kept of a message that does not fit its task; of one above it, the first 64 KiB."
    )
    event_source: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        "headrace",
        description="The `source` of CloudEvents that are made here: a URI reference that says who speaks.",
    )

    # -- access ---------------------------------------------------------------------------------
    auth: Auth = Field(
        Auth.ON,
        description="`off` answers without a credential, and then only to a loopback Host with the same Origin.",
    )
    secret: Secret | None = Field(
        None,
        description=f"Signs tokens and sessions, at least {SECRET_BYTES_MIN} characters; without it, one is made and"
        " kept in the store.",
        json_schema_extra={"default": "one kept in the store"},
    )
    secret_previous: Secret | None = Field(
        None,
        description="During a rotation: what the former secret signed stays valid until it expires.",
        json_schema_extra={"default": "none"},
    )
    token_ttl_s: Seconds = Field(900.0, description="How long a job token is valid.")
    session_ttl_s: Seconds = Field(12 * 3600.0, description="How long a browser's session cookie is valid.")

    # -- live feed ------------------------------------------------------------------------------
    heartbeat_s: Seconds = Field(25.0, description="How often a silent connection shows that it is alive.")
    connect_timeout_s: Seconds = Field(10.0, description="How long a WebSocket may wait before it says `connect`.")
    topics_max: Count = Field(100, description="Jobs that one WebSocket follows at a time.")
    connections_max: Count = Field(1_000, description="Live connections (WebSocket and SSE) of one API process.")
    connection_bytes_max: Bytes = Field(
        256 * KIB, description="What may wait in memory for a slow reader; beyond it, its updates wait in the store."
    )
    pending_s: Seconds = Field(
        10.0, description="How long a subscription with a valid token waits for a job whose commit is not seen yet."
    )

    # -- metrics --------------------------------------------------------------------------------
    metrics_port: Port | None = Field(
        None,
        description="Where `headrace worker` answers `GET /metrics`; 0 takes a free one. An API has that route anyway.",
        json_schema_extra={"default": "none"},
    )
    metrics_host: Annotated[str, StringConstraints(min_length=1)] = Field(
        "127.0.0.1", description="The address for it; with `HEADRACE_AUTH=off`, a loopback one."
    )

    # -- log ------------------------------------------------------------------------------------
    log_level: LogLevel = Field(LogLevel.INFO, description="The least severe message that the commands log.")

    def __init__(self, **given: Any) -> None:
        """Names as below; what is not given comes from the environment."""
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise InvalidConfig(_explain(error, given)) from None

    def store_settings(self) -> StoreSettings:
        """The part that stores need."""
        return StoreSettings(
            retention_s=self.retention_s,
            result_retention_s=self.result_retention_s,
            key_retention_s=self.key_retention_s,
            items_max=self.items_max,
            crashes_max=self.crashes_max,
            crash_backoff_s=self.crash_backoff_s,
            lease_s=self.lease_s,
        )


def _explain(error: ValidationError, given: dict[str, Any]) -> str:
    """Every complaint on one line, under the name by which its user set it; secrets are not repeated."""
    said: list[str] = []
    for item in error.errors(include_url=False):
        name = str(item["loc"][0]) if item["loc"] else "settings"
        shown = name if name in given or name not in Settings.model_fields else f"{PREFIX}{name.upper()}"
        if item["type"] == "extra_forbidden":
            said.append(f"{shown}: there is no such setting")
        elif name.startswith("secret"):
            said.append(f"{shown}: should have at least {SECRET_BYTES_MIN} characters")
        else:
            said.append(f"{shown}: {item['msg'].replace('Input s', 's')}, not {item['input']!r}")
    return "; ".join(said)
