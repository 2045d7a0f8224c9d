"""Numbered migrations of a store's schema: which there are, which it had, which are to come."""

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Final

from headrace.core.errors import SchemaMismatch

_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema."""

    number: int
    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file has (0: nothing of ours), what this version wants, and the steps between."""

    found: int
    wanted: int
    pending: tuple[Migration, ...]
    found_version: str = ""

    def check(self, where: str) -> None:
        """Refuse a schema that is not this version's.

        Raises:
            SchemaMismatch: older or newer; the message says which command mends it.
        """
        if self.found > self.wanted:
            raise SchemaMismatch(
                f"{where} has schema {self.found}, made by headrace {self.found_version or 'of a newer version'}; "
                f"this version knows up to {self.wanted}: install headrace >= {self.found_version or 'that version'}"
            )
        if self.pending:
            raise SchemaMismatch(
                f"{where} has schema {self.found}, this version of headrace wants {self.wanted}: run `headrace migrate`"
            )


def migrations(package: str) -> tuple[Migration, ...]:
    """Every migration of this version in `migrations/` of a package, in order."""
    found = [
        Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8"))
        for entry in files(package).joinpath("migrations").iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    return tuple(sorted(found, key=lambda migration: migration.number))


def compared(known: tuple[Migration, ...], applied: list[tuple[int, str]]) -> Plan:
    """The plan of a store that has had these: number and version of the program, in order."""
    numbers = {number for number, _ in applied}
    pending = tuple(migration for migration in known if migration.number not in numbers)
    found, found_version = applied[-1] if applied else (0, "")
    return Plan(found, known[-1].number, pending, found_version)


def program_version() -> str:
    """Of this program, as its migrations are signed."""
    try:
        return version("headrace")
    except PackageNotFoundError:
        return ""
