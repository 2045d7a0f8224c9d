"""The pytest plugin: fixture `headrace`, the app's own Headrace on an empty memory store.

Define the fixture `headrace_app` in your `conftest.py`, returning your Headrace.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.app import Headrace


@pytest.fixture
def headrace_app() -> "Headrace":
    """Your Headrace; define this fixture yourself."""
    raise pytest.UsageError("define a fixture `headrace_app` that returns your Headrace")


@pytest.fixture
def headrace(headrace_app: "Headrace") -> "Iterator[Headrace]":
    """Your Headrace on an empty memory store, for this test."""
    from headrace.testing.memory import memory

    with memory(headrace_app):
        yield headrace_app
