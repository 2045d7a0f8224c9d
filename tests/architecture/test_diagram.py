"""The picture of a job's life is made from the transition table. Run this file to write it anew."""

from pathlib import Path

from headrace.core.states import diagram

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "job-life.md"
FENCE = "```mermaid\n"


def drawn_anew(text: str) -> str:
    before, _, rest = text.partition(FENCE)
    return f"{before}{FENCE}{diagram()}\n```{rest.partition('```')[2]}"


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text("utf-8")
    assert FENCE in text
    mend = "run `.venv/bin/python tests/architecture/test_diagram.py`"
    assert text == drawn_anew(text), f"docs/explanation/job-life.md is older than core/states.py: {mend}"


if __name__ == "__main__":
    PAGE.write_text(drawn_anew(PAGE.read_text("utf-8")), "utf-8")
