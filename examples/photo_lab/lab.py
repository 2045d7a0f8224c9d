"""What the rooms of the lab share: its Headrace, where things are kept, and whose page may press its buttons."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import HTTPException, Request, status

from headrace import Headrace

DATA = Path(os.environ.get("PHOTO_LAB_DATA", "photo-lab-data")).absolute()
DATA.mkdir(parents=True, exist_ok=True)

hr = Headrace(os.environ.get("HEADRACE_STORE") or f"sqlite:///{DATA / 'lab.db'}")


def same_origin(request: Request) -> None:
    """Let no other site's page press the lab's buttons."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "This belongs to the lab's own page.")
