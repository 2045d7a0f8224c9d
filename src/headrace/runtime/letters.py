"""Attempts of jobs that stand for letters: the message is read again, by the rules of today."""

from collections.abc import Callable, Mapping
from typing import Final

from headrace.core.errors import UsageError
from headrace.core.model import Cause, ClaimedJob, Failure, Json
from headrace.ports.post import Post
from headrace.runtime.decoding import Decoder
from headrace.runtime.letter import message_of
from headrace.runtime.payload import Unreadable
from headrace.runtime.registry import TaskDef

TYPE: Final = "headrace.Letter"


class LetterUnread(UsageError):
    """A message that does not fit its task."""

    def __init__(self, source: str, why: str, field: str = "") -> None:
        """`field` is by which part of it; letters alike in it are one group of failures."""
        super().__init__(why)
        self.source = source
        self.field = field

    @property
    def failure(self) -> Failure:
        """As it is kept."""
        fingerprint = f"letter {self.source} {self.field}".rstrip()
        return Failure(TYPE, str(self), Cause.ARGUMENTS, fingerprint=fingerprint)


class Letters:
    """Reads letters for the attempts of a worker."""

    def __init__(self, post: Post, decoders: Callable[[], Mapping[str, Decoder]]) -> None:
        """`decoders` are those of the sources that are defined here, by name."""
        self._post = post
        self._decoders = decoders

    async def args(self, task: TaskDef, job: ClaimedJob) -> Json:
        """The arguments that the letter of a job is now.

        Raises:
            LetterUnread: it is none still; says why.
            StoreUnavailable: it could not be read.
        """
        letter = await self._post.letter(job.id)
        if letter is None:
            raise LetterUnread("", "its message is not kept any more; edit the job, or let it go")
        source = letter.source
        if letter.truncated:
            where = f" (at the broker: {letter.place})" if letter.place else ""
            raise LetterUnread(source, f"{letter.size:,} bytes were too many to be kept{where}", "size")
        decoder = self._decoders().get(source)
        if decoder is None or decoder.task is not task:
            raise LetterUnread(source, f"no hr.on of this task takes from {source} here", "source")
        try:
            return decoder.read(message_of(job.args, letter))
        except Unreadable as error:
            raise LetterUnread(source, str(error), error.field) from None
