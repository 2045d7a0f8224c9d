"""The photo lab: a FastAPI app with a task that develops photographs in a child process.

    headrace demo

Everything that the page can do is in this file; what happens to the pixels is in `photos.py`, and the prints
that are ordered from a print shop are in `prints.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect as python
import logging
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query, Request, status
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from PIL.Image import Image
from pydantic import BaseModel

from headrace import Job, Retry, SyncJobContext

from . import photos, prints, seeds
from .lab import DATA, hr, same_origin
from .photos import RENDITIONS, BadPhoto, Photo, Rendition

HERE = Path(__file__).parent
ORIGINALS, RENDERED, SAMPLES = DATA / "originals", DATA / "rendered", DATA / "samples"
PACE = float(os.environ.get("PHOTO_LAB_PACE", "0.5"))  # seconds per rendition, for eyes to follow
FOLDER = os.environ.get("PHOTO_LAB_PHOTOS")  # headrace demo --photos DIR
SEED = os.environ.get("PHOTO_LAB_SEED_PHOTOS") == "1"  # headrace demo --seed-photos

for folder in (ORIGINALS, RENDERED, SAMPLES):
    folder.mkdir(parents=True, exist_ok=True)

log = logging.getLogger("photo_lab")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    beginning = asyncio.create_task(begin())
    yield
    beginning.cancel()


app = FastAPI(title="Photo lab", lifespan=lifespan)


class Album(BaseModel):
    """What became of a photograph."""

    name: str
    renditions: int


@hr.task(
    cpu=True,
    timeout=60,
    retry=Retry(max_attempts=3, give_up_on=(BadPhoto,)),
)
def develop(ctx: SyncJobContext, name: str, file: str) -> Album:
    """Turn a photo upright, strip it, make five renditions."""
    steps = len(RENDITIONS) + 1
    ctx.progress(0, steps, f"opening {name}")
    photo = photos.inspect(ORIGINALS / file)
    image = photos.developed(ORIGINALS / file)
    if not ctx.emitted("original"):
        ctx.emit(about(photo, image), key="original")

    for step, rendition in enumerate(RENDITIONS, start=1):
        if ctx.emitted(rendition.name):
            continue  # made by an attempt before this one
        ctx.progress(step, steps, f"making {rendition.name}")
        time.sleep(PACE)  # so that you can watch
        made = save(rendition, image, RENDERED / str(ctx.id))
        ctx.emit(made, key=rendition.name)

    ctx.progress(steps, steps, "done")
    return Album(name=name, renditions=len(RENDITIONS))


def about(photo: Photo, image: Image) -> dict[str, object]:
    """What the page says about an original before its first rendition is there."""
    colours = [{"hex": colour.hex, "share": colour.share} for colour in photos.palette(image)]
    facts = {"format": photo.format, "width": photo.width, "height": photo.height}
    return {**facts, "orientation": photo.orientation, "metadata": photo.metadata, "colours": colours}


def save(rendition: Rendition, image: Image, folder: Path) -> dict[str, object]:
    """Make a rendition's file and say what the page needs to show it."""
    data, width, height = photos.render(image, rendition)
    write(folder / rendition.file, data)
    return {"file": rendition.file, "width": width, "height": height, "bytes": len(data)}


def write(path: Path, data: bytes) -> None:
    """Write a file that is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    unfinished.write_bytes(data)
    unfinished.replace(path)


class ListedPhoto(BaseModel):
    """One photograph of the page, with a token that lets it follow the job."""

    job_id: uuid.UUID
    name: str
    token: str


@app.get("/lab/photos")
async def listed() -> list[ListedPhoto]:
    jobs = await hr.jobs(task=develop, limit=100)
    return [ListedPhoto(job_id=job.id, name=job.args["name"], token=job.token()) for job in jobs]


@app.post("/lab/photos", status_code=status.HTTP_202_ACCEPTED, dependencies=[Depends(same_origin)])
async def drop(request: Request, name: Annotated[str, Query(max_length=200)] = "photo") -> Job[Album]:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > photos.BYTES_MAX:
            break  # `inspect` says what is wrong with it
    return await accept(name, bytes(data))


@app.post("/lab/samples", status_code=status.HTTP_202_ACCEPTED, dependencies=[Depends(same_origin)])
async def samples() -> list[ListedPhoto]:
    paths = await run_in_threadpool(seeds.write, SAMPLES)
    jobs = [(path.name, await accept(path.name, await run_in_threadpool(path.read_bytes))) for path in paths]
    return [ListedPhoto(job_id=job.id, name=name, token=job.token()) for name, job in jobs]


async def accept(name: str, data: bytes, key: str | None = None) -> Job[Album]:
    """Keep a photograph and enqueue its development; nonsense is refused before it is a job."""
    await run_in_threadpool(photos.inspect, data)
    file = hashlib.sha256(data).hexdigest()
    await run_in_threadpool(write, ORIGINALS / file, data)
    return await develop.options(key=key).enqueue(name=name, file=file)


def named() -> list[Path]:
    """The photographs that the command line named."""
    found = sorted(Path(FOLDER).iterdir()) if FOLDER else []
    found = [path for path in found if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}]
    return found + (seeds.write(SAMPLES) if SEED else [])


async def begin() -> None:
    """Develop what the command line named; a photograph that a start before this one took is not taken twice."""
    for path in await run_in_threadpool(named):
        try:
            data = await run_in_threadpool(path.read_bytes)
            await accept(path.name, data, key=hashlib.sha256(path.name.encode() + data).hexdigest())
        except (BadPhoto, OSError) as why:
            log.warning("%s is left out: %s", path.name, why)


@app.exception_handler(BadPhoto)
async def refused(_: Request, bad: BadPhoto) -> JSONResponse:
    code = 413 if bad.code.startswith("too-") else 422
    problem = {"type": f"urn:photo-lab:{bad.code}", "title": "Bad photo", "status": code, "detail": bad.reason}
    return JSONResponse(problem, code, media_type="application/problem+json")


@app.get("/lab/files/{job_id}/{name}")
async def rendition(job_id: uuid.UUID, name: str) -> FileResponse:
    path = RENDERED / str(job_id) / name
    if name not in {rendition.file for rendition in RENDITIONS} or not path.is_file():
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return FileResponse(path, headers={"Cache-Control": "private, max-age=31536000, immutable"})


@app.get("/lab/source", response_class=PlainTextResponse)
async def source() -> str:
    return python.getsource(develop.function)


@app.get("/lab/worker")
async def workers() -> dict[str, list[int]]:
    return {"pids": await pids()}


@app.post("/lab/worker/kill", dependencies=[Depends(same_origin)])
async def kill() -> dict[str, object]:
    for pid in await pids():
        killed_at = datetime.now(UTC)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return {"pid": pid, "killed_at": killed_at}
    raise HTTPException(status.HTTP_409_CONFLICT, "No worker of this lab is running.")


async def pids() -> list[int]:
    """The worker processes on the lab's own store, those that run a photograph first."""
    found = [worker for worker in await hr.workers() if worker.alive and worker.pid not in (0, os.getpid())]
    return [worker.pid for worker in sorted(found, key=lambda worker: -worker.running)]


hr.install(app)
app.include_router(prints.router)
app.mount("/", StaticFiles(directory=HERE / "page", html=True))
