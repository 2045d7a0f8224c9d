"""What is judged of feeds, items and keys: each checker bites, and lets the lawful neighbour pass."""

from dataclasses import replace
from types import SimpleNamespace

from headrace.core.feed import Position
from headrace.core.model import (
    Enqueued,
    FeedWrite,
    NewJob,
    Update,
    UpdateKind,
)
from headrace.core.states import JobState
from headrace.testing.sim import events as e
from headrace.testing.sim.checkers.feeds import FeedsAreWhole
from headrace.testing.sim.checkers.items import ItemsAreKept
from headrace.testing.sim.checkers.keys import Holder, OneHolderPerKey
from tests.simulation.court import JOB, OTHER, Court, item

# -- feeds, items, keys -------------------------------------------------------------------------------


def saw(offset: int, kind: UpdateKind = UpdateKind.STATE, data: str = "{}", reader: str = "r") -> e.Saw:
    return e.Saw(reader, JOB, Update(offset, kind, 0, data, 0.0))


def stood(offset: int, *, recovered: bool, reader: str = "r") -> e.Stood:
    return e.Stood(reader, JOB, Position("e", offset), recovered)


def test_a_reader_misses_nothing_and_sees_nothing_twice() -> None:
    court = Court(FeedsAreWhole)
    court.enqueue()
    assert court.breaks(saw(1))
    assert court.breaks(stood(1, recovered=True))
    court.tell(stood(1, recovered=False, reader="r"))
    court.broken.clear()
    court.checker._places["r"] = 1  # type: ignore[attr-defined]
    assert court.breaks(saw(3))
    assert court.breaks(saw(1))
    assert not court.breaks(saw(2))
    assert court.breaks(saw(2))
    assert not court.breaks(saw(2, UpdateKind.PROGRESS))
    assert court.breaks(saw(3, UpdateKind.PROGRESS))
    assert not court.breaks(saw(3, UpdateKind.END))
    assert court.breaks(saw(4))
    assert court.breaks(saw(3, UpdateKind.PROGRESS))


def test_a_reader_that_comes_back_goes_on_where_it_was() -> None:
    court = Court(FeedsAreWhole)
    court.enqueue()
    court.tell(stood(1, recovered=False))
    court.tell(saw(2))
    assert not court.breaks(stood(2, recovered=True))
    assert court.breaks(stood(2, recovered=False))
    assert court.breaks(stood(1, recovered=True))


def test_all_readers_are_told_the_same() -> None:
    court = Court(FeedsAreWhole)
    court.enqueue()
    court.tell(stood(1, recovered=False))
    court.tell(stood(1, recovered=False, reader="s"))
    court.tell(saw(2, UpdateKind.END))
    assert court.breaks(saw(2, UpdateKind.STATE, reader="s"))
    court.cancel()
    court.retry()
    court.tell(stood(1, recovered=False, reader="t"))
    assert not court.breaks(saw(2, UpdateKind.STATE, reader="t"))  # a former end
    court.tell(stood(1, recovered=False, reader="u"))
    assert court.breaks(saw(2, UpdateKind.LOG, reader="u"))


def test_the_feed_in_the_store_is_whole_and_every_reader_saw_its_end() -> None:
    court = Court(FeedsAreWhole)
    court.running_job()
    court.settle()
    court.readers.append(SimpleNamespace(name="r", job=JOB))
    assert not court.drains()
    (_, _, end) = court.server.apply("read_updates", (JOB, 0, 10), {}).updates
    court.tell(stood(2, recovered=False))
    court.tell(e.Saw("r", JOB, end))
    assert court.drains()
    court.server.backend._board.rows[JOB].offset += 1
    assert not court.drains()


def test_a_feed_grows_only_under_the_fence_that_holds_the_job() -> None:
    court = Court(ItemsAreKept)
    court.running_job()
    write = FeedWrite(JOB, 1, UpdateKind.ITEM, item(1, 0), "a")
    assert court.breaks(e.Appended(write, None))
    assert court.breaks(e.Appended(replace(write, fence=2), 3))
    assert not court.breaks(e.Appended(replace(write, fence=2), None))
    court.server.apply("append", ((write,),), {})
    assert not court.breaks(e.Appended(write, 3))
    assert court.breaks(e.Appended(write, 4))  # the key again
    assert court.breaks(e.Appended(replace(write, key=None), 3))  # its place again
    court.settle()
    assert court.breaks(e.Appended(replace(write, key="b"), 5))


def test_a_durable_item_is_in_the_feed() -> None:
    court = Court(ItemsAreKept)
    court.running_job()
    court.server.apply("append", ((FeedWrite(JOB, 1, UpdateKind.ITEM, item(1, 0), "a"),),), {})
    court.tell(e.Emitted(JOB, 1, "a", 0))
    assert court.drains()
    court.tell(e.Emitted(JOB, 1, "b", 1))
    assert not court.drains()


def test_the_feed_has_no_other_items_than_were_written() -> None:
    court = Court(ItemsAreKept)
    court.running_job()
    court.server.apply("append", ((FeedWrite(JOB, 1, UpdateKind.ITEM, item(1, 0), "a"),),), {})
    row = court.server.backend._board.rows[JOB]
    row.keep(UpdateKind.LOG, "{}", 0.0)
    assert not court.drains()
    row.kept.clear()
    assert not court.drains()


def test_an_enqueue_with_a_held_key_lands_on_its_holder() -> None:
    court = Court(OneHolderPerKey)
    court.enqueue(key="k", key_digest="one")
    new = NewJob(OTHER, "t", "q", "{}", key="k", key_digest="one")
    lands, adds = Enqueued(JOB, JobState.READY, 1, created=False), Enqueued(OTHER, JobState.READY, 1, created=True)
    assert not court.breaks(e.Added(new, lands))
    assert court.breaks(e.Added(replace(new, key_digest="other"), lands))
    assert court.breaks(e.Added(new, replace(lands, state=JobState.FAILED)))
    assert court.breaks(e.Added(replace(new, key="l"), lands))
    assert not court.breaks(e.Added(replace(new, key="l"), adds))
    court = Court(OneHolderPerKey)
    court.enqueue(key="k")
    assert court.breaks(e.Added(replace(new, key_digest=""), adds))


def test_a_key_is_free_after_its_retention_and_not_before() -> None:
    court = Court(OneHolderPerKey)
    court.running_job(key="k", key_digest="one")
    court.settle()
    new = NewJob(OTHER, "t", "q", "{}", key="k", key_digest="one")
    lands = Enqueued(JOB, JobState.SUCCEEDED, 3, created=False)
    court.timeline.run(86_000.0)
    assert not court.breaks(e.Added(new, lands))
    court.timeline.run(86_500.0)
    assert court.breaks(e.Added(new, lands))
    assert not court.breaks(e.Added(new, Enqueued(OTHER, JobState.READY, 1, created=True)))


def test_an_id_that_was_seen_is_not_added_again() -> None:
    court = Court(OneHolderPerKey)
    court.enqueue()
    again = NewJob(JOB, "t", "q", "{}")
    assert court.breaks(e.Added(again, Enqueued(JOB, JobState.READY, 1, created=True)))
    assert not court.breaks(e.Added(again, Enqueued(JOB, JobState.READY, 1, created=False)))


def test_an_id_is_known_as_long_as_its_record_is_kept() -> None:
    court = Court(OneHolderPerKey)
    court.running_job()
    again = NewJob(JOB, "t", "q", "{}")
    adds, lands = Enqueued(JOB, JobState.READY, 1, created=True), Enqueued(JOB, JobState.SUCCEEDED, 3, created=False)
    kept_s = court.server.settings.retention_s
    court.timeline.run(2 * kept_s)
    assert court.breaks(e.Added(again, adds))  # it runs: that is never pruned
    court.settle()
    court.timeline.run(3 * kept_s - 1.0)
    assert court.breaks(e.Added(again, adds))
    assert not court.breaks(e.Added(again, lands))
    court.timeline.run(3 * kept_s)
    assert not court.breaks(e.Added(again, adds))
    assert not court.breaks(e.Added(again, lands))  # nobody has pruned it yet
    assert court.breaks(e.Added(again, replace(lands, state=JobState.READY)))
    assert court.breaks(e.Added(again, replace(lands, id=OTHER)))


def test_a_key_that_had_expired_may_be_gone_when_the_clock_was_stepped_back() -> None:
    court = Court(OneHolderPerKey)
    court.running_job(key="k", key_digest="one")
    court.settle()
    new = NewJob(OTHER, "t", "q", "{}", key="k", key_digest="other")
    lands, adds = (
        Enqueued(JOB, JobState.SUCCEEDED, 3, created=False),
        Enqueued(OTHER, JobState.READY, 1, created=True),
    )
    for shown_s, may_be_gone in ((-1.0, False), (0.0, True)):
        court.server.step_s = court.server.settings.key_retention_s + shown_s
        court.server.wall()  # it shows that instant, and may prune by it
        court.server.step_s = 0.0
        assert not court.breaks(e.Added(replace(new, key_digest="one"), lands))
        assert court.breaks(e.Added(new, lands))  # of other arguments, it was refused or added
        assert court.breaks(e.Added(new, replace(lands, id=bytes(16))))
        assert court.breaks(e.Added(new, adds)) is not may_be_gone
        court.checker._holders["t", "k"] = Holder(JOB, "one")  # type: ignore[attr-defined]  # that was not so


def test_a_producer_is_told_what_was_written() -> None:
    court = Court(OneHolderPerKey)
    answer = court.enqueue()
    new = NewJob(JOB, "t", "q", "{}")
    assert not court.breaks(e.Acknowledged(new, answer))
    assert court.breaks(e.Acknowledged(new, replace(answer, offset=2)))
    assert court.breaks(e.Acknowledged(replace(new, id=OTHER), answer))
