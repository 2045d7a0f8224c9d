"""What a worker lets its supervisor read."""

import os
import subprocess
import sys

from headrace.runtime.beat import Beat

CHILD = """
import sys
from headrace.runtime.beat import Beat
beat = Beat.adopt(int(sys.argv[1]))
assert (beat.beat_at, beat.what) == (1.5, "from above")
beat.kill_at, beat.running, beat.what = 123.25, 7, "photo.develop, attempt 2"
"""


def test_it_begins_with_nothing() -> None:
    beat = Beat.create()
    assert (beat.beat_at, beat.kill_at, beat.running, beat.what) == (0.0, 0.0, 0, "")
    beat.close()
    beat.close()


def test_both_processes_see_the_same() -> None:
    beat = Beat.create()
    beat.beat_at, beat.what = 1.5, "from above"
    subprocess.run([sys.executable, "-c", CHILD, str(beat.fd)], pass_fds=[beat.fd], check=True)
    assert (beat.kill_at, beat.running, beat.what) == (123.25, 7, "photo.develop, attempt 2")
    beat.close()


def test_an_adopted_one_goes_no_further() -> None:
    beat = Beat.create()
    assert not os.get_inheritable(beat.fd)
    handed = os.dup(beat.fd)
    os.set_inheritable(handed, True)
    adopted = Beat.adopt(handed)
    assert not os.get_inheritable(adopted.fd)
    adopted.close()
    beat.close()


def test_words_are_cut_to_the_room_there_is() -> None:
    beat = Beat.create()
    beat.what = "é" * 1_000
    assert 50 < len(beat.what) < 1_000
    beat.what = "short"
    assert beat.what == "short"
    beat.close()
