"""Listening sockets: bound here, so that a port in use is told in words, and can be handed to a child."""

import errno
import socket
from pathlib import Path
from typing import Final

from headrace.cli.fail import Fail

BACKLOG: Final = 2048
PORT_MAX: Final = 65_535
_LISTENING: Final = "0A"  # TCP_LISTEN, as /proc/net/tcp writes states


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """A listening socket; port 0 takes any that is free. `option` is how its user names another.

    Raises:
        Fail: in use (and by whom, where that can be seen), or not to be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise _explained(error, host, port, option) from error
    made.setblocking(False)
    return made


def _explained(error: OSError, host: str, port: int, option: str) -> Fail:
    if error.errno == errno.EADDRINUSE:
        holder = describe_holder(port)
        free = port + 1 if port < PORT_MAX else 0
        return Fail(f"port {port} is in use{f' by {holder}' if holder else ''}", f"take another, as in {option} {free}")
    if error.errno == errno.EACCES:
        return Fail(f"port {port} needs rights that this user does not have", f"take one above 1023 with {option}")
    return Fail(
        f"cannot listen on {host}: {error.strerror or error}",
        f"name an address of this machine with {option.replace('port', 'host')}",
    )


def describe_holder(port: int) -> str:
    """Which process listens on a TCP port of this machine; empty where that cannot be seen."""
    inodes = _listening_inodes(port)
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            held = any(str(fd.readlink()) in wanted for fd in (folder / "fd").iterdir())
        except OSError:
            continue
        if held:
            return f"process {folder.name} ({_command(folder)})"
    return "a process of another user"


def _listening_inodes(port: int) -> set[str]:
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            words = row.split()
            if words[3] == _LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                found.add(words[9])
    return found


def _command(folder: Path) -> str:
    try:
        words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "gone by now"
    return " ".join([Path(words[0]).name, *words[1:4]]).strip()


def address(listening: socket.socket) -> str:
    """The URL that a browser on this machine opens."""
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - shown
    return f"http://{shown}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
