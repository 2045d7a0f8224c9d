"""Numbered migrations of a store's schema: which there are, which it had, which are to come.

The first line of each names its phase. `-- phase: expand` only adds: programs of before go on with it, and it may be
applied while they are at work. `-- phase: contract` takes away or changes what programs of before may use; if it says
`, compatible_from: 7`, programs that know migration 7 no longer use it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Final

from headrace.core.errors import SchemaMismatch

_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_PHASE: Final = re.compile(r"-- phase: (expand|contract)(?:, compatible_from: (\d+))?")
_MADE: Final = re.compile(
    r"^(CREATE|DROP) (?:UNIQUE )?(?:TABLE|INDEX|SEQUENCE|FUNCTION) (?:IF (?:NOT )?EXISTS )?(headrace_\w+)", re.MULTILINE
)
_RELEASE: Final = re.compile(r"\d+(?:\.\d+)*")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema."""

    number: int
    name: str
    sql: str

    def __str__(self) -> str:
        return f"{self.number:04d} {self.name}"

    @property
    def expands(self) -> bool:
        """Whether it only adds; one that does not say so may take away."""
        return self._head()[0] == "expand"

    def compatible_from(self, before: int) -> int:
        """The migration that programs must know to go on after this one; `before`: to go on until now."""
        phase, stated = self._head()
        return before if phase == "expand" else int(stated or self.number)

    def _head(self) -> tuple[str, str | None]:
        found = _PHASE.fullmatch(self.sql.partition("\n")[0].rstrip())
        return (found[1], found[2]) if found else ("contract", None)


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that a store has had."""

    number: int
    version: str  # of the program that applied it
    compatible_from: int  # the migration that a program must know to go on after this one


@dataclass(frozen=True, slots=True)
class Elder:
    """A living worker of an older version."""

    id: str
    host: str
    pid: int
    version: str

    def __str__(self) -> str:
        return f"{self.id} (headrace {self.version or 'of an unknown version'}, pid {self.pid} on {self.host})"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a store has (0: nothing of ours), what this version wants, and the steps between."""

    found: int
    wanted: int
    pending: tuple[Migration, ...]
    found_version: str = ""
    compatible_from: int = 1

    @property
    def lacking(self) -> tuple[Migration, ...]:
        """The steps without which this version cannot run: what only takes away can wait."""
        return tuple(migration for migration in self.pending if migration.expands or not self.found)

    def check_newer(self, where: str) -> None:
        """Refuse a schema with which this version cannot go on.

        Raises:
            SchemaMismatch: the message says which version can.
        """
        if self.compatible_from > self.wanted:
            raise SchemaMismatch(
                f"{where} has schema {self.found}, made by headrace {self.found_version or 'of a newer version'}; "
                f"this version knows up to {self.wanted}: install headrace >= {self.found_version or 'that version'}"
            )

    def check(self, where: str) -> None:
        """Refuse a schema with which this version cannot run.

        Raises:
            SchemaMismatch: older or newer; the message says what mends it.
        """
        self.check_newer(where)
        if self.lacking:
            raise SchemaMismatch(
                f"{where} has schema {self.found}, this version of headrace wants {self.wanted}: run `headrace migrate`"
            )


@dataclass(frozen=True, slots=True)
class Migrated:
    """What came of applying a plan."""

    before: Plan
    applied: tuple[Migration, ...]
    waiting: tuple[Migration, ...] = ()  # for workers of an older version to end
    elders: tuple[Elder, ...] = ()  # these

    @property
    def found(self) -> int:
        """The number of the last migration that the store has had now."""
        return max((self.before.found, *(migration.number for migration in self.applied)))

    @property
    def lacking(self) -> tuple[Migration, ...]:
        """What waits, although this version cannot run without it: it is behind a step that takes away."""
        return tuple(migration for migration in self.waiting if migration.expands)


def migrations(package: str) -> tuple[Migration, ...]:
    """Every migration of this version in `migrations/` of a package, in order."""
    found = [
        Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8"))
        for entry in files(package).joinpath("migrations").iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    return tuple(sorted(found, key=lambda migration: migration.number))


def made(steps: Sequence[Migration]) -> set[str]:
    """The tables, indexes, sequences and functions that there must be after these."""
    names: set[str] = set()
    for migration in steps:
        for verb, name in _MADE.findall(migration.sql):
            (names.add if verb == "CREATE" else names.discard)(name)
    return names


def compared(known: tuple[Migration, ...], applied: Sequence[Applied]) -> Plan:
    """The plan of a store that has had these, in order."""
    numbers = {each.number for each in applied}
    pending = tuple(migration for migration in known if migration.number not in numbers)
    if not applied:
        return Plan(0, known[-1].number, pending)
    last = applied[-1]
    return Plan(last.number, known[-1].number, pending, last.version, max(each.compatible_from for each in applied))


def records(plan: Plan, steps: Sequence[Migration]) -> Iterator[tuple[Migration, Applied]]:
    """What is to be written down of each step when it is applied after the plan's own."""
    compatible_from = plan.compatible_from
    for migration in steps:
        compatible_from = max(compatible_from, migration.compatible_from(compatible_from))
        yield migration, Applied(migration.number, program_version(), compatible_from)


def ready(plan: Plan, elders: Sequence[Elder]) -> tuple[Migration, ...]:
    """The pending steps that may be applied now: all before the first that could break an elder."""
    if not elders or not plan.found:
        return plan.pending
    steps: list[Migration] = []
    for migration in plan.pending:
        if not migration.expands:
            break
        steps.append(migration)
    return tuple(steps)


def script(plan: Plan, steps: Sequence[Migration], now: str, epoch: str) -> list[str]:
    """The SQL of these steps and of the record of each; `now` is the instant in the store's SQL."""
    lines: list[str] = []
    for migration, record in records(plan, steps):
        values = f"{record.number}, '{migration.name}', {now}, '{record.version}', {record.compatible_from}"
        lines += [
            f"\n-- {migration}",
            migration.sql.rstrip(),
            "INSERT INTO headrace_schema_migration (number, name, applied_at, version, compatible_from)",
            f"VALUES ({values});",
        ]
    if not plan.found:
        lines.append(f"INSERT INTO headrace_meta (key, value) VALUES ('epoch', '{epoch}');")  # noqa: S608 - ours
    return lines


def is_elder(of_worker: str, of_program: str) -> bool:
    """Whether a worker's version is older than the program's, or cannot be told not to be."""
    return of_worker != of_program and _release(of_worker) <= _release(of_program)


def _release(text: str) -> tuple[int, ...]:
    found = _RELEASE.match(text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def program_version() -> str:
    """Of this program, as its migrations are signed."""
    try:
        return version("headrace")
    except PackageNotFoundError:
        return ""
