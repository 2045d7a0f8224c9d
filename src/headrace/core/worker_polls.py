"""When a worker looks for jobs that no hint told it of: often, and rarely while hints are known to arrive."""

from headrace.core.worker_events import WorkerSettings


class Polls:
    """The times of a worker's polls.

    A worker that may run suspects polls often at all times: hints do not tell of them.
    """

    def __init__(self, settings: WorkerSettings, now: float) -> None:
        """The first is one interval from now."""
        self._settings = settings
        self._rare = False
        self._every_s = settings.poll_s
        self.at = now + settings.poll_s

    def heard(self, now: float, *, works: bool) -> None:
        """Whether hints arrive from now on."""
        self._rare = works and self._settings.suspects is False
        if not self._rare:
            self.soon(now)

    def soon(self, now: float) -> None:
        """There was work, or may be: the next poll is near again."""
        self._every_s = self._settings.poll_s
        self.at = min(self.at, now + self._every_s)

    def due(self, now: float) -> bool:
        """Whether to poll now; the next is then somewhat later than this was."""
        if now < self.at:
            return False
        if self._rare:
            longest_s = max(self._settings.poll_s, self._settings.poll_max_s)
            self._every_s = min(self._every_s * self._settings.poll_growth, longest_s)
        self.at = now + self._every_s
        return True
