"""The events of one sink that a relay knows, and which of them may be sent now.

Invariants: of a key at most one event is under way, and it is the first that is known, unless the sink itself keeps the
order; nothing of a key is sent while one that was refused or deferred waits for its time; a key of which something was
left in the outbox stays left out until that is read from the beginning.
"""

import heapq
import math
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

from headrace.core.event import Outgoing
from headrace.core.relay_events import RelaySettings


@dataclass(slots=True)
class Row:
    """One event, how often it was refused and deferred, and when it may be tried again."""

    out: Outgoing
    failures: int
    deferrals: int = 0
    not_before: float = 0.0


class Rows:
    """Events by their places; waiting or under way."""

    def __init__(self, settings: RelaySettings) -> None:
        """None."""
        self._settings = settings
        self._one_per_key = settings.one_per_key
        self._known: dict[int, Row] = {}
        self._keys: dict[str, list[int]] = {}  # places of a key, sorted
        self._held: dict[str, int] = {}  # the event for which its key waits
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
        """How many wait because they were refused or deferred."""
        return len(self._paused)

    @property
    def crowded(self) -> bool:
        """Whether as many wait as may."""
        if len(self._paused) >= self._settings.refused_known_max:
            return True
        most = self._settings.refused_bytes_max
        return self.bytes >= most and sum(len(self._known[place].out.event.body) for place in self._paused) >= most

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
        key = out.event.key
        if key is not None:
            if key in self.left_out:
                return
            places = self._keys.setdefault(key, [])
            insort(places, out.place)
            if self._one_per_key and len(places) > self._settings.key_known_max:
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
        self._ripen(now)
        ready, taken = self._ready, list[Row]()
        while ready and len(taken) < most:
            row = self._sendable(heapq.heappop(ready), now)
            if row is not None:
                taken.append(self._fly(row, by))
        return taken

    def take_another(self, than: int, now: float, by: float) -> list[Row]:
        """The next event beyond a place that may be sent alone, or else the first; none, if there is none."""
        self._ripen(now)
        ready = [place for place in sorted(set(self._ready)) if self._sendable(place, now) is not None]
        first = [place for place in ready if self._is_first(place)]
        place = next((place for place in first if place > than), first[0] if first else None)
        self._ready = [other for other in ready if other != place]  # sorted, and so a heap
        return [] if place is None else [self._fly(self._known[place], by)]

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
            key = row.out.event.key
            if key is not None:
                self._keys[key].remove(place)
                if self._held.get(key) == place:
                    del self._held[key]
                self._touch(key)
        return removed

    def is_held(self, place: int) -> bool:
        """Whether it waits for another of its key."""
        row = self._known.get(place)
        return row is not None and row.out.event.key is not None and self._held.get(row.out.event.key, place) != place

    def back(self, places: Iterable[int]) -> list[int]:
        """Events that wait again; those of them that were under way."""
        back = [place for place in places if self.flying.pop(place, None) is not None]
        for place in back:
            self._wait(place)
        return back

    def _wait(self, place: int) -> None:
        key = self._known[place].out.event.key
        if key is None:
            heapq.heappush(self._ready, place)
        elif self.is_held(place):
            self._leave(place, key)
        elif self._one_per_key:
            self._touch(key)
        else:
            heapq.heappush(self._ready, place)

    def refuse(self, place: int) -> int:
        """The broker does not take it: how often that was, now; 0: it is not under way."""
        if self.flying.pop(place, None) is None:
            return 0
        self._known[place].failures += 1
        return self._known[place].failures

    def defer(self, place: int) -> int:
        """It is not taken now: how often that was, now; 0: it is not under way."""
        if self.flying.pop(place, None) is None:
            return 0
        self._known[place].deferrals += 1
        return self._known[place].deferrals

    def pause(self, place: int, until: float) -> None:
        """An event that was refused or deferred waits; the others of its key stay in the outbox meanwhile."""
        row = self._known[place]
        key = row.out.event.key
        if key is not None:
            held = self._held.get(key, place)
            if held < place:
                self._leave(place, key)
                return
            self._held[key] = place
            for other in [other for other in self._keys[key] if other != place and other not in self.flying]:
                self._leave(other, key)
            self.left_out.add(key)
        row.not_before = until
        self._paused.add(place)
        heapq.heappush(self._timed, (until, place))

    def forget_waiting(self) -> None:
        """Another may send them: what waits is read anew, when it is ours again."""
        self._known = {place: row for place, row in self._known.items() if place in self.flying}
        self.bytes = sum(len(row.out.event.body) for row in self._known.values())
        self._keys = {}
        for place, row in sorted(self._known.items()):
            key = row.out.event.key
            if key is not None:
                self._keys.setdefault(key, []).append(place)
        self._ready, self._timed = [], []
        for left in (self._paused, self.left_out, self._returning, self._held):
            left.clear()

    def next_at(self) -> float:
        """When one may be sent, as far as it goes by them; infinite: none waits."""
        if self._ready:
            return -math.inf
        while self._timed and self._timed[0][1] not in self._paused:
            heapq.heappop(self._timed)
        return self._timed[0][0] if self._timed else math.inf

    def _ripen(self, now: float) -> None:
        while self._timed and self._timed[0][0] <= now:
            heapq.heappush(self._ready, heapq.heappop(self._timed)[1])

    def _sendable(self, place: int, now: float) -> Row | None:
        row = self._known.get(place)
        if row is None or place in self.flying or row.not_before > now:
            return None
        key = row.out.event.key
        if key is None:
            return row
        if not self._one_per_key:
            return None if self.is_held(place) else row
        busy = any(other in self.flying for other in self._keys[key])
        return row if self._is_first(place) and not busy else None

    def _is_first(self, place: int) -> bool:
        key = self._known[place].out.event.key
        return key is None or self._keys[key][0] == place

    def _fly(self, row: Row, by: float) -> Row:
        self._paused.discard(row.out.place)
        self.flying[row.out.place] = by
        return row

    def _leave(self, place: int, key: str) -> None:
        """Leave an event of a key in the outbox."""
        self._keys[key].remove(place)
        self._paused.discard(place)
        self._forget(place)
        self.left_out.add(key)

    def _forget(self, place: int) -> None:
        self.bytes -= len(self._known.pop(place).out.event.body)

    def _touch(self, key: str) -> None:
        """The first of a key may be sendable now; or there is none, and the outbox has the others."""
        places = self._keys[key]
        if places:
            heapq.heappush(self._ready, places[0])
            return
        del self._keys[key]
        if key in self.left_out:
            self._returning.add(key)
