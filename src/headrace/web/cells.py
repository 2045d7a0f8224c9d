"""What the cells of the page's tables are made of: buttons, ages, ids.

A button posts what it says, and the page is read again.
"""

import html
import json
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from headrace.core.fleet import BreakerState

ACTIONS: Final = """
document.addEventListener("click",async event=>{
const {post,body,ask}=event.target.dataset;
if(!post||ask&&!confirm(ask))return;
event.target.disabled=true;
const answer=await fetch(post,{method:"POST",body,headers:body?{"Content-Type":"application/json"}:{}});
if(answer.ok)location.reload();
else event.target.textContent=(await answer.json()).title});
"""


def button(word: str, path: str, body: Mapping[str, object] | None = None, ask: str = "") -> str:
    """One that posts `body` to `path`; with `ask`, after a person has said yes to that."""
    said = "" if body is None else f' data-body="{html.escape(json.dumps(body))}"'
    asked = f' data-ask="{html.escape(ask)}"' if ask else ""
    return f'<button data-post="{html.escape(path)}"{said}{asked}>{word}</button>'


_COLOURS: Final = {
    BreakerState.CLOSED: "succeeded",
    BreakerState.HALF_OPEN: "running",
    BreakerState.OPEN: "failed",
    BreakerState.FORCED_OPEN: "failed",
    BreakerState.DISABLED: "dim",
}


def breaker(state: BreakerState, word: str = "") -> str:
    """How a breaker stands, by its name or in a word."""
    return f'<span class="{_COLOURS[state]}">{word or state.value.replace("_", " ")}</span>'


def age(seconds: float) -> str:
    """A duration in its largest unit."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def ago(seconds: float) -> str:
    """When something was, on one line."""
    return f"<span class=line>{age(seconds)} ago</span>"


def due(at: float | None, now_at: float) -> str:
    """When something is to be; nothing where it is not."""
    return "" if at is None else f' <span class="dim line">in {age(at - now_at)}</span>'


def short(ident: UUID | str) -> str:
    """The end of an id, which is told whole to who points at it."""
    whole = html.escape(str(ident))
    return f'<code class="dim line" title="{whole}">…{html.escape(str(ident)[-8:])}</code>'
