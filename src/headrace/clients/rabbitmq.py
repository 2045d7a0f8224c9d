"""aiormq, which aio-pika is made of: who is not let in, and how often a silent connection is felt."""

from typing import Final

from aiormq.exceptions import AuthenticationError, InvalidFrameError, ProbableAuthenticationError

HEARTBEAT_S: Final = 10
_ENTRY_REFUSED: Final = (AuthenticationError, ProbableAuthenticationError, InvalidFrameError)
"""The last is how the client takes it that there is no such virtual host, or not for this user."""


def refuses(error: BaseException) -> bool:
    """Whether the server does not let us in."""
    return isinstance(error, _ENTRY_REFUSED) or str(error).startswith(("ACCESS_REFUSED", "NOT_ALLOWED"))
