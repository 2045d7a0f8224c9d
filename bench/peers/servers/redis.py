"""Redis for one run, as it comes: snapshots now and then, no append-only file, so a crash loses the last minutes."""

from pathlib import Path

from servers.redis import Redis

SETTINGS = {"appendonly": "no", "save": "3600 1 300 100 60 10000"}


def start(within: Path) -> Redis:
    """The server of a run.

    Raises:
        MissingError: there is none here.
        FailedError: it does not start.
    """
    return Redis(SETTINGS, within)
