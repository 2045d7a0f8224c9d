"""The one fixture that an application defines; the plugin's `headrace` builds on it."""

import pytest

from headrace import Headrace

from .billing import hr

pytest_plugins = ["headrace.testing.plugin"]


@pytest.fixture
def headrace_app() -> Headrace:
    """The application's Headrace."""
    return hr
