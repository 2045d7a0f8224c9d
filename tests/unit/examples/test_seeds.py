"""The seed pictures: always the same, large enough to be work, some held sideways."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from examples.photo_lab import seeds
from examples.photo_lab.photos import developed, inspect, palette

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    return {name: seeds.seed(name) for name in seeds.names()}


def test_a_seed_is_always_the_same_picture(pictures: dict[str, bytes]) -> None:
    name = seeds.names()[0]
    assert hashlib.sha256(seeds.seed(name)).digest() == hashlib.sha256(pictures[name]).digest()


def test_the_pictures_differ(pictures: dict[str, bytes]) -> None:
    assert len(pictures) == 6
    assert len({tuple(colour.hex for colour in palette(developed(data), 3)) for data in pictures.values()}) == 6


def test_every_seed_is_a_large_photograph(pictures: dict[str, bytes]) -> None:
    for data in pictures.values():
        found = inspect(data)
        assert found.format == "JPEG"
        assert sorted((found.width, found.height)) == [1600, 2400]
        assert "EXIF" in found.metadata


def test_some_are_stored_sideways_and_say_so(pictures: dict[str, bytes]) -> None:
    turned = {name: inspect(data) for name, data in pictures.items() if inspect(data).orientation != 1}
    assert sorted(found.orientation for found in turned.values()) == [3, 6, 8]
    for name, found in turned.items():
        with Image.open(io.BytesIO(pictures[name])) as stored:
            expected = (found.width, found.height) if found.orientation == 3 else (found.height, found.width)
            assert stored.size == expected
        assert "GPS" in found.metadata


@pytest.mark.parametrize(("name", "at"), [("desert-moon.jpg", (0.34, 0.24)), ("sea-at-dusk.jpg", (0.5, 0.535))])
def test_upright_the_light_stands_where_it_was_painted(
    pictures: dict[str, bytes], name: str, at: tuple[float, float]
) -> None:
    small = developed(pictures[name]).convert("L").resize((40, 40), Image.Resampling.BOX)
    _, x, y = max((small.getpixel((x, y)), x, y) for x in range(40) for y in range(40))
    assert (x / 40, y / 40) == pytest.approx(at, abs=0.07)


def test_writing_keeps_what_is_there(
    tmp_path: Path, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeds, "seed", pictures.__getitem__)
    kept = tmp_path / "set" / seeds.names()[0]
    kept.parent.mkdir()
    kept.write_bytes(b"kept")
    paths = seeds.write(kept.parent)
    assert [path.name for path in paths] == seeds.names()
    assert sorted(path.name for path in kept.parent.iterdir()) == sorted(seeds.names())
    assert kept.read_bytes() == b"kept"
    assert inspect(paths[1]).height == 2400
