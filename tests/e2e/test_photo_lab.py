"""The photo lab as a visitor knows it: `headrace demo`, a real Chromium, real photographs, a worker that is killed."""

import io
import re
import shutil
import struct
import time
import uuid
import zlib
from collections import Counter
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.e2e.kit import Lab, Program, until

RENDITIONS = ["thumb", "small", "banner", "mono", "large"]
FILES = ["thumb.webp", "small.webp", "banner.jpg", "mono.jpg", "large.jpg"]
on_either = pytest.mark.parametrize("lab", ["sqlite", "postgres"], indirect=True)
at_night_on_postgres = pytest.mark.parametrize(
    "lab", ["sqlite", pytest.param("postgres", marks=pytest.mark.nightly)], indirect=True
)
ORIENTATION, ARTIST, GPS = 0x0112, 0x013B, 0x8825


@pytest.fixture
def photos(photographs: list[Path], tmp_path: Path) -> list[Path]:
    """Real photographs under names that no other test drops."""
    return [Path(shutil.copy(photo, tmp_path / f"{uuid.uuid4().hex[:6]}-{photo.name}")) for photo in photographs]


@pytest.fixture
def rocket(photos: list[Path]) -> Path:
    """A photograph as a telephone held sideways takes it: EXIF with orientation, name and place."""
    path = next(photo for photo in photos if photo.name.endswith("rocket.jpg"))
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = 6, "A. Visitor"
    exif.get_ifd(GPS)[1] = "N"
    with Image.open(path) as photo:
        photo.load()
        photo.save(path, exif=exif, quality=90)
    return path


def drop(page: Page, *photos: Path) -> None:
    page.locator("#files").set_input_files(photos)


def card(page: Page, name: str) -> Locator:
    return page.locator(".card").filter(has=page.get_by_role("heading", name=name, exact=True)).first


def made(card: Locator) -> int:
    return card.locator(".slot.made").count()


def made_keys(lab: Lab, job: str, position: str) -> Counter[str]:
    return Counter(data["data"]["key"] for event, data in lab.feed(job, position) if event == "item")


def marks(lab: Lab, name: str) -> dict[str, str]:
    """The files that are there, each with an ETag that changes when it is written again."""
    job = lab.job(name)["id"]
    answers = {file: lab.http.get(f"/lab/files/{job}/{file}") for file in FILES}
    return {file: answer.headers["etag"] for file, answer in answers.items() if answer.is_success}


@on_either
def test_a_photo_becomes_five_renditions_while_its_worker_is_killed(page: Page, lab: Lab, rocket: Path) -> None:
    drop(page, rocket)
    photo = card(page, rocket.name)
    seen: set[int] = set()

    def count_to(goal: int) -> bool:
        seen.add(made(photo))
        return max(seen) >= goal

    until(lambda: count_to(2), "two renditions")
    early = marks(lab, rocket.name)
    page.get_by_role("button", name="Kill the worker").click()
    expect(photo.locator(".again")).to_have_text(re.compile(r"^killed, picked up again after \d+\.\d+ s$"))
    expect(photo.locator(".badge")).to_have_text("running · attempt 2")
    until(lambda: count_to(5), "five renditions")
    assert seen >= {1, 2, 3, 4, 5}, "they did not come one by one"
    expect(photo.locator(".badge")).to_have_text("succeeded")
    expect(photo.locator(".attempts li")).to_have_text([re.compile("^attempt 1 killed"), re.compile("^attempt 2 succ")])
    expect(photo.locator(".facts")).to_contain_text("turned by 90°, upright now")
    expect(photo.locator(".facts")).to_contain_text("stripped")
    expect(photo.locator(".swatch")).to_have_count(5)
    expect(page.locator("#measure")).to_contain_text("killed → running again")

    job = lab.job(rocket.name)
    assert job["result"] == {"name": rocket.name, "renditions": 5}
    assert [attempt["outcome"] for attempt in lab.attempts(job["id"])] == ["crashed", "succeeded"]
    assert made_keys(lab, job["id"], job["position"]) == Counter(["original", *RENDITIONS])
    assert len(early) >= 2
    assert early.items() <= marks(lab, rocket.name).items(), "a rendition was made twice"


def test_what_comes_out_is_upright_and_tells_nothing(page: Page, lab: Lab, rocket: Path) -> None:
    drop(page, rocket)
    photo = card(page, rocket.name)
    expect(photo.locator(".slot.made")).to_have_count(5)
    links = [link.get_attribute("href") or "" for link in photo.locator(".slot-picture").all()]
    with Image.open(rocket) as original:
        width, height = original.size
    for name, link in zip(RENDITIONS, links, strict=True):
        data = lab.http.get(link).raise_for_status().content
        assert b"Visitor" not in data
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            assert not picture.getexif()
            if name == "large":
                assert picture.size == (height, width), "it was on its side"


def test_a_reload_in_the_middle_goes_on_and_a_second_tab_follows(page: Page, lab: Lab, photos: list[Path]) -> None:
    coffee = next(photo for photo in photos if photo.name.endswith("coffee.png"))
    drop(page, coffee)
    photo = card(page, coffee.name)
    until(lambda: made(photo) >= 1, "the first rendition")
    with page.context.expect_page() as opened:
        photo.get_by_role("link", name="Open in a second tab").click()
    second = opened.value
    assert "?job=" in second.url
    page.reload()
    before = made(card(page, coffee.name))
    other = card(second, coffee.name)
    expect(other.locator(".badge")).to_have_text("running")
    assert before < 5, "it was over before the reload"
    for tab in (photo, other):
        expect(tab.locator(".slot.made")).to_have_count(5)
        expect(tab.locator(".badge")).to_have_text("succeeded")
    expect(second.locator(".card")).to_have_count(1)
    expect(second).to_have_title(f"{coffee.name} · succeeded")
    page.reload()
    expect(photo.locator(".slot.made")).to_have_count(5)
    job = lab.job(coffee.name)
    assert made_keys(lab, job["id"], job["position"]) == Counter(["original", *RENDITIONS])


def test_cancel_and_retry(page: Page, lab: Lab, photos: list[Path]) -> None:
    cat = next(photo for photo in photos if photo.name.endswith("chelsea.png"))
    drop(page, cat)
    photo = card(page, cat.name)
    until(lambda: made(photo) >= 1, "the first rendition")
    photo.get_by_role("button", name="Cancel").click()
    expect(photo.locator(".badge")).to_have_text("cancelled", timeout=3_000)
    stopped_at = made(photo)
    assert stopped_at < 5
    photo.get_by_role("button", name="Retry").click()
    expect(photo.locator(".slot.made")).to_have_count(5)
    expect(photo.locator(".badge")).to_have_text("succeeded")
    job = lab.job(cat.name)
    assert made_keys(lab, job["id"], job["position"]) == Counter(["original", *RENDITIONS])


@at_night_on_postgres
def test_many_photos_outlive_their_worker(page: Page, lab: Lab, photos: list[Path]) -> None:
    drop(page, *photos)
    cards = [card(page, photo.name) for photo in photos]
    until(lambda: sum(map(made, cards)) >= 3, "three renditions")
    page.get_by_role("button", name="Kill the worker").click()
    expect(page.locator("#measure")).to_contain_text("killed → running again")
    for each in cards:
        expect(each.locator(".slot.made")).to_have_count(5, timeout=40_000)
        expect(each.locator(".badge")).to_have_text("succeeded")
    outcomes: Counter[str] = Counter()
    for photo in photos:
        job = lab.job(photo.name)
        assert made_keys(lab, job["id"], job["position"]) == Counter(["original", *RENDITIONS])
        outcomes.update(attempt["outcome"] for attempt in lab.attempts(job["id"]))
    assert outcomes["succeeded"] == len(photos)
    assert outcomes.keys() == {"succeeded", "crashed"}


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises far more than it brings."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def test_nonsense_is_refused_with_a_sentence(page: Page, lab: Lab, rocket: Path) -> None:
    whole = rocket.read_bytes()
    nonsense = {
        "notes.jpg": (b"Dear diary,\n", "This is a text file, not a photograph"),
        "half.jpg": (whole[: len(whole) // 2], "is damaged or cut short"),
        "nothing.png": (b"", "The file is empty"),
        "bomb.png": (png_of(20_000, 20_000), "20,000 by 20,000"),
    }
    for name, (data, _) in nonsense.items():
        (rocket.parent / name).write_bytes(data)
    jobs = len(lab.jobs())
    drop(page, *(rocket.parent / name for name in nonsense))
    for name, (_, words) in nonsense.items():
        photo = card(page, name)
        expect(photo.locator(".badge")).to_have_text("refused")
        expect(photo.locator(".error")).to_contain_text(words)
    assert len(lab.jobs()) == jobs, "a refused file became a job"
    card(page, "notes.jpg").get_by_role("button", name="Dismiss").click()
    expect(card(page, "notes.jpg")).to_have_count(0)


def test_seeds_and_a_folder_are_developed_and_ctrl_c_leaves_nobody(rocket: Path, tmp_path: Path) -> None:
    folder = tmp_path / "holidays"
    folder.mkdir()
    shutil.copy(rocket, folder)
    (folder / "notes.txt").write_text("not a photo")
    (folder / "broken.jpg").write_text("not a photo either")
    args = ("demo", "--no-browser", "--port=0", "--seed-photos", "--photos", str(folder))
    with Program(*args, cwd=tmp_path, env={"PHOTO_LAB_PACE": "0"}) as demo:
        lab = Lab(demo.said(r"^The photo lab is on (http://\S+)$")[1])
        until(lambda: len(lab.jobs()) == 7, "six seeds and one photograph", 30)
        ids = [each["job_id"] for each in lab.jobs()]
        for job in ids:
            until(lambda job=job: lab.http.get(f"/headrace/api/jobs/{job}").json()["state"] == "succeeded", job, 30)
        demo.said(r"^headrace: broken\.jpg: This is a text file, not a photograph")
        workers = lab.pids()
        lab.close()
        assert demo.below().keys() >= set(workers) != set()
        started = time.monotonic()
        assert demo.ctrl_c() == 0
        assert time.monotonic() - started < 5
        assert until(lambda: not demo.below(), f"the end of {demo.below()}", 3)


@pytest.mark.nightly
def test_a_second_start_goes_on_where_the_first_one_ended(rocket: Path, tmp_path: Path) -> None:
    start = ("demo", "--no-browser", "--port=0")
    with Program(*start, cwd=tmp_path) as demo:
        url = demo.said(r"^The photo lab is on (http://\S+)$")[1]
        httpx.post(f"{url}/lab/photos", params={"name": rocket.name}, content=rocket.read_bytes()).raise_for_status()
        assert demo.ctrl_c() == 0
    with Program(*start, cwd=tmp_path, env={"PHOTO_LAB_PACE": "0"}) as demo:
        lab = Lab(demo.said(r"^The photo lab is on (http://\S+)$")[1])
        until(lambda: lab.job(rocket.name)["state"] == "succeeded", "the photograph of the first start", 30)
        lab.close()
