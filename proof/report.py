"""The ledger for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from proof.ledger import Ledger, combined, violated
from proof.rerun import percentile
from proof.run import Report

WORDS: Final[Mapping[str, str]] = {
    "attempted": "purchases that customers sent, answered or not",
    "acknowledged": "of those, answered with 202 and a job",
    "cut_off": "enqueues that waited for their answer when the API was killed",
    "ended": "acknowledged jobs that reached an end",
    "succeeded": "of those, with success",
    "crashed": "of those, failed with cause `crashed`: the worker died three times while the job ran alone",
    "failed_otherwise": "of those, ended in another way",
    "lost": "acknowledged and not ended, or unknown",
    "stuck": "jobs that have not ended and whose customer got no answer",
    "doubled": "jobs with two effects, an effect without success, or a success without effect",
    "enqueued_twice": "purchases with more than one job",
    "half_placed": "rows of the shop without their job, or the reverse",
    "fences_wrong": "fences reused or fallen, or effects of another fence than the success",
    "fences_late": "starts of an old fence by a process that had been stopped; they could write nothing",
    "overlaps": "attempts begun while another of the job was alive and not stopped",
    "attempts": "starts of a body",
    "repeated": "starts beyond the first of a job (failures on purpose included)",
    "torn_lines": "damaged lines outside of the database",
    "foreign_crashes": "attempts lost with a process that this run had not hurt",
    "feeds": "feeds followed from their first update",
    "feed_updates": "updates that their readers were given",
    "feed_connections": "connections and subscriptions that this took",
    "gaps": "feeds with an update missing, repeated, out of order, or without their end",
}


SHARES: Final[Mapping[str, float]] = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"


def table(report: Report) -> str:
    """One run, line by line."""
    ledger = report.ledger
    lines = [f"{report.store}, on {report.place}, {report.seconds:.0f} s:"]
    lines += [f"  {getattr(ledger, name):>9,}  {name}: {words}" for name, words in WORDS.items()]
    rerun = ledger.rerun
    lines.append(f"  runs again after SIGKILL: {_times(rerun.samples)}; {len(rerun.samples)} jobs")
    lines.append(f"  the first of each kill's jobs: {_times(rerun.first)}; {len(rerun.first)} kills")
    apart = ", ".join(f"{count} {why}" for why, count in sorted(rerun.apart.items())) or "none"
    lines.append(f"  set apart: {apart} (longest {rerun.apart_max_s:.1f} s)")
    lines.append("  faults: " + ", ".join(f"{count} {kind}" for kind, count in sorted(ledger.faults.items())))
    lines.append(f"  disk_full: {report.disk_full}")
    lines.append(f"  healed in {report.heal_s:.1f} s; answers {dict(sorted(report.answers.items()))}")
    for name, found in ledger.examples.items():
        lines += [f"  {name}: {each}" for each in found]
    return "\n".join(lines)


def _times(samples: Sequence[float]) -> str:
    return ", ".join(f"{name} {_seconds(percentile(samples, share))}" for name, share in SHARES.items())


def as_json(reports: Sequence[Report], simulated: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Flat keys over all stores, and each store's own beside them."""
    whole = combined([report.ledger for report in reports])
    return {
        **_flat(whole),
        "stores": [report.store for report in reports],
        "disk_full": {report.store: report.disk_full for report in reports},
        "seconds": round(sum(report.seconds for report in reports), 1),
        "seeds": simulated["seeds"],
        "simulator": dict(simulated),
        "violated": [line for report in reports for line in violated(report.ledger)],
        **given,
        "runs": {report.store: {**_flat(report.ledger), **_of_run(report)} for report in reports},
    }


def _flat(ledger: Ledger) -> dict[str, Any]:
    figures = {item.name: getattr(ledger, item.name) for item in fields(Ledger) if item.name != "rerun"}
    rerun = ledger.rerun
    times: dict[str, Any] = {}
    for word, samples in (("rerun", rerun.samples), ("rerun_first", rerun.first)):
        for name, share in SHARES.items():
            found = percentile(samples, share)
            times[f"{word}_{name}_s"] = None if found is None else round(found, 4)
        times[f"{word}_n"] = len(samples)
    return figures | times | {
        "rerun_apart": rerun.apart,
        "rerun_apart_max_s": round(rerun.apart_max_s, 3),
    }  # fmt: skip


def _of_run(report: Report) -> dict[str, Any]:
    return {
        "wanted": report.wanted,
        "place": report.place,
        "disk_full": report.disk_full,
        "seconds": round(report.seconds, 1),
        "heal_s": round(report.heal_s, 1),
        "answers": report.answers,
        "versions": report.versions,
    }


def verdict(reports: Sequence[Report], simulated: Mapping[str, Any], *, strict: bool) -> list[str]:
    """Why this run is no proof; empty if it is one. `strict` refuses what could not be tried."""
    wrong = [f"{report.store}: {line}" for report in reports for line in violated(report.ledger)]
    wrong += [
        f"{report.store}: only {report.ledger.acknowledged} of {report.wanted} jobs were acknowledged in time"
        for report in reports
        if report.ledger.acknowledged < report.wanted
    ]
    if "error" in simulated:
        wrong.append(f"simulator: {simulated['error']}")
    wrong += [
        f"{report.store}: disk_full: {report.disk_full}"
        for report in reports
        if strict and report.disk_full.startswith("not possible here")
    ]
    return wrong
