"""What the harness must know of a peer: where it keeps its jobs, how its worker is started, what a crash costs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to start a worker.

    In the command `{bin}` and `{folder}` stand for the peer's environment, `{name}` for a name of its own.
    """

    text: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    """How many processes of one worker run jobs."""


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    title: str
    server: str
    environment: str
    """Its requirements file; `own` for Headrace, `node:` and a folder for a Node peer."""
    module: str
    """What the producer loads; of a Node peer, the program that is the producer."""
    package: str
    best: Setting
    durability: str
    rate: int
    """About how many no-op jobs one worker ends in a second: sizes the first backlog."""
    default: Setting | None = None
    """Its own defaults, where they differ much from the best setting."""
    sleeping: Setting | None = None
    """The best setting for jobs that wait, where it is another one."""
    sustained: Setting | None = None
    """What works beside a producer, where the best setting stands still there."""
    kill: Setting | None = None
    """What is killed, where its documentation names another setting for that."""
    language: str = "python"

    @property
    def others(self) -> Mapping[str, Setting]:
        """The settings beside the best, by what they are for."""
        named = {"default": self.default, "sleeping": self.sleeping, "sustained": self.sustained, "kill": self.kill}
        return {kind: setting for kind, setting in named.items() if setting is not None}
