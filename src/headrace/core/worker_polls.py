"""When a worker looks for jobs that no hint told it of: often, and rarely while hints are known to arrive."""

from headrace.core.model import Exchanged
from headrace.core.worker_events import WorkerSettings


class Polls:
    """The times of a worker's polls.

    A worker that may run suspects polls often at all times: hints do not tell of them. While hints are heard, a claim
    that they brought about is as good as a poll: it has looked as well.
    """

    def __init__(self, settings: WorkerSettings, now: float) -> None:
        """The first is one interval from now."""
        self._settings = settings
        self._rare = False
        self._every_s = settings.poll_s
        self._poll_at = now + settings.poll_s
        self._start_at = float("inf")

    @property
    def at(self) -> float:
        """When to look at `due` and `start_due` again."""
        return min(self._poll_at, self._start_at)

    def heard(self, now: float, *, works: bool) -> None:
        """Whether hints arrive from now on."""
        self._rare = works and self._settings.suspects is False
        if not self._rare:
            self.soon(now)

    def soon(self, now: float) -> None:
        """There was work, or may be: the next poll is near again."""
        self._every_s = self._settings.poll_s
        self._poll_at = min(self._poll_at, now + self._every_s)

    def looked(self, answer: Exchanged, now: float, *, everywhere: bool) -> None:
        """A claim was answered; `everywhere`: what it did not ask for asks as soon as there is room."""
        if answer.claimed:
            self.soon(now)
        if answer.next_start_s is not None:  # so long the rate of a task keeps back what is ready
            self._start_at = min(self._start_at, now + max(answer.next_start_s, 0.0) + START_LATER_S)
        if everywhere and self._rare:
            self._poll_at = now + self._every_s

    def due(self, now: float) -> bool:
        """Whether to poll now; the next is then somewhat later than this was."""
        if now < self._poll_at:
            return False
        if self._rare:
            longest_s = max(self._settings.poll_s, self._settings.poll_max_s)
            self._every_s = min(self._every_s * self._settings.poll_growth, longest_s)
        self._poll_at = now + self._every_s
        return True

    def start_due(self, now: float) -> bool:
        """Whether what a rate kept back may start now."""
        if now < self._start_at:
            return False
        self._start_at = float("inf")
        return True


START_LATER_S = 0.001  # than the store said: what is asked for too early is refused again
