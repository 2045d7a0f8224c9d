"""What the doctor says of a spool."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.cli.checks import Check, Grade
from headrace.cli.checks_spool import check_spool
from headrace.core.errors import Conflict
from headrace.core.model import NewJob
from headrace.runtime.spool import Spool
from headrace.runtime.spool_file import Head
from headrace.runtime.spool_look import Rejections

HERE = Head("sqlite:////srv/jobs.db", "0a1b2c3d", 1_700_000_000.0)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def spooled(directory: Path, head: Head = HERE) -> Spool:
    spool = Spool(directory, lambda: head, bytes_max=1 << 20)
    asyncio.run(spool.put([NewJob(bytes(16), "charge", "default", "{}")]))
    return spool


def seen(directory: Path, after_s: float = 0.0) -> Iterator[Check]:
    return check_spool(directory, replace(HERE, made_at=HERE.made_at + after_s))


def test_nothing_yet(directory: Path) -> None:
    (check,) = seen(directory)
    assert check.grade is Grade.OK


def test_a_spool_in_use(directory: Path) -> None:
    spool = spooled(directory)
    (check,) = seen(directory, 90)
    assert check.grade is Grade.WARN
    assert "1 file, the oldest 90 s old" in check.saw
    assert "as soon as the store is back" in check.mend
    spool.close()
    (check,) = seen(directory, 90)
    assert "left by processes that are gone" in check.saw


def test_what_is_of_another_store(directory: Path) -> None:
    spooled(directory, replace(HERE, store="postgresql://db/shop", epoch="ffff")).close()
    nothing, other = seen(directory)
    assert (nothing.grade, other.grade) == (Grade.OK, Grade.WARN)
    assert "is for postgresql://db/shop, and this app is on sqlite:////srv/jobs.db" in other.saw
    source, target = other.mend.partition("`mv ")[2].removesuffix("`").split()
    Path(source).rename(target)
    (check,) = seen(directory)
    assert "1 file," in check.saw


def test_what_was_refused_or_is_damaged(directory: Path) -> None:
    spooled(directory).close()
    (path,) = directory.iterdir()
    (directory / f"{path.name}.damaged").touch()
    path.write_bytes(b"nonsense\n")
    Rejections(directory).add([NewJob(bytes(16), "charge", "default", "{}")], Conflict("the key is taken", b""), 0.0)
    nothing, unreadable, damaged, refused = seen(directory)
    assert nothing.grade is Grade.OK
    assert (unreadable.grade, "first line is damaged" in unreadable.saw) == (Grade.FAIL, True)
    assert (damaged.grade, ".damaged" in damaged.saw) == (Grade.FAIL, True)
    assert (refused.grade, "the last: the key is taken" in refused.saw) == (Grade.WARN, True)


def test_rights(directory: Path) -> None:
    directory.mkdir(0o755)
    check, _ = seen(directory)
    assert check.mend == f"`chmod 700 {directory}`"
