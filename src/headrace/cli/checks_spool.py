"""What `headrace doctor` sees of a spool: its directory, what waits in it, what was set aside or refused.

Every check is a function that says what it saw; none changes anything.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from headrace.cli.checks import SPOOL, Check, fail, ok, warn
from headrace.cli.checks_sqlite import REMOTE, file_system
from headrace.cli.output import size
from headrace.runtime.spool_adopt import belongs
from headrace.runtime.spool_file import ANY_STORE, SUFFIX, Head
from headrace.runtime.spool_look import Found, Rejections, damaged, look, shown

LEFT_S = 60.0  # what a process left for so long, nobody has taken over


def check_spool(directory: Path, here: Head) -> Iterator[Check]:
    """The whole directory; `here` is the store of this app, with its epoch where it could be opened."""
    if not directory.exists():
        yield ok(SPOOL, f"{directory} is made by the first outage")
        return
    if not directory.is_dir() or not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        yield fail(SPOOL, f"{directory} may not be used by this user", f"run as its owner, or `chown` {directory}")
        return
    yield from _check_directory(directory)
    found = list(look(directory))
    yield from _check_files(found, here)
    yield from _check_others(found, here)
    kept = damaged(directory)
    if kept:
        yield fail(SPOOL, f"damaged records are in {shown(kept)}; all others of these files were enqueued",
                   "look at their lines, enqueue what they meant, then delete the files")  # fmt: skip
    refused = Rejections(directory)
    told = refused.read()
    if told:
        yield warn(SPOOL, f"{len(told)} spooled enqueues were refused by the store, the last: {told[-1]['reason']}",
                   f"look at {refused.path}, enqueue what is still wanted, then delete it")  # fmt: skip


def _check_directory(directory: Path) -> Iterator[Check]:
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o077:
        yield warn(SPOOL, f"others on this machine may enter {directory} (mode {mode:o})", f"`chmod 700 {directory}`")
    kind = file_system(directory)
    if kind in REMOTE:
        yield fail(SPOOL, f"{directory} is on a network file system ({kind}), where locks may not hold",
                   "keep it on a local disk")  # fmt: skip


def _check_files(found: list[Found], here: Head) -> Iterator[Check]:
    mine = [each for each in found if each.head is not None and belongs(each.path, each.head, here)]
    if not mine:
        yield ok(SPOOL, "nothing waits in it")
        return
    oldest_s = max(here.made_at - each.head.made_at for each in mine if each.head is not None)
    files = "1 file" if len(mine) == 1 else f"{len(mine)} files"
    said = f"{size(sum(each.bytes for each in mine))} in {files}, the oldest {oldest_s:.0f} s old"
    left = [each for each in mine if not each.alive]
    if left and oldest_s > LEFT_S:
        yield warn(SPOOL, f"{said}; {len(left)} of them were left by processes that are gone",
                   "start the app with this spool: it takes them over")  # fmt: skip
    else:
        yield warn(SPOOL, said, "they are enqueued as soon as the store is back")


def _check_others(found: list[Found], here: Head) -> Iterator[Check]:
    for each in found:
        if each.head is None:
            yield fail(SPOOL, f"{each.path} cannot be read: {each.why}",
                       "look at its lines, enqueue what they meant, then delete it")  # fmt: skip
        elif not belongs(each.path, each.head, here):
            name = each.path.name.removesuffix(SUFFIX)
            yield warn(SPOOL, f"{each.path} is for {each.head.store}, and this app is on {here.store}",
                       "start the app on that store; if its jobs belong into this one,"
                       f" `mv {each.path} {each.path.with_name(name + ANY_STORE)}`")  # fmt: skip
