"""Six landscapes, painted by arithmetic, for those who have no photograph at hand.

The same name always gives the same picture. Some are stored sideways with an EXIF orientation, and
one carries an invented place in its GPS fields, as a phone would write them, so that the lab has
something to turn and something to strip.
"""

from __future__ import annotations

import io
import math
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

WIDE, TALL = (2400, 1600), (1600, 2400)
ORIENTATION, MAKE, MODEL, GPS = 0x0112, 0x010F, 0x0110, 0x8825

Rgb = tuple[int, int, int]
Stop = tuple[float, str]

# How a camera held this way stores the picture: the inverse of what the orientation asks for.
_STORED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def names() -> list[str]:
    """The file names of the set, in the order of the page."""
    return list(_SEEDS)


def seed(name: str) -> bytes:
    """One picture of the set as a JPEG file."""
    paint, orientation = _SEEDS[name]
    picture = _grain(paint(Random(name)), Random(f"{name} grain"))  # noqa: S311 - a picture, no secret
    exif = Image.Exif()
    exif[MAKE], exif[MODEL], exif[ORIENTATION] = "Headrace", "Painted by arithmetic", orientation
    if orientation != 1:
        picture = picture.transpose(_STORED[orientation])
        exif.get_ifd(GPS).update({1: "N", 2: (46.0, 33.0, 30.0), 3: "E", 4: (7.0, 58.0, 48.0)})
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90, exif=exif)
    return out.getvalue()


def write(folder: Path) -> list[Path]:
    """The whole set in a folder; files that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in _SEEDS]
    for path in paths:
        if not path.exists():
            unfinished = path.with_suffix(".part")
            unfinished.write_bytes(seed(path.name))
            unfinished.replace(path)
    return paths


def _alpine_dawn(rng: Random) -> Image.Image:
    picture = _sky(WIDE, (0, "#2b3a67"), (0.3, "#7a6f9b"), (0.5, "#e8a87c"), (0.62, "#fbe3b5"), (1, "#fbe3b5"))
    _glow(picture, (0.66, 0.5), 0.30, "#fff3cf")
    _clouds(picture, rng, "#f7c9a8", top=0.05, bottom=0.45, strength=0.5)
    for depth, (level, rough, colour) in enumerate(
        [(0.50, 0.16, "#9a8fae"), (0.60, 0.15, "#6f6d93"), (0.70, 0.13, "#474d74"), (0.83, 0.10, "#232b4a")]
    ):
        _ridge(picture, rng, level, rough, colour, mist="#f6cfae", depth=depth)
    _trees(picture, rng, 0.95, 170, "#0f1530")
    return picture


def _sea_at_dusk(rng: Random) -> Image.Image:
    picture = _sky(WIDE, (0, "#1c2b5a"), (0.35, "#c2577a"), (0.55, "#ffb56b"), (0.6, "#ffdf9e"), (1, "#ffdf9e"))
    _clouds(picture, rng, "#7c3f6d", top=0.0, bottom=0.5, strength=0.75)
    _glow(picture, (0.5, 0.545), 0.2, "#fff4c9")
    _disc(picture, (0.5, 0.535), 0.045, "#fffbe6")
    return _mirrored(picture, rng, 0.6, "#152347")


def _northern_lights(rng: Random) -> Image.Image:
    picture = _sky(TALL, (0, "#050a1e"), (0.5, "#0b2036"), (0.8, "#14424a"), (1, "#0a1c28"))
    _stars(picture, rng, 900, 0.75)
    for curtain in ("#38f2a2", "#5af0c8", "#9a6bff"):
        _aurora(picture, rng, curtain)
    _ridge(picture, rng, 0.78, 0.07, "#0c1a2a", mist="#1f5a5c", depth=1)
    _trees(picture, rng, 0.93, 240, "#040a12")
    return picture


def _city_in_the_rain(rng: Random) -> Image.Image:
    picture = _sky(WIDE, (0, "#0d1024"), (0.45, "#1f1b3c"), (0.7, "#3a2148"), (1, "#120d20"))
    colours = ("#ffb347", "#ff6f61", "#ffd97a", "#5ec8ff", "#ff4f8b", "#a4f0c8", "#fff1d0")
    for radius, count, blur in ((0.055, 26, 2), (0.035, 46, 3), (0.018, 90, 5)):
        layer = Image.new("RGB", (picture.width // 2, picture.height // 2))
        for _ in range(count):
            x, y = rng.random(), min(0.97, max(0.1, rng.gauss(0.55, 0.17)))
            light = _mixed("#000000", rng.choice(colours), rng.uniform(0.25, 0.8))
            size = int(radius * rng.uniform(0.7, 1.25) * layer.width)
            left, top = int(x * layer.width) - size, int(y * layer.height) - size
            lamp = Image.new("RGB", (2 * size, 2 * size))
            rim = _mixed(light, "#ffffff", 0.25)
            ImageDraw.Draw(lamp).ellipse(
                (0, 0, 2 * size - 1, 2 * size - 1), fill=light, outline=rim, width=max(1, size // 14)
            )
            behind = layer.crop((left, top, left + 2 * size, top + 2 * size))
            layer.paste(ImageChops.screen(behind, lamp), (left, top))
        layer = layer.filter(ImageFilter.GaussianBlur(blur)).resize(picture.size, Image.Resampling.BILINEAR)
        picture.paste(ImageChops.screen(picture, layer))
    return _mirrored(picture, rng, 0.74, "#0d0a1c")


def _desert_moon(rng: Random) -> Image.Image:
    picture = _sky(TALL, (0, "#0e1a3c"), (0.35, "#3c4f86"), (0.6, "#d99a86"), (1, "#f2c9a1"))
    _stars(picture, rng, 260, 0.3)
    _glow(picture, (0.34, 0.24), 0.28, "#c9d6ff")
    _disc(picture, (0.34, 0.24), 0.085, "#fdf8ea")
    for depth, (level, colour) in enumerate(
        [(0.60, "#c77f62"), (0.70, "#a85f48"), (0.82, "#7d3f35"), (0.93, "#4a2226")]
    ):
        _dune(picture, rng, level, colour, depth)
    return picture


def _misty_forest(rng: Random) -> Image.Image:
    picture = _sky(WIDE, (0, "#d7e3dc"), (0.4, "#eef1e4"), (0.7, "#c3d3c6"), (1, "#8fa89a"))
    _glow(picture, (0.28, 0.22), 0.35, "#fffbe2")
    shades = ("#b5c7bb", "#8eaa9c", "#63887a", "#3b6157", "#173a35")
    for depth, colour in enumerate(shades):
        _trees(picture, rng, 0.5 + 0.13 * depth, 60 + 6 * depth, colour, height=0.16 + 0.07 * depth)
        if depth < len(shades) - 1:
            _haze(picture, rng, 0.42 + 0.13 * depth, "#e9efe6")
    return picture


_SEEDS: dict[str, tuple[Callable[[Random], Image.Image], int]] = {
    "alpine-dawn.jpg": (_alpine_dawn, 1),
    "northern-lights.jpg": (_northern_lights, 6),
    "sea-at-dusk.jpg": (_sea_at_dusk, 3),
    "misty-forest.jpg": (_misty_forest, 1),
    "desert-moon.jpg": (_desert_moon, 8),
    "city-in-the-rain.jpg": (_city_in_the_rain, 1),
}


def _rgb(colour: str) -> Rgb:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _mixed(one: str, other: str, share: float) -> str:
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_rgb(one), _rgb(other), strict=True))


def _sky(size: tuple[int, int], *stops: Stop) -> Image.Image:
    """A vertical gradient through the stops."""
    column = Image.new("RGB", (1, 256))
    for y in range(256):
        at = y / 255
        (low, first), (high, last) = next(pair for pair in pairwise(stops) if at <= pair[1][0])
        column.putpixel((0, y), _rgb(_mixed(first, last, (at - low) / (high - low))))
    return column.resize(size, Image.Resampling.BICUBIC)


def _tint(picture: Image.Image, colour: str, mask: Image.Image) -> None:
    """Lay a colour over a picture where the mask is light; a small mask is stretched."""
    picture.paste(_rgb(colour), (0, 0), mask.resize(picture.size, Image.Resampling.BICUBIC))


def _glow(picture: Image.Image, at: tuple[float, float], radius: float, colour: str) -> None:
    width, height = 300, 300 * picture.height // picture.width
    reach = int(radius * width)
    light = Image.radial_gradient("L").resize((4 * reach, 4 * reach)).point(lambda v: max(0, 179 - v) ** 2 // 126)
    mask = Image.new("L", (width, height))
    mask.paste(light, (int(at[0] * width) - 2 * reach, int(at[1] * height) - 2 * reach))
    _tint(picture, colour, mask)


def _disc(picture: Image.Image, at: tuple[float, float], radius: float, colour: str) -> None:
    r, x, y = radius * picture.width, at[0] * picture.width, at[1] * picture.height
    side = int(2 * r) + 24
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((12, 12, side - 12, side - 12), fill=255)
    picture.paste(_rgb(colour), (int(x - side / 2), int(y - side / 2)), mask.filter(ImageFilter.GaussianBlur(3)))


def _noise(rng: Random, size: tuple[int, int], octaves: Sequence[tuple[int, int]]) -> Image.Image:
    """Smooth noise: random pixels of a few coarse grids, stretched and averaged."""
    total = Image.new("L", size, 128)
    for n, (columns, rows) in enumerate(octaves):
        grid = Image.frombytes("L", (columns, rows), rng.randbytes(columns * rows))
        total = Image.blend(total, grid.resize(size, Image.Resampling.BICUBIC), 1 / (n + 1) if n == 0 else 0.42)
    return total


def _clouds(picture: Image.Image, rng: Random, colour: str, *, top: float, bottom: float, strength: float) -> None:
    noise = _noise(rng, (480, 320), [(5, 9), (9, 18), (20, 36), (40, 70)])
    fade = Image.new("L", (1, 64))
    for y in range(64):
        at = (y / 63 - top) / (bottom - top)
        fade.putpixel((0, y), int(255 * strength * math.sin(math.pi * at)) if 0 < at < 1 else 0)
    shape = noise.point(lambda v: max(0, min(255, (v - 112) * 5)))
    _tint(picture, colour, ImageChops.multiply(shape, fade.resize(shape.size, Image.Resampling.BICUBIC)))


def _haze(picture: Image.Image, rng: Random, level: float, colour: str) -> None:
    noise = _noise(rng, (300, 200), [(4, 6), (8, 10), (18, 18)])
    band = Image.new("L", (1, 100))
    for y in range(100):
        band.putpixel((0, y), int(215 * math.exp(-(((y / 99 - level - 0.1) / 0.11) ** 2))))
    mask = ImageChops.multiply(noise.point(lambda v: min(255, v + 90)), band.resize(noise.size))
    _tint(picture, colour, mask)


def _skyline(rng: Random, width: int, rough: float, waves: int = 7) -> list[float]:
    """A line of hills as heights from -rough to rough, made of ever finer waves."""
    parts = [(rng.uniform(0.6, 1.3) * 1.85**n, rng.uniform(0, math.tau), 0.55**n) for n in range(waves)]
    scale = rough / sum(weight for *_, weight in parts)
    return [
        scale
        * sum(weight * (1 - 2 * abs(math.sin(speed * math.pi * x / width + phase))) for speed, phase, weight in parts)
        for x in range(width)
    ]


def _below(picture: Image.Image, line: Sequence[float], level: float) -> Image.Image:
    """A mask of what lies below a line drawn around a level."""
    width, height = picture.size
    step = width / (len(line) - 1)
    mask = Image.new("L", picture.size)
    points = [(x * step, (level - value) * height) for x, value in enumerate(line)]
    ImageDraw.Draw(mask).polygon([(0, height), *points, (width, height)], fill=255)
    return mask.filter(ImageFilter.BoxBlur(1))


def _ridge(
    picture: Image.Image, rng: Random, level: float, rough: float, colour: str, *, mist: str, depth: int
) -> None:
    mask = _below(picture, _skyline(rng, 601, rough), level)
    slope = _sky(
        picture.size,
        (0, colour),
        (max(0.01, level - rough / 2), colour),
        (min(0.99, level + 0.22), _mixed(colour, mist, 0.5 - 0.1 * depth)),
        (1, colour),
    )
    relief = _noise(rng, (600, 400), [(30, 20), (70, 60), (160, 140)]).resize(picture.size, Image.Resampling.BILINEAR)
    shaded = Image.blend(slope, ImageChops.multiply(slope, Image.merge("RGB", [relief] * 3)), 0.28)
    picture.paste(shaded, (0, 0), mask)


def _dune(picture: Image.Image, rng: Random, level: float, colour: str, depth: int) -> None:
    phase, bend = rng.uniform(0, math.tau), rng.uniform(0.8, 1.4)
    line = [
        0.045 * math.sin(bend * math.pi * x / 300 + phase) + 0.012 * math.sin(5 * x / 300 + phase) for x in range(301)
    ]
    mask = _below(picture, line, level)
    light = _mixed(colour, "#ffd9a8", 0.42)
    slope = _sky(
        picture.size, (0, light), (max(0.02, level - 0.05), light), (min(0.99, level + 0.13), colour), (1, colour)
    )
    rows = 420 + 120 * depth
    ripples = _noise(rng, (160, rows), [(5, rows // 3), (9, rows // 2)]).resize(picture.size, Image.Resampling.BILINEAR)
    shaded = Image.blend(slope, ImageChops.soft_light(slope, Image.merge("RGB", [ripples] * 3)), 0.5)
    picture.paste(shaded, (0, 0), mask)


def _trees(picture: Image.Image, rng: Random, level: float, count: int, colour: str, *, height: float = 0.13) -> None:
    """A row of firs, some higher than others, on uneven ground."""
    ground = _skyline(rng, 201, 0.03, waves=4)
    mask = _below(picture, ground, level)
    draw = ImageDraw.Draw(mask)
    for _ in range(count):
        at = rng.random()
        x, foot = at * picture.width, (level - ground[int(at * 200)] + 0.02) * picture.height
        tall = height * picture.height * rng.uniform(0.45, 1.1)
        branches = max(7, int(tall / 16))
        left, right = [], []
        for n in range(branches + 1):
            y = foot - tall * (1 - n / branches)
            spread = tall * 0.19 * (n / branches) ** 0.9
            left += [(x - spread * rng.uniform(0.75, 1.1), y), (x - spread * 0.45, y)]
            right += [(x + spread * rng.uniform(0.75, 1.1), y), (x + spread * 0.45, y)]
        draw.polygon([(x, foot - tall), *right, *reversed(left)], fill=255)
    picture.paste(_rgb(colour), (0, 0), mask.filter(ImageFilter.BoxBlur(1)))


def _stars(picture: Image.Image, rng: Random, count: int, bottom: float) -> None:
    draw = ImageDraw.Draw(picture)
    for _ in range(count):
        x, y = rng.random() * picture.width, rng.random() ** 1.4 * bottom * picture.height
        size, light = rng.choice((0.8, 0.8, 1.2, 1.2, 2.2)), rng.randint(120, 255)
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(light, light, min(255, light + 20)))


def _aurora(picture: Image.Image, rng: Random, colour: str) -> None:
    """A curtain of light: a bright lower edge that winds, with rays that fade upwards."""
    width, height = 400, 600
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    phase, level = rng.uniform(0, math.tau), rng.uniform(0.42, 0.62)
    rays = _noise(rng, (width, 1), [(26, 1), (70, 1)]).tobytes()
    for x in range(width):
        wind = 0.07 * math.sin(x / 62 + phase) + 0.04 * math.sin(x / 23 + 2 * phase)
        foot, reach = (level + wind) * height, (0.22 + rays[x] / 900) * height
        for n in range(40):
            draw.line(
                (x, foot - reach * n / 40, x, foot - reach * (n + 1) / 40),
                fill=int((1 - n / 40) ** 1.8 * (60 + rays[x] * 0.65)),
            )
    soft = mask.filter(ImageFilter.GaussianBlur(4)).resize(picture.size, Image.Resampling.BICUBIC)
    light = Image.new("RGB", picture.size)
    light.paste(_rgb(colour), (0, 0), soft)
    picture.paste(ImageChops.screen(picture, light))


def _mirrored(picture: Image.Image, rng: Random, horizon: float, deep: str) -> Image.Image:
    """The same picture with water below the horizon that mirrors what is above it."""
    width, height = picture.size
    line = int(horizon * height)
    water = picture.crop((0, 0, width, line)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    water = water.resize((width, height - line), Image.Resampling.BILINEAR).filter(ImageFilter.BoxBlur((24, 5)))
    waves = Image.new("RGB", water.size)
    y, step = 0, 2
    while y < water.height:  # rows shift sideways, more the nearer they are
        shift = int(rng.gauss(0, 3 + 34 * y / water.height))
        waves.paste(ImageChops.offset(water.crop((0, y, width, y + step)), shift, 0), (0, y))
        y += step
        step = 2 + int(7 * y / water.height)
    dark = Image.linear_gradient("L").resize(waves.size).point(lambda v: 50 + int(v * 0.6))
    waves.paste(_rgb(deep), (0, 0), dark)
    foam = _noise(rng, (300, 240), [(12, 60), (30, 120), (70, 240)]).point(lambda v: max(0, (v - 150) * 2))
    waves = ImageChops.screen(
        waves, Image.merge("RGB", [foam.resize(waves.size, Image.Resampling.BICUBIC)] * 3).point(lambda v: v // 3)
    )
    picture.paste(waves, (0, line))
    return picture


def _grain(picture: Image.Image, rng: Random) -> Image.Image:
    """The noise of a sensor, and a little less light in the corners."""
    width, height = picture.size
    tile = Image.frombytes("L", (width // 4, height // 4), rng.randbytes((width // 4) * (height // 4)))
    noise = tile.resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    whole = Image.new("L", picture.size)
    for at in ((0, 0), (width // 2, 0), (0, height // 2), (width // 2, height // 2)):
        whole.paste(noise, at)
    soft = whole.point(lambda v: 128 + (v - 128) // 14)
    picture = ImageChops.overlay(picture, Image.merge("RGB", [soft] * 3))
    corners = (
        Image.radial_gradient("L")
        .point(lambda v: int(110 * (v / 255) ** 4))
        .resize(picture.size, Image.Resampling.BICUBIC)
    )
    picture.paste((0, 0, 0), (0, 0), corners)
    return picture
