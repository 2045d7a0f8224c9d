"""What the page's buttons do: each posts what it says, and the page is read again."""

import html
import json
from collections.abc import Mapping
from typing import Final

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
