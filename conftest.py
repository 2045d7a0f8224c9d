"""Runs the Python blocks of the README and of the pages under docs, as a reader would paste them.

The blocks of one page run in order and share their names. A block may `await` at its top level; all those of a page run
on one event loop, in an empty directory, so that what a page starts is still there in its next block.
"""

import ast
import asyncio
import inspect
from contextlib import ExitStack, chdir
from tempfile import TemporaryDirectory
from types import CodeType
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

stacks: dict[int, tuple[ExitStack, asyncio.Runner]] = {}
"""What each open page has to give back, and its event loop, by the identity of its names."""


def compiled(example: Example) -> CodeType:
    """The block's code, with the line numbers of its page, so that a traceback points into the page."""
    lines = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    code = compile(lines, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


def evaluate(example: Example) -> None:
    """Run one block in the names of its page."""

    async def block() -> None:
        waits = eval(compiled(example), example.namespace)
        if inspect.isawaitable(waits):
            await waits

    stacks[id(example.namespace)][1].run(block())


def begin(namespace: dict[str, Any]) -> None:
    """Open a page."""
    stack = ExitStack()
    stack.enter_context(chdir(stack.enter_context(TemporaryDirectory(prefix="headrace-page-"))))
    stacks[id(namespace)] = stack, stack.enter_context(asyncio.Runner())
    namespace["__name__"] = "page"


def end(namespace: dict[str, Any]) -> None:
    """Close a page: its event loop, then its directory."""
    stacks.pop(id(namespace))[0].close()


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=evaluate), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    excludes=["docs/adr/*.md"],
    setup=begin,
    teardown=end,
).pytest()
