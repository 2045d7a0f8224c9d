"""The settings page is what `settings.py` says."""

from pathlib import Path

from headrace.cli.settings import GROUPS, PAGE_COMMAND, page
from headrace.settings import Settings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), f"mend it with: {PAGE_COMMAND}"


def test_every_setting_is_explained_and_in_a_section() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
    assert next(iter(Settings.model_fields)) in GROUPS
    assert set(GROUPS) <= set(Settings.model_fields)
