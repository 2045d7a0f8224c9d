"""One reader's place in one feed: what of a page is new to it, and when it needs a snapshot.

Invariant: a reader that applies everything `take` returns has seen each numbered update once and in
order, or was told that its place is lost.
"""

from dataclasses import dataclass

from headrace.core.feed import Position
from headrace.core.model import FeedPage, Update, UpdateKind


@dataclass(frozen=True, slots=True)
class Taken:
    """What a page held for the reader; `lost`: take a snapshot; `more`: read again at once."""

    updates: tuple[Update, ...] = ()
    lost: bool = False
    more: bool = False


class Cursor:
    """Where a reader is; only `advance` moves it."""

    __slots__ = ("_progress", "position")

    def __init__(self, position: Position) -> None:
        """Nothing after `position` was seen."""
        self.position = position
        self._progress: Update | None = None

    def take(self, page: FeedPage) -> Taken:
        """The page's updates that are new, in order; progress comes last, and only at the feed's end."""
        if not self.position.resumes(page.epoch, page.offset):
            return Taken(lost=True)
        news = [update for update in page.updates if update.offset > self.position.offset]
        expected = range(self.position.offset + 1, self.position.offset + 1 + len(news))
        if [update.offset for update in news] != list(expected):
            return Taken(lost=True)
        end = self.position.offset + len(news)
        if end < page.offset:
            return Taken(tuple(news), lost=not news, more=True)
        ended = bool(news) and news[-1].kind is UpdateKind.END
        if page.progress is not None and not ended and self._is_news(page.progress):
            news.append(page.progress)
        return Taken(tuple(news))

    def advance(self, update: Update) -> Position:
        """The reader was given `update`; the position that it keeps. Progress keeps the last one."""
        if update.kind is UpdateKind.PROGRESS:
            self._progress = update
        else:
            self.position = Position(self.position.epoch, update.offset)
        return self.position

    def _is_news(self, progress: Update) -> bool:
        last = self._progress
        if last is None or progress.attempt != last.attempt:
            return last is None or progress.attempt > last.attempt
        return progress.data != last.data and progress.at >= last.at
