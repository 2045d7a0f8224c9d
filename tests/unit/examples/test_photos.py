"""The lab's work on real photographs: what it accepts, what it refuses and what it makes."""

from __future__ import annotations

import importlib.util
import io
import random
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from examples.photo_lab.photos import (
    BYTES_MAX,
    GPS,
    ORIENTATION,
    RENDITIONS,
    BadPhoto,
    developed,
    inspect,
    palette,
    render,
    upright,
)

UNDO = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def _folder() -> Path:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


PHOTOS = _folder()
REAL = {
    "astronaut.png": ("PNG", 512, 512, ("ICC",)),
    "chelsea.png": ("PNG", 451, 300, ("EXIF", "XMP", "ICC")),
    "coffee.png": ("PNG", 600, 400, ()),
    "hubble_deep_field.jpg": ("JPEG", 1000, 872, ("EXIF", "XMP", "ICC")),
    "retina.jpg": ("JPEG", 1411, 1411, ()),
    "rocket.jpg": ("JPEG", 640, 427, ("ICC", "comment")),
}


def photo(name: str = "coffee.png") -> Image.Image:
    with Image.open(PHOTOS / name) as image:
        return image.convert("RGB")


def saved(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def held(orientation: int, *, gps: bool = False) -> bytes:
    """The coffee as a camera held that way would write it."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "A camera"
    if gps:
        exif.get_ifd(GPS).update({1: "N", 2: (47.0, 33.0, 12.0), 3: "E", 4: (9.0, 41.0, 0.0)})
    image = photo()
    turn = UNDO[orientation]
    return saved(image if turn is None else image.transpose(turn), quality=95, exif=exif)


def difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


def png(width: int, height: int, body: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def refusal(source: bytes | Path) -> BadPhoto:
    with pytest.raises(BadPhoto) as caught:
        inspect(source)
    return caught.value


@pytest.mark.parametrize("name", REAL)
def test_a_real_photograph_is_recognised(name: str) -> None:
    found = inspect(PHOTOS / name)
    assert (found.format, found.width, found.height, found.metadata) == REAL[name]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP"])
def test_the_content_counts_and_not_the_name(tmp_path: Path, form: str) -> None:
    path = tmp_path / "holiday.gif"
    path.write_bytes(saved(photo(), form))
    assert inspect(path).format == form


@pytest.mark.parametrize(
    "options", [{"lossless": True}, {"quality": 80}, {"quality": 80, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}]
)
def test_every_kind_of_webp_header_gives_its_size(options: dict[str, object]) -> None:
    found = inspect(saved(photo(), "WEBP", **options))
    assert (found.width, found.height) == (600, 400)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(orientation: int) -> None:
    data = held(orientation)
    found = inspect(data)
    assert (found.width, found.height, found.orientation) == (600, 400, orientation)
    assert difference(developed(data), photo()) < 3


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_orientation_is_read_from_png_and_webp_too(form: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = saved(photo().transpose(UNDO[6] or 0), form, exif=exif)
    assert difference(developed(data), photo()) < 6


def test_upright_leaves_an_image_without_exif_alone() -> None:
    image = photo()
    assert upright(image) is image


@pytest.mark.filterwarnings("ignore:.*EXIF data:UserWarning")
def test_a_broken_exif_block_does_not_spoil_a_whole_photograph() -> None:
    data = saved(photo(), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert inspect(data).orientation == 1
    assert developed(data).size == (600, 400)


@pytest.mark.parametrize("rendition", RENDITIONS, ids=lambda rendition: rendition.name)
@pytest.mark.parametrize("name", ["gps", *REAL])
def test_no_rendition_carries_metadata(name: str, rendition: object) -> None:
    source = held(6, gps=True) if name == "gps" else (PHOTOS / name).read_bytes()
    data, _, _ = render(developed(source), rendition)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert dict(image.getexif()) == {}
        assert not {"exif", "xmp", "icc_profile", "comment", "XML:com.adobe.xmp"} & image.info.keys()
    for mark in (b"Exif", b"A camera", b"http://ns.adobe.com", b"ICC_PROFILE", b"ICCP", b"EXIF"):
        assert mark not in data


def test_gps_is_seen_in_the_original() -> None:
    assert inspect(held(6, gps=True)).metadata == ("EXIF", "GPS")


def test_there_are_five_renditions_and_each_fits_its_box() -> None:
    image = photo().resize((3000, 2000))
    made = {r.name: render(image, r) for r in RENDITIONS}
    assert {name: size for name, (_, *size) in made.items()} == {
        "thumb": [320, 320],
        "small": [480, 320],
        "banner": [1440, 480],
        "mono": [1200, 800],
        "large": [2048, 1365],
    }
    for rendition in RENDITIONS:
        data, width, height = made[rendition.name]
        with Image.open(io.BytesIO(data)) as opened:
            assert (opened.format, opened.size) == (rendition.format, (width, height))


@pytest.mark.parametrize("size", [(600, 400), (40, 900), (900, 40), (1, 1), (2, 3000)])
def test_nothing_is_ever_enlarged(size: tuple[int, int]) -> None:
    for rendition in RENDITIONS:
        _, width, height = render(photo().resize(size), rendition)
        assert 1 <= width <= size[0]
        assert 1 <= height <= size[1]


def test_the_mono_rendition_has_no_colour() -> None:
    data, _, _ = render(photo(), next(r for r in RENDITIONS if r.mono))
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "L"


def test_palette_finds_the_colours_of_a_flag() -> None:
    flag = Image.new("RGB", (300, 200), "#0055a4")
    flag.paste("#ffffff", (100, 0, 200, 200))
    flag.paste("#ef4135", (200, 0, 300, 200))
    assert sorted((c.hex, round(c.share, 2)) for c in palette(flag)) == [
        ("#0055a4", 0.33),
        ("#ef4135", 0.33),
        ("#ffffff", 0.33),
    ]


@pytest.mark.parametrize("name", REAL)
def test_palette_of_a_photograph_is_deterministic_and_whole(name: str) -> None:
    image = developed(PHOTOS / name)
    first = palette(image)
    assert first == palette(image)
    assert len({c.hex for c in first}) == len(first) == 5
    assert sum(c.share for c in first) == pytest.approx(1, abs=0.001)
    assert [c.share for c in first] == sorted((c.share for c in first), reverse=True)


def test_palette_of_one_colour_is_that_colour() -> None:
    assert [(c.hex, c.share) for c in palette(Image.new("RGB", (50, 50), "#336699"))] == [("#336699", 1.0)]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_pixel_is_developed(mode: str) -> None:
    grey = photo().convert("L")
    expected: Image.Image = grey
    if mode == "I;16":
        image = grey.convert("I").point(lambda value: value * 257).convert("I;16")
    elif mode == "1":
        image = expected = grey.convert("1")
    elif mode in {"L", "LA"}:
        image = grey.convert(mode)
    else:
        image = photo().convert(mode)
        expected = image.convert("RGB")
    data = saved(image, "JPEG" if mode == "CMYK" else "PNG")
    assert inspect(data).width == 600
    assert difference(developed(data), expected) < 12


def test_sixteen_bits_of_colour_are_developed() -> None:
    rows = b"".join(b"\0" + struct.pack(">HHH", 0xFFFF, 0x8080, 0) * 4 for _ in range(4))
    data = bytearray(png(4, 4, rows))
    data[24] = 16
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    assert inspect(bytes(data)).format == "PNG"
    assert developed(bytes(data)).getpixel((1, 1)) == (255, 128, 0)


def test_transparent_parts_become_white() -> None:
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 20, 40))
    whole = developed(saved(image, "PNG"))
    assert whole.mode == "RGB"
    assert (whole.getpixel((5, 5)), whole.getpixel((35, 5))) == ((0, 0, 255), (255, 255, 255))


def test_a_transparent_palette_becomes_white() -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (0, 0, 20, 40))
    whole = developed(saved(image, "PNG", transparency=0))
    assert (whole.getpixel((5, 5)), whole.getpixel((35, 5))) == ((0, 255, 0), (255, 255, 255))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_developed(form: str) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("#cc0000", "#00cc00", "#0000cc")]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:], duration=50)
    assert inspect(data).width == 64
    assert difference(developed(data), frames[0]) < 4


def test_a_colour_profile_is_applied_before_it_is_dropped() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    wrong = developed(saved(photo(), "PNG", icc_profile=lab))
    assert difference(wrong, photo()) == 0  # a profile of another kind of picture is ignored
    assert difference(developed(saved(photo(), "PNG", icc_profile=b"not a profile")), photo()) == 0
    with Image.open(PHOTOS / "color.png") as image:
        assert difference(developed(PHOTOS / "color.png"), image) > 1


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "empty", "empty"),
        (b"Dear diary,\ntoday no photograph.\n" * 40, "not-an-image", "text file"),
        ("ä" * 300 + "x" + "ä" * 300, "not-an-image", "text file"),
        (bytes(range(256)) * 4, "not-an-image", "not a photograph"),
        (b"GIF89a" + bytes(40), "unsupported", "a GIF"),
        (b"\0\0\0\x1cftypavif" + bytes(40), "unsupported", "an AVIF"),
        (b"\0\0\0\x1cftypheic" + bytes(40), "unsupported", "a HEIC"),
        (b"%PDF-1.7\n", "unsupported", "a PDF"),
        (b"\xff\xd8\xff", "damaged", "header"),
        (b"\xff\xd8\xff\xd9", "damaged", "header"),
        (b"\x89PNG\r\n\x1a\n", "damaged", "header"),
        (b"RIFF\0\0\0\0WEBP", "damaged", "header"),
        (b"RIFF\0\0\0\0WEBPJUNK" + bytes(40), "damaged", "header"),
        (png(0, 10), "damaged", "header"),
        (png(10, 10, b"\0" * 5), "damaged", "cut short"),
        (png(20_000, 20_000), "too-many-pixels", "20,000 by 20,000 is 400 megapixels"),
        (bytes(BYTES_MAX + 1), "too-large", "25.0 MiB, and the limit is 25 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_what_is_no_photograph_is_refused_in_plain_words(
    tmp_path: Path, data: bytes | str, code: str, words: str
) -> None:
    raw = data.encode() if isinstance(data, str) else data
    for source in (raw, tmp_path / "photo.jpg"):
        if isinstance(source, Path):
            source.write_bytes(raw)
        bad = refusal(source)
        assert bad.code == code
        assert words in str(bad) == bad.reason


def test_a_real_tiff_is_named(tmp_path: Path) -> None:
    assert "a TIFF" in refusal(PHOTOS / "multipage.tif").reason
    assert "a GIF" in refusal(PHOTOS / "no_time_for_that_tiny.gif").reason


def test_a_bomb_is_refused_without_decoding_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = bytearray(saved(photo()))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 20_000, 20_000)
    webp = bytearray(saved(photo(), "WEBP", lossless=True))
    webp[21:25] = struct.pack("<I", 16_383 | 16_383 << 14)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("the header says enough"))
    for bomb in (png(20_000, 20_000), bytes(jpeg), bytes(webp)):
        assert refusal(bomb).code == "too-many-pixels"


def test_the_limit_of_pixels_is_exact() -> None:
    white = b"\0" * (1 + 3 * 10_000)
    assert inspect(png(10_000, 5_000, white * 5_000)).width == 10_000
    assert refusal(png(10_000, 5_001, white * 5_001)).code == "too-many-pixels"


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_photograph_cut_short_is_refused(name: str, share: float) -> None:
    data = (PHOTOS / name).read_bytes()
    assert refusal(data[: int(len(data) * share)]).code == "damaged"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_damage_anywhere_is_refused_or_survived_but_never_crashes(form: str) -> None:
    rng = random.Random(7)
    whole = saved(
        photo().resize((90, 60)), form, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    )
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            inspect(bytes(data))
        except BadPhoto:
            refused += 1
        else:
            assert developed(bytes(data)).mode == "RGB"
    assert refused > 30
