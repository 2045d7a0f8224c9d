"""Takes a safeguard out of the running program: edits of functions and of SQL texts, undone at the end.

An edit names the text that it replaces, and fails where that text is not found exactly once: a
mutant that no longer touches anything would prove nothing.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import CodeType, FunctionType

from headrace.stores.sqlite.sql import QUERIES


class NotFound(Exception):
    """What an edit replaces is not there: the code has moved on, and the mutant must follow."""


@dataclass(frozen=True)
class Edit:
    """Replaces parts of one function's source: `place` is `package.module:Class.method`."""

    place: str
    changes: tuple[tuple[str, str], ...]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The function does it differently for now, wherever it was imported to."""
        function = find(self.place)
        before = function.__code__
        function.__code__ = self._compiled(function)
        try:
            yield
        finally:
            function.__code__ = before

    def _compiled(self, function: FunctionType) -> CodeType:
        source = textwrap.dedent(inspect.getsource(function))
        for old, new in self.changes:
            if source.count(old) != 1:
                raise NotFound(f"{self.place} has {source.count(old)} times: {old}")
            source = source.replace(old, new)
        module = compile(source, f"<mutant of {self.place}>", "exec")
        codes = [code for code in _codes(module) if code.co_name == function.__name__]
        if not codes or codes[0].co_freevars != function.__code__.co_freevars:
            raise NotFound(f"{self.place} cannot be edited: it is no plain function or method")
        return codes[0]


def _codes(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def find(place: str) -> FunctionType:
    """A function, a method, or what stands behind a property."""
    module, _, path = place.partition(":")
    found: object = import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    found = getattr(found, "__wrapped__", found)  # of a context manager
    if not isinstance(found, FunctionType):
        raise NotFound(f"{place} is no function")
    return found


@dataclass(frozen=True)
class Sql:
    """Replaces part of one statement of the SQLite store."""

    name: str
    old: str
    new: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The store's modules hold their statements as constants; each is replaced for now."""
        text = QUERIES[self.name]
        if text.count(self.old) != 1:
            raise NotFound(f"{self.name}.sql has {text.count(self.old)} times: {self.old}")
        other = text.replace(self.old, self.new)
        swapped = [
            (module, name, value)
            for module_name, module in list(sys.modules.items())
            if module_name.startswith("headrace.stores.sqlite")
            for name, value in vars(module).items()
            if value is text or (isinstance(value, tuple) and any(each is text for each in value))
        ]
        if not swapped:
            raise NotFound(f"no module holds {self.name}.sql")
        for module, name, value in swapped:
            setattr(module, name, other if value is text else tuple(other if each is text else each for each in value))
        try:
            yield
        finally:
            for module, name, value in swapped:
                setattr(module, name, value)


Change = Edit | Sql
Applied = Callable[[], AbstractContextManager[None]]


def edit(place: str, *changes: tuple[str, str]) -> Edit:
    """An edit of a function below `headrace`."""
    return Edit(f"headrace.{place}", changes)
