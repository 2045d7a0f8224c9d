"""The page of errors lists every error, under the code that it has on the wire."""

import inspect
import re
from pathlib import Path

from headrace.core import errors

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
BASES = {
    "HeadraceError",
    "UsageError",
    "StoreError",
    "NotifierError",
    "BridgeError",
    "Rejected",
    "JobError",
    "FeedError",
}


def test_every_error_is_on_the_page_with_its_code() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \| `([a-z-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    there = {
        (name, cls.code)
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.HeadraceError) and name not in BASES
    }
    assert listed == there


def test_transient_ones_say_so() -> None:
    for line in PAGE.read_text("utf-8").splitlines():
        found = re.match(r"\| `(\w+)` \|", line)
        if found and getattr(errors, found[1]).transient and not issubclass(getattr(errors, found[1]), errors.Rejected):
            assert "transient" in line
