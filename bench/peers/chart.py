"""A bar chart as SVG, by hand: its colours follow the reader's light or dark page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABEL, VALUE = 760, 190, 70
ROW, BAR, TOP = 26, 16, 44
STYLE = """
  text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 15px; }
  .value { fill: #59636e; }
  .peer { fill: #8c959f; }
  .headrace { fill: #0969da; }
  .floor { fill: none; stroke: #59636e; stroke-dasharray: 4 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .value { fill: #9198a1; }
    .peer { fill: #656c76; }
    .headrace { fill: #4493f8; }
    .floor { stroke: #9198a1; }
  }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """`kind` is a class of the style: peer, headrace or floor."""

    label: str
    value: float
    kind: str = "peer"


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars from a common zero, in the order given, each with its value behind it."""
    height = TOP + ROW * len(rows) + 10
    most = max(bar.value for bar in rows) or 1.0
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="20">{escape(title)}</text>',
    ]
    for number, bar in enumerate(rows):
        y = TOP + ROW * number
        length = max(1.0, (WIDTH - LABEL - VALUE) * bar.value / most)
        parts.append(f'<text x="{LABEL - 10}" y="{y + 13}" text-anchor="end">{escape(bar.label)}</text>')
        parts.append(f'<rect class="{bar.kind}" x="{LABEL}" y="{y + 0.5}" width="{length:.1f}" height="{BAR}" rx="2"/>')
        value = f"{bar.value:,.0f}" if bar.value >= 10 else f"{bar.value:,.1f}"
        parts.append(f'<text class="value" x="{LABEL + length + 8:.1f}" y="{y + 13}">{value}</text>')
    return "\n".join([*parts, "</svg>", ""])
