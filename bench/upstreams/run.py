"""One run: how much it does, its servers, what it found."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.servers import postgres
from bench.run import Value
from bench.upstreams.scale import Scale
from servers.postgres import Postgres


@dataclass(slots=True)
class Run:
    """Figures go into `keys`; PostgreSQL is started when it is first asked for."""

    root: Path
    scale: Scale
    stack: contextlib.ExitStack
    keys: dict[str, Value] = field(default_factory=dict)
    _postgres: Postgres | None = None
    _folders: int = 0

    @property
    def postgres(self) -> Postgres:
        """A durable server of this run's own."""
        if self._postgres is None:
            self._postgres = self.stack.enter_context(postgres.start(self.root))
            self.keys["postgres.version"] = self._postgres.version
        return self._postgres

    def folder(self, name: str) -> Path:
        """A new, empty place."""
        self._folders += 1
        folder = self.root / f"{self._folders:02}-{name}"
        folder.mkdir()
        return folder

    def put(self, name: str, value: Value, digits: int = 3) -> None:
        """Keep one figure, in as many digits as it deserves."""
        self.keys[name] = round(value, digits) if isinstance(value, float) else value
        print(f"  {name} = {self.keys[name]}", flush=True)
