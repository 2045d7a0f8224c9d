"""What commands print: tables and colour where a person looks, plain lines where a pipe reads, JSON where asked.

Invariant: without a terminal, or with NO_COLOR, no escape sequence leaves; rich is imported for a terminal only.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from rich.console import Console

COLOURS: Final = {
    "scheduled": "cyan",
    "ready": "blue",
    "running": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
    "paused": "yellow",
    "closed": "green",
    "half_open": "yellow",
    "forced_open": "red",
    "disabled": "yellow",
    "alive": "green",
    "dead": "red",
    "draining": "yellow",
}
"""The colour of a word that is a whole cell."""

NOTHING: Final = "-"
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def has_colour() -> bool:
    """Whether colour is welcome (https://no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR")


def console() -> "Console":
    """A rich console for stdout that draws nothing but plain text in a pipe."""
    from rich.console import Console

    return Console(no_color=not has_colour(), highlight=False, markup=False, soft_wrap=False)


def line(text: str = "") -> None:
    """One line of plain text."""
    click.echo(text)


def note(text: str) -> None:
    """One line for the person, on stderr, so that it never mixes with what a pipe reads."""
    click.echo(text, err=True)


def as_json(value: object, *, indent: int | None = 2) -> str:
    """JSON text; keys stay in the order given, since that is the order to read them in."""
    return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)


def write_json(value: object) -> None:
    """One JSON document on stdout."""
    line(as_json(value))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A listing; `empty` is what a person is told when there is nothing (a pipe still gets the head)."""
    cells = [[_cell(value) for value in row] for row in rows]
    if is_terminal():
        _rich_table(columns, cells) if cells else line(empty)
    else:
        for text in plain_table(columns, cells):
            line(text)


def plain_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns two spaces apart, nothing at the end of a line."""
    heads = [column.upper() for column in columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *cells)
    ]


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, no_wrap=column in {"id", "state"}, overflow="fold")
    for row in cells:
        made.add_row(*(Text(text, style=COLOURS.get(text, "")) for text in row))
    console().print(made)


def fields(pairs: Mapping[str, object]) -> None:
    """One thing, a field a line; what is empty is left out."""
    shown = [(name, _cell(value)) for name, value in pairs.items() if value not in (None, "", (), [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, text in shown:
        head = click.style(f"{name.ljust(width)}", bold=True) if has_colour() else name.ljust(width)
        body = text.replace("\n", "\n" + " " * (width + 2))
        line(f"{head}  {coloured(body)}")


def coloured(word: str) -> str:
    """A state in its colour, where colour is welcome."""
    colour = COLOURS.get(word)
    return click.style(word, fg=colour) if colour and has_colour() else word


def _cell(value: object) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def rfc3339(at: float | None) -> str | None:
    """An instant as text, milliseconds and Z."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(at: float | None, now: float) -> str | None:
    """An instant for a listing: how long ago for a person, RFC 3339 for a pipe."""
    if at is None:
        return None
    if not is_terminal():
        return rfc3339(at)
    return f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"


def span(seconds: float) -> str:
    """A duration in one or two units."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f}ms"
    if seconds < MINUTE_S:
        return f"{seconds:.0f}s" if seconds >= 10 else f"{seconds:.1f}s"  # noqa: PLR2004 - a digit more below ten
    if seconds < HOUR_S:
        return f"{seconds // MINUTE_S:.0f}m{seconds % MINUTE_S:02.0f}s"
    if seconds < 2 * DAY_S:
        return f"{seconds // HOUR_S:.0f}h{seconds % HOUR_S // MINUTE_S:02.0f}m"
    return f"{seconds // DAY_S:.0f}d"


def size(count: int) -> str:
    """A number of bytes in the unit that reads best."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004 - the step between the units
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
