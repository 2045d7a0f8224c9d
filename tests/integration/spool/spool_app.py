"""The API that the tests start, stop and kill."""

import os
from pathlib import Path

from fastapi import FastAPI

from headrace import Headrace, Job, SyncJobContext

NOTES = Path(os.environ["NOTES"])

hr = Headrace()
app = FastAPI()
hr.install(app, workers=int(os.environ["WORKERS"]))


@hr.task(public=True)
def note(ctx: SyncJobContext, number: int) -> int:
    with NOTES.open("a", encoding="ascii") as notes:
        notes.write(f"{number}\n")
    return number


@app.post("/notes/{number}", status_code=202)
async def start(number: int) -> Job[int]:
    return await note.enqueue(number)


@app.post("/sync/{number}", status_code=202)
def start_sync(number: int) -> Job[int]:
    return note.enqueue_sync(number)
