"""What a pipe reads: aligned plain text, no escape, instants in full."""

import json

import pytest

from headrace.cli import output

ROWS = [("a", 1, None), ("bcd", 2.5, True)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0ms"),
        (0.0421, "42ms"),
        (3.14, "3.1s"),
        (59.9, "60s"),
        (61, "1m01s"),
        (3 * 3600 + 125, "3h02m"),
        (3 * 86_400 + 5, "3d"),
    ],
)
def test_a_duration_in_words(seconds: float, text: str) -> None:
    assert output.span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")]
)
def test_a_size_in_words(count: int, text: str) -> None:
    assert output.size(count) == text


def test_an_instant_is_rfc_3339_in_utc() -> None:
    assert output.rfc3339(1_700_000_000.125) == "2023-11-14T22:13:20.125Z"
    assert output.rfc3339(1_700_000_000) == "2023-11-14T22:13:20.000Z"
    assert output.rfc3339(None) is None


def test_a_table_in_a_pipe_is_aligned_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name", "count", "on"), ROWS, empty="none")
    assert capsys.readouterr().out == "NAME  COUNT  ON\na     1      -\nbcd   2.5    yes\n"


def test_an_empty_table_in_a_pipe_still_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("name", "count"), [], empty="nothing here")
    assert capsys.readouterr().out == "NAME  COUNT\n"


def test_a_table_on_a_terminal_has_colour_unless_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output.table(("id", "state"), [("1", "failed")], empty="none")
    assert "\x1b[31mfailed" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    output.table(("id", "state"), [("1", "failed")], empty="none")
    told = capsys.readouterr().out
    assert "failed" in told
    assert "\x1b[3" not in told


def test_markup_in_a_value_is_just_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    output.table(("remark",), [("[red]x[/red] [/]",)], empty="none")
    assert "[red]x[/red] [/]" in capsys.readouterr().out


def test_fields_leave_out_what_is_empty_and_indent_long_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.fields({"id": "1", "tags": (), "key": None, "error": "one\ntwo", "zero": 0})
    assert capsys.readouterr().out == "id     1\nerror  one\n       two\nzero   0\n"


def test_json_keeps_the_order_and_the_letters(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_json({"b": "é", "a": [1]})
    told = capsys.readouterr().out
    assert list(json.loads(told)) == ["b", "a"]
    assert "é" in told
