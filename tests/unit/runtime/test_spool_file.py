"""A spool's file: any prefix of it yields its whole records, damage is seen, and a live writer's file is not taken."""

import os
import stat
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.core.model import NewJob
from headrace.runtime.spool_file import (
    Head,
    SpoolFile,
    Unreadable,
    frame,
    job_record,
    lines,
    read_jobs,
    unframe,
)

HEAD = Head("sqlite:////srv/jobs.db", "0a1b2c3d", 1_700_000_000.0)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
some_jobs = st.builds(
    NewJob,
    id=st.binary(min_size=16, max_size=16),
    task=texts,
    queue=texts,
    args=texts,
    priority=st.integers(-1000, 1000),
    run_at=st.none() | st.floats(0, 4e9),
    timeout_s=st.floats(0.001, 1e6),
    deadline_at=st.none() | st.floats(0, 4e9),
    max_attempts=st.integers(1, 1000),
    key=st.none() | texts,
    key_digest=texts,
    tags=st.lists(texts, max_size=3).map(tuple),
    signature=texts,
    traceparent=st.none() | texts,
)
records = st.lists(some_jobs, min_size=1, max_size=3).map(tuple)


def job(number: int, **given: object) -> NewJob:
    return NewJob(number.to_bytes(16), "charge", "default", f'{{"n":{number}}}', **given)  # type: ignore[arg-type]


def written(path: Path, *groups: tuple[NewJob, ...]) -> SpoolFile:
    file, _ = SpoolFile.create(path, HEAD, b"".join(job_record(group) for group in groups))
    return file


def read(path: Path) -> list[tuple[NewJob, ...]]:
    file = SpoolFile.take(path)
    assert file is not None
    try:
        return [record.jobs for record in file.records(file.at, file.size)]
    finally:
        file.close()


@given(records)
def test_every_job_comes_back_as_it_was(jobs: tuple[NewJob, ...]) -> None:
    assert read_jobs(job_record(jobs)) == jobs


def test_every_field_of_a_new_job_is_kept_but_one() -> None:
    whole = {each.name: getattr(job(1), each.name) for each in fields(NewJob)}
    told = NewJob(**(whole | {"lane_key": "tenant", "fresh": True}))
    (back,) = read_jobs(job_record([told])) or ()
    assert back.lane_key == "tenant"
    assert not back.fresh  # it may have landed: the id must be looked for


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_any_prefix_yields_the_records_that_are_whole(
    tmp_path: Path, groups: list[tuple[NewJob, ...]], data: st.DataObject
) -> None:
    path = tmp_path / "1.000001.spool"
    file = written(path, *groups)
    file.close()
    whole = path.read_bytes()
    head = whole.index(b"\n") + 1
    cut = data.draw(st.integers(head, len(whole)))
    path.write_bytes(whole[:cut])
    ends = [at + len(line) for line, at in lines(whole)][1:]
    assert read(path) == [group for group, end in zip(groups, ends, strict=True) if end <= cut]
    path.unlink()


@settings(max_examples=60)
@given(records, st.data())
def test_a_changed_line_is_no_record(jobs: tuple[NewJob, ...], data: st.DataObject) -> None:
    line = bytearray(job_record(jobs))
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    assert all(read_jobs(part) is None for part, _ in lines(bytes(line)))


def test_damage_in_the_middle_is_seen_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "1.000001.spool"
    written(path, (job(1),), (job(2),), (job(3),)).close()
    whole = bytearray(path.read_bytes())
    whole[whole.index(b'\\"n\\":2') + 6] ^= 1
    path.write_bytes(whole)
    file = SpoolFile.take(path)
    assert file is not None
    assert [record.jobs for record in file.records(file.at, file.size)] == [(job(1),), (), (job(3),)]
    assert file.damaged
    file.set_aside()
    file.remove()
    assert [kept.name for kept in tmp_path.iterdir()] == ["1.000001.spool.damaged"]


def test_a_torn_end_is_measured_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "1.000001.spool"
    written(path, (job(1),)).close()
    with path.open("ab") as file:
        file.write(job_record([job(2)])[:-1] + bytes(10))
    taken = SpoolFile.take(path)
    assert taken is not None
    assert taken.torn_bytes == len(job_record([job(2)])) - 1 + 10
    assert not taken.damaged
    taken.close()
    assert read(path) == [(job(1),)]


def test_a_writer_that_lives_keeps_its_file(tmp_path: Path) -> None:
    path = tmp_path / "1.000001.spool"
    file = written(path, (job(1),))
    assert SpoolFile.take(path) is None
    file.close()
    taken = SpoolFile.take(path)
    assert taken is not None
    assert SpoolFile.take(path) is None
    taken.remove()
    assert not path.exists()


def test_only_its_user_may_read_it(tmp_path: Path) -> None:
    file = written(tmp_path / "1.000001.spool", (job(1),))
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.close()


def test_what_could_not_be_written_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "1.000001.spool", (job(1),))
    before, real = file.path.read_bytes(), os.pwrite

    def half(descriptor: int, data: bytes, at: int) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[: len(data) // 2], at)

    monkeypatch.setattr("os.pwrite", half)
    with pytest.raises(OSError, match="No space"):
        file.append(job_record([job(2)]))
    assert file.path.read_bytes() == before
    assert file.sealed  # the next record begins a file of its own
    file.close()


def test_records_are_read_a_few_at_a_time_and_at_least_one(tmp_path: Path) -> None:
    file = written(tmp_path / "1.000001.spool", (job(1),), (job(2),), (job(3),))
    first = file.records(file.at, 1)
    assert [record.jobs for record in first[:1]] == [(job(1),)]
    assert [record.jobs for record in file.records(first[0].end, 1 << 20)] == [(job(2),), (job(3),)]
    file.close()


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"", "damaged"),
        (b"nonsense\n", "damaged"),
        (frame({"version": 1}), "damaged"),
        (frame({"version": 2, "store": "s", "epoch": "", "made_at": 0}), "version 2"),
    ],
)
def test_a_head_that_cannot_be_read_is_refused(tmp_path: Path, first: bytes, why: str) -> None:
    path = tmp_path / "1.000001.spool"
    path.write_bytes(first)
    with pytest.raises(Unreadable, match=why):
        SpoolFile.take(path)


def test_a_file_belongs_to_an_epoch_or_else_to_an_address() -> None:
    here = Head("postgresql://db/shop", "aaaa", 0)
    assert Head("sqlite:////old.db", "aaaa", 0).fits(here)  # its jobs have moved here
    assert not Head("postgresql://db/shop", "bbbb", 0).fits(here)
    assert Head("postgresql://db/shop", "", 0).fits(here)
    assert not Head("postgresql://db/other", "", 0).fits(here)


def test_frames_carry_any_text() -> None:
    assert unframe(frame({"a": 'ü\n"\u2028'})) == {"a": 'ü\n"\u2028'}
    assert unframe(b"") is None
