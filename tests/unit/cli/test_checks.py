"""What the doctor sees before the store is opened."""

import os
import resource
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from headrace.cli import checks, checks_sqlite
from headrace.cli.checks import Check, Grade, check_variables
from headrace.cli.checks_sqlite import check_file, check_side_directory, check_sqlite_version


def grades(found: list[Check]) -> dict[str, Grade]:
    return {check.name: check.grade for check in found}


def the(found: list[Check], name: str) -> Check:
    return next(check for check in found if check.name == name)


@pytest.mark.parametrize(
    ("version", "grade"),
    [
        ((3, 34, 1), Grade.FAIL),
        ((3, 40, 1), Grade.WARN),
        ((3, 44, 5), Grade.WARN),
        ((3, 44, 6), Grade.OK),
        ((3, 50, 7), Grade.OK),
        ((3, 51, 2), Grade.WARN),
        ((3, 51, 3), Grade.OK),
    ],
)
def test_the_wal_reset_bug_is_known_by_version(version: tuple[int, ...], grade: Grade) -> None:
    (check,) = check_sqlite_version(version)
    assert check.grade is grade


def test_a_misspelt_variable_is_named_with_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_STROE", "x")
    monkeypatch.setenv("HEADRACE_WORKER_ID", "w_1")
    (check,) = check_variables()
    assert check.grade is Grade.WARN
    assert "HEADRACE_STROE" in check.saw
    assert check.mend == "did you mean HEADRACE_STORE?"


@pytest.mark.parametrize(("soft", "grade"), [(64, Grade.FAIL), (512, Grade.WARN), (4096, Grade.OK), (-1, Grade.OK)])
def test_the_limit_of_open_files(soft: int, grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, resource.RLIM_INFINITY))
    (check,) = checks.check_files_limit()
    assert check.grade is grade


def test_a_missing_directory(tmp_path: Path) -> None:
    (check,) = check_file(tmp_path / "gone" / "a.db")
    assert (check.grade, check.mend) == (Grade.FAIL, f"`mkdir -p {tmp_path / 'gone'}`")


def test_a_database_that_is_not_there_yet(tmp_path: Path) -> None:
    found = list(check_file(tmp_path / "a.db"))
    assert the(found, "database file").grade is Grade.WARN
    assert "headrace migrate" in the(found, "database file").mend


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("id,name\n1,two\n")
    check = the(list(check_file(path)), "database file")
    assert check.grade is Grade.FAIL
    assert "not a SQLite database" in check.saw


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    assert the(list(check_file(tmp_path)), "database file").grade is Grade.FAIL


@pytest.mark.parametrize(
    ("mode", "grade"), [(0o600, Grade.OK), (0o640, Grade.OK), (0o644, Grade.WARN), (0o666, Grade.FAIL)]
)
def test_who_may_read_the_file(tmp_path: Path, mode: int, grade: Grade) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(checks_sqlite.SQLITE_HEAD)
    path.chmod(mode)
    assert the(list(check_file(path)), "file rights").grade is grade


def test_a_log_that_has_grown(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(checks_sqlite.SQLITE_HEAD)
    path.chmod(0o600)
    with (tmp_path / "a.db-wal").open("wb") as wal:
        wal.truncate(checks_sqlite.WAL_BIG_BYTES + 1)
    check = the(list(check_file(path)), "database file")
    assert check.grade is Grade.WARN
    assert "256.0 MiB" in check.saw


@pytest.mark.parametrize(("free", "grade"), [(1, Grade.FAIL), (100 << 20, Grade.WARN), (1 << 40, Grade.OK)])
def test_room_on_the_disk(tmp_path: Path, free: int, grade: Grade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert the(list(check_file(tmp_path / "a.db")), "disk").grade is grade


def test_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_sqlite, "file_system", lambda _: "nfs4")
    check = the(list(check_file(tmp_path / "a.db")), "directory")
    assert check.grade is Grade.FAIL
    assert "nfs4" in check.saw


@pytest.mark.skipif(not Path("/proc/self/mounts").exists(), reason="the system does not list its mounts in /proc")
def test_the_file_system_of_a_path_is_that_of_its_mount() -> None:
    assert checks_sqlite.file_system(Path("/proc/self")) == "proc"


def test_the_side_directory(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert grades(list(check_side_directory(path))) == {"side directory": Grade.OK}
    side = tmp_path / "a.db-headrace"
    (side / "wake").mkdir(parents=True)
    side.chmod(0o755)
    (open_to_all,) = check_side_directory(path)
    assert (open_to_all.grade, open_to_all.mend) == (Grade.WARN, f"`chmod 700 {side}`")
    side.chmod(0o700)
    os.mkfifo(side / "wake" / "queue-1-a.fifo")
    (fine,) = check_side_directory(path)
    assert fine.grade is Grade.OK
    assert "1 wake-up pipes" in fine.saw
    assert stat.S_IMODE(side.stat().st_mode) == 0o700
