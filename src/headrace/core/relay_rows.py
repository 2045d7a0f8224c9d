"""The events of one sink that a relay knows, and which of them may be sent now.

Invariants: of a key that is kept in order, at most one event is under way, and it is the first that is known; a key
of which something was left in the outbox stays left out until that is read from the beginning.
"""

import heapq
import math
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

from headrace.core.event import Outgoing


@dataclass(slots=True)
class Row:
    """One event, how often it was refused, and when it may be tried again."""

    out: Outgoing
    failures: int
    not_before: float = 0.0


class Rows:
    """Events by their places; waiting or under way."""

    def __init__(self, *, one_per_key: bool, key_max: int) -> None:
        """None."""
        self._one_per_key = one_per_key
        self._key_max = key_max
        self._known: dict[int, Row] = {}
        self._keys: dict[str, list[int]] = {}  # places of a key, sorted
        self._ready: list[int] = []  # heap of places that may have become sendable
        self._timed: list[tuple[float, int]] = []  # heap of events that wait for their time
        self._paused: set[int] = set()
        self.flying: dict[int, float] = {}  # under way, and when an answer is late; the earliest first
        self.bytes = 0  # of all bodies
        self.left_out: set[str] = set()
        self._returning: set[str] = set()  # those that have nothing here any more

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, place: int) -> bool:
        return place in self._known

    @property
    def paused(self) -> int:
        """How many wait because they were refused."""
        return len(self._paused)

    @property
    def paused_bytes(self) -> int:
        """How many bytes those have."""
        return sum(len(self._known[place].out.event.body) for place in self._paused)

    @property
    def wants_rewind(self) -> bool:
        """Whether a key waits for the outbox to be read from the beginning."""
        return bool(self._returning)

    def rewind(self) -> None:
        """The outbox is read from the beginning: with the keys that have nothing here."""
        self.left_out -= self._returning
        self._returning.clear()

    def add(self, out: Outgoing) -> None:
        """An event that was read, if it is not known; it may stay in the outbox, if its key has enough here."""
        if out.place in self._known:
            return
        key = self._key(out)
        if key is not None:
            if key in self.left_out:
                return
            places = self._keys.setdefault(key, [])
            insort(places, out.place)
            if len(places) > self._key_max:
                self.left_out.add(key)
                last = next(place for place in reversed(places) if place not in self.flying)
                places.remove(last)
                if last == out.place:
                    return
                self._forget(last)
        self._known[out.place] = Row(out, out.failures)
        self.bytes += len(out.event.body)
        heapq.heappush(self._ready, out.place)

    def take(self, most: int, now: float, by: float) -> list[Row]:
        """The next events that may be sent, from now on under way; fewer: there are no more now."""
        ready, known, flying = self._ready, self._known, self.flying
        while self._timed and self._timed[0][0] <= now:
            heapq.heappush(ready, heapq.heappop(self._timed)[1])
        taken = list[Row]()
        while ready and len(taken) < most:
            place = heapq.heappop(ready)
            row = known.get(place)
            if row is None or place in flying or row.not_before > now or not self._is_first(row):
                continue
            self._paused.discard(place)
            flying[place] = by
            taken.append(row)
        return taken

    def remove(self, places: Iterable[int]) -> list[int]:
        """Events that are done with; those of them that were known."""
        known, flying, removed = self._known, self.flying, list[int]()
        for place in places:
            row = known.pop(place, None)
            if row is None:
                continue
            removed.append(place)
            self.bytes -= len(row.out.event.body)
            flying.pop(place, None)
            self._paused.discard(place)
            key = self._key(row.out)
            if key is not None:
                self._keys[key].remove(place)
                self._touch(key)
        return removed

    def back(self, place: int) -> None:
        """An event that was under way waits again."""
        if self.flying.pop(place, None) is None:
            return
        key = self._key(self._known[place].out)
        if key is None:
            heapq.heappush(self._ready, place)
        else:
            self._touch(key)

    def refuse(self, place: int) -> int:
        """The broker does not take it: how often that was, now; 0: it is not under way."""
        if self.flying.pop(place, None) is None:
            return 0
        self._known[place].failures += 1
        return self._known[place].failures

    def pause(self, place: int, until: float) -> None:
        """An event that was refused waits; the others of its key stay in the outbox meanwhile."""
        row = self._known[place]
        row.not_before = until
        self._paused.add(place)
        heapq.heappush(self._timed, (until, place))
        key = self._key(row.out)
        if key is not None:
            for other in self._keys[key]:
                if other != place:
                    self._forget(other)
            self._keys[key] = [place]
            self.left_out.add(key)

    def forget_waiting(self) -> None:
        """Another may send them: what waits is read anew, when it is ours again."""
        self._known = {place: row for place, row in self._known.items() if place in self.flying}
        self.bytes = sum(len(row.out.event.body) for row in self._known.values())
        self._keys = {}
        for place, row in sorted(self._known.items()):
            key = self._key(row.out)
            if key is not None:
                self._keys[key] = [place]
        self._ready, self._timed = [], []
        for left in (self._paused, self.left_out, self._returning):
            left.clear()

    def next_at(self) -> float:
        """When one may be sent, as far as it goes by them; infinite: none waits."""
        if self._ready:
            return -math.inf
        while self._timed and self._timed[0][1] not in self._paused:
            heapq.heappop(self._timed)
        return self._timed[0][0] if self._timed else math.inf

    def _forget(self, place: int) -> None:
        self.bytes -= len(self._known.pop(place).out.event.body)

    def _key(self, out: Outgoing) -> str | None:
        return out.event.key if self._one_per_key else None

    def _is_first(self, row: Row) -> bool:
        key = self._key(row.out)
        if key is None:
            return True
        places = self._keys[key]
        return places[0] == row.out.place and not any(place in self.flying for place in places)

    def _touch(self, key: str) -> None:
        """The first of a key may be sendable now; or there is none, and the outbox has the others."""
        places = self._keys[key]
        if places:
            heapq.heappush(self._ready, places[0])
            return
        del self._keys[key]
        if key in self.left_out:
            self._returning.add(key)
