"""A second machine, as far as the network goes: a namespace of Linux, with one cable to this one that can be cut."""

import os
import shutil
import subprocess
from types import TracebackType
from typing import Final, Self

from servers.server import MissingError


class Machine:
    """A network namespace with its cable; a context manager that takes both away.

    From inside it this machine is `host`, and nothing else can be reached. A cut cable says nothing to
    either side: what was open stays open, and whatever is sent is lost.
    """

    def __init__(self) -> None:
        """Make it.

        Raises:
            MissingError: that needs Linux, root and the program `ip`.
        """
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise MissingError("network namespaces (these need Linux, root and `ip`, of the package iproute2)")
        number = os.getpid() % 16_384  # a process makes one at a time
        net = f"10.213.{number // 64}.{4 * (number % 64)}"
        first, last = net.rsplit(".", 1)
        self.host: Final = f"{first}.{int(last) + 1}"
        self.address: Final = f"{first}.{int(last) + 2}"
        self._name: Final = f"headrace-{os.getpid()}"
        self._cable: Final = f"hr{number}a"
        there = f"hr{number}b"
        try:
            _ip("netns", "add", self._name)
            _ip("link", "add", self._cable, "type", "veth", "peer", "name", there, "netns", self._name)
            _ip("addr", "add", f"{self.host}/30", "dev", self._cable)
            _ip("link", "set", self._cable, "up")
            for words in (["addr", "add", f"{self.address}/30", "dev", there], ["link", "set", there, "up"]):
                _ip("-n", self._name, *words)
            _ip("-n", self._name, "link", "set", "lo", "up")
        except MissingError:
            self.remove()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()

    @property
    def prefix(self) -> list[str]:
        """What stands before a command that is to run there; the process is the command's own."""
        return ["ip", "netns", "exec", self._name]

    def cut(self) -> None:
        """Nothing gets through any more."""
        _ip("link", "set", self._cable, "down")

    def mend(self) -> None:
        """Everything gets through again."""
        _ip("link", "set", self._cable, "up")

    def remove(self) -> None:
        """Take it away; processes that run there keep a namespace without a name, and no cable."""
        for words in (["link", "del", self._cable], ["netns", "del", self._name]):
            subprocess.run(["ip", *words], capture_output=True, check=False)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingError(f"network namespaces (`ip {' '.join(words)}` says: {done.stderr.strip()})")
