"""What the commands log, to stderr: short for a person, with full instants in a pipe."""

import logging
import sys
from typing import Final

from headrace.cli.output import rfc3339

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

CLIENTS: Final = ("aio_pika", "aiormq", "aiokafka", "nats")
"""Of brokers: what they log of a lost connection, with tracebacks, is told in a line by what uses them."""


class Lines(logging.Formatter):
    """`<when> <level> <logger>[<pid>]: <message>`, and the traceback after it."""

    def __init__(self, *, person: bool) -> None:
        """`person`: only the time of day, and no process id."""
        super().__init__(
            "%(asctime)s %(lowname)s %(name)s: %(message)s"
            if person
            else "%(asctime)s %(lowname)s %(name)s[%(process)d]: %(message)s",
            datefmt="%H:%M:%S",
        )
        self._person = person

    def format(self, record: logging.LogRecord) -> str:
        """Levels in small letters."""
        record.lowname = record.levelname.lower()
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """A time of day, or RFC 3339."""
        return super().formatTime(record, datefmt) if self._person else rfc3339(record.created) or ""


def to_stderr(level: str) -> None:
    """Log from `level` on, unless the user's code has set up logging of its own. Clients log where all is told only."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(person=sys.stderr.isatty()))
    root.addHandler(handler)
    root.setLevel(LEVELS.get(level, logging.INFO))
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)
