"""What the process that sends to a sink says of it to the fleet; for people, and nothing depends on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from headrace.core.model import Json
from headrace.core.relay_events import RelayHealth, RelayState
from headrace.ports.store import Amendment, Store
from headrace.runtime.upstreams import OWN

DOCUMENT: Final = f"{OWN}sink:"
REPORT_S: Final = 10.0
REPORTED_S: Final = 30.0
"""So long a report is believed."""


@dataclass(frozen=True, slots=True)
class SinkReport:
    """How the relay of a sink stands, in the process that sends."""

    process: str
    health: RelayHealth


async def say(store: Store, sink: str, report: SinkReport) -> None:
    """Tell the fleet."""
    await store.amend(f"{DOCUMENT}{sink}", partial(_amended, report))


def reports(documents: Mapping[str, Json], now: float) -> dict[str, SinkReport]:
    """What was said lately, by sink."""
    found: dict[str, SinkReport] = {}
    for name, text in documents.items():
        if name.startswith(DOCUMENT):
            said: dict[str, Any] = json.loads(text)
            if now - said["at"] < REPORTED_S:
                health = RelayHealth(RelayState(said["state"]), said["why"])
                found[name.removeprefix(DOCUMENT)] = SinkReport(said["process"], health)
    return found


def _amended(report: SinkReport, _: Json | None, now: float) -> Amendment[None]:
    said = {"at": now, "process": report.process, "state": report.health.state.value, "why": report.health.why}
    return Amendment(None, json.dumps(said, separators=(",", ":")))
