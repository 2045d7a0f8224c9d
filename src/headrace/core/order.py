"""Which lane a key of `ordered_by` goes to: equal keys share one, for ever.

Invariant: the answer depends on the key's text and the number of lanes alone, in every version and process; jobs of
one key that wait in two lanes would pass each other.
"""

from enum import Enum
from typing import Final
from zlib import crc32

from headrace.core.checks import whole

LANES: Final = 64
LANES_MAX: Final = 256


class MessageKey(Enum):
    """A key that is not among the arguments."""

    MESSAGE_KEY = "the key of the message that a job is made of"


MESSAGE_KEY: Final = MessageKey.MESSAGE_KEY
"""As `ordered_by=`: by the key that a source's messages carry. A job of no message has the key \"\"."""


def bucket_of(key: str, lanes: int = LANES) -> int:
    """The bucket of a key, from 0 to `lanes` - 1."""
    return crc32(key.encode("utf-8", "surrogatepass")) % lanes


def lane_of(key: str, lanes: int = LANES) -> str:
    """The bucket as the key of a lane: two hexadecimal digits."""
    return f"{bucket_of(key, lanes):02x}"


def checked_lanes(lanes: int) -> int:
    """How many lanes an ordered task may have.

    Raises:
        InvalidConfig: not a whole number from 1 to 256.
    """
    return whole("ordered_lanes", lanes, least=1, most=LANES_MAX)
