"""What was measured and what failed, as flat keys: `peers.<peer>.<measure>.<figure>`."""

import statistics
from collections.abc import Mapping

from bench.run import Value

Figures = Mapping[str, float]


class Results:
    """Every repetition of every measure; medians are taken at the end."""

    def __init__(self) -> None:
        self.facts: dict[str, Value] = {}
        self._samples: dict[tuple[str, str], list[Figures]] = {}
        self._failures: dict[tuple[str, str], str] = {}

    def add(self, peer: str, measure: str, figures: Figures) -> None:
        self._samples.setdefault((peer, measure), []).append(figures)

    def fail(self, peer: str, measure: str, reason: str) -> None:
        self._failures[(peer, measure)] = reason

    def has_failed(self, peer: str, measure: str) -> bool:
        return (peer, measure) in self._failures

    def count(self, peer: str, measure: str) -> int:
        return len(self._samples.get((peer, measure), ()))

    def latest(self, peer: str, measure: str, figure: str) -> float | None:
        """Of the last repetition, if there was one."""
        samples = self._samples.get((peer, measure))
        return samples[-1].get(figure) if samples else None

    def keys(self) -> dict[str, Value]:
        keys = dict(self.facts)
        for (peer, measure), samples in self._samples.items():
            stem = f"peers.{peer}.{measure}"
            keys[f"{stem}.runs"] = len(samples)
            for figure in samples[0]:
                values = [sample[figure] for sample in samples if figure in sample]
                keys[f"{stem}.{figure}"] = _rounded(statistics.median(values))
            if "per_s" in samples[0] and len(samples) > 1:
                keys[f"{stem}.worst_per_s"] = _rounded(min(sample["per_s"] for sample in samples))
        for (peer, measure), reason in self._failures.items():
            keys[f"peers.{peer}.{measure}.failed"] = reason
        return keys


def _rounded(value: float) -> float:
    """Four digits that mean something, and no fraction behind a large number."""
    return float(f"{value:.4g}") if abs(value) < 1_000 else round(value)
