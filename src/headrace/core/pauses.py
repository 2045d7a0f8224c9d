"""How long to wait before the next try: doubled after each, with jitter, up to a bound."""

import random


class Pause:
    """Pauses between tries of one kind: each is 50 to 100 % of a length that doubles."""

    __slots__ = ("_first_s", "_most_s", "_next_s", "_rng")

    def __init__(self, first_s: float, most_s: float, rng: random.Random) -> None:
        """The first is `first_s`, none is longer than `most_s`."""
        self._first_s = self._next_s = min(first_s, most_s)
        self._most_s = most_s
        self._rng = rng

    def next_s(self) -> float:
        """How long to wait now."""
        length_s = self._next_s
        self._next_s = min(length_s * 2, self._most_s)
        return length_s * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It went well: the next pause is a first one again."""
        self._next_s = self._first_s
