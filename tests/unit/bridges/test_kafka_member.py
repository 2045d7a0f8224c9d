"""Names of members: nobody's twice, and taken over when their process is gone."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.bridges.kafka.member import Member

HOLDER = """
import sys
from pathlib import Path
from headrace.bridges.kafka.member import Member
member = Member.take("orders", Path(sys.argv[1]))
print(member.name, flush=True)
sys.stdin.read()
"""


def holder(folder: Path) -> "tuple[subprocess.Popen[str], str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_killed_process_leaves_its_name_to_the_next(tmp_path: Path) -> None:
    one, first = holder(tmp_path)
    two, second = holder(tmp_path)
    assert first != second
    one.send_signal(signal.SIGKILL)
    one.communicate()
    three, third = holder(tmp_path)
    assert third == first
    for process in (two, three):
        process.communicate()
    assert Member.take("orders", tmp_path).name == first


def test_in_one_process_two_have_two_names_and_let_go_of_them(tmp_path: Path) -> None:
    one, two = Member.take("orders", tmp_path), Member.take("orders", tmp_path)
    names = {one.name, two.name}
    assert len(names) == 2
    assert Member.take("returns", tmp_path).name == one.name, "of another place, so of another group"
    del one, two
    assert Member.take("orders", tmp_path).name in names


def test_who_sees_other_files_has_other_names(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    assert Member.take("orders", here).name != Member.take("orders", there).name


@pytest.mark.parametrize("how", ["open", "link", "file"])
def test_where_the_files_are_not_ours_the_name_is_random(tmp_path: Path, how: str) -> None:
    name = Member.take("orders", tmp_path).name
    (folder,) = tmp_path.iterdir()
    match how:
        case "open":
            folder.chmod(0o777)
        case "link":
            folder.rename(tmp_path / "elsewhere")
            folder.symlink_to(tmp_path / "elsewhere")
        case _:
            folder.rename(tmp_path / "elsewhere")
            folder.touch()
    found = {Member.take("orders", tmp_path).name for _ in range(3)}
    assert len(found) == 3
    assert name not in found
