"""The settings page is what `settings.py` says."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from headrace.cli.settings import GROUPS, PAGE_COMMAND, page, settings_command
from headrace.settings import Settings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), f"mend it with: {PAGE_COMMAND}"


def test_every_setting_is_explained_and_in_a_section() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
    assert next(iter(Settings.model_fields)) in GROUPS
    assert set(GROUPS) <= set(Settings.model_fields)


@pytest.mark.parametrize("name", ["store", "listen_url", "notifier"])
def test_no_listing_has_a_password(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"HEADRACE_{name.upper()}", "postgresql://ada:s3cret@host/shop")
    told = CliRunner().invoke(settings_command)
    assert told.exit_code == 0
    assert "ada:…@host" in told.output
    assert "s3cret" not in told.output
