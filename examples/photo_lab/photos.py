"""What the photo lab does to a photograph: check it, turn it upright, render it, read its colours.

Everything here is a plain function of bytes or pixels; nothing knows about jobs. What comes out
of `developed` carries no metadata: pixels in sRGB and nothing else.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageCms, ImageOps

if TYPE_CHECKING:
    from pathlib import Path

BYTES_MAX = 25 * 1024 * 1024
PIXELS_MAX = 50_000_000
ORIENTATION, GPS = 0x0112, 0x8825

Format = Literal["JPEG", "PNG", "WebP"]
Code = Literal["empty", "too-large", "not-an-image", "unsupported", "too-many-pixels", "damaged"]

_OTHER_FORMATS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG drawing"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\1\0", "an icon file"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
)
_ISO_BRANDS = {b"avif": "an AVIF", b"heic": "a HEIC", b"heix": "a HEIC", b"mif1": "a HEIF"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


class BadPhoto(Exception):
    """A file that the lab cannot develop; trying again would not help."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class Photo:
    """What a file turned out to be; width and height are those of the upright picture."""

    format: Format
    width: int
    height: int
    orientation: int
    metadata: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Colour:
    """A dominant colour and the share of the picture that it stands for."""

    hex: str
    share: float


@dataclass(frozen=True, slots=True)
class Rendition:
    """One of the pictures made of a photograph; the box is a limit, never a reason to enlarge."""

    name: str
    box: tuple[int, int]
    format: Literal["JPEG", "WEBP"]
    crop: bool = False
    mono: bool = False

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.{'webp' if self.format == 'WEBP' else 'jpg'}"


RENDITIONS = (
    Rendition("thumb", (320, 320), "WEBP", crop=True),
    Rendition("small", (480, 480), "WEBP"),
    Rendition("banner", (1440, 480), "JPEG", crop=True),
    Rendition("mono", (1200, 1200), "JPEG", mono=True),
    Rendition("large", (2048, 2048), "JPEG"),
)


def inspect(source: Path | bytes) -> Photo:
    """Say what a photograph is, by its content and never by its name.

    The size in pixels is read from the header before anything is decoded; then the whole picture
    is decoded once, so a file that passes is whole.

    Raises:
        BadPhoto: the file is empty, too large, no picture, of another format, or damaged.
    """
    data = _read(source)
    form = _format(data)
    size = _SIZES[form](data)
    if size is None or 0 in size:
        raise BadPhoto("damaged", f"The {form} is damaged: its header cannot be read.")
    _refuse_too_many_pixels(size)
    try:
        with Image.open(io.BytesIO(data), formats=(form.upper(),)) as image:
            _refuse_too_many_pixels(image.size)
            orientation = _orientation(image)
            metadata = _metadata(image)
            width, height = image.size
            if form == "JPEG":  # decodes every byte, but to an eighth of the size
                image.draft("RGB", (width // 8, height // 8))
            image.load()
    except BadPhoto:
        raise
    except Exception as damage:  # Pillow's readers raise many kinds for damaged input
        raise BadPhoto("damaged", f"The {form} is damaged or cut short.") from damage
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Photo(form, width, height, orientation, metadata)


def upright(image: Image.Image) -> Image.Image:
    """Turn an image the way its camera was held, as its EXIF says."""
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def developed(source: Path | bytes) -> Image.Image:
    """The upright picture as plain sRGB pixels, without metadata; of an animation, its first frame.

    Transparent parts become white. Check the file with `inspect` first.
    """
    with Image.open(io.BytesIO(_read(source)), formats=("JPEG", "PNG", "WEBP")) as image:
        image.load()
        pixels = _srgb(_flat(upright(image)), image.info.get("icc_profile"))
    clean = Image.new("RGB", pixels.size)
    clean.paste(pixels)
    return clean


def render(image: Image.Image, rendition: Rendition) -> tuple[bytes, int, int]:
    """Make one rendition of a developed image: its file's bytes, width and height."""
    if rendition.crop:
        picture = _cropped(image, rendition.box)
    else:
        picture = image.copy()
        picture.thumbnail(rendition.box, Image.Resampling.LANCZOS)
    if rendition.mono:
        picture = ImageOps.autocontrast(picture.convert("L"), cutoff=0.5)
    out = io.BytesIO()
    if rendition.format == "WEBP":
        picture.save(out, "WEBP", quality=82, method=4)
    else:
        picture.save(out, "JPEG", quality=86, optimize=True, progressive=True)
    return out.getvalue(), *picture.size


def palette(image: Image.Image, n: int = 5) -> list[Colour]:
    """The dominant colours of an image, the largest share first; at most `n`, shares add up to 1.

    Deterministic: the same pixels give the same colours.
    """
    small = _flat(image).resize((96, 96), Image.Resampling.BOX)
    coded = small.quantize(colors=24, method=Image.Quantize.MEDIANCUT)
    codes = coded.getpalette() or []
    counted = sorted(
        ((count, tuple(codes[3 * code : 3 * code + 3])) for code, count in enumerate(coded.histogram()[:256]) if count),
        reverse=True,
    )
    chosen: list[tuple[int, ...]] = []
    for apart in (48, 24, 12, 0):  # prefer colours that an eye tells apart
        for _, colour in counted:
            if len(chosen) < n and colour not in chosen and all(_distance(colour, c) > apart**2 for c in chosen):
                chosen.append(colour)
    shares = dict.fromkeys(chosen, 0)
    for count, colour in counted:
        shares[min(chosen, key=lambda c: _distance(colour, c))] += count
    total = sum(shares.values())
    ranked = sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Colour("#{:02x}{:02x}{:02x}".format(*colour), round(count / total, 4)) for colour, count in ranked]


def _read(source: Path | bytes) -> bytes:
    length = len(source) if isinstance(source, bytes) else source.stat().st_size
    if length == 0:
        raise BadPhoto("empty", "The file is empty.")
    if length > BYTES_MAX:
        raise BadPhoto("too-large", f"The file is too large: {length / 2**20:.1f} MiB, and the limit is 25 MiB.")
    return source if isinstance(source, bytes) else source.read_bytes()


def _format(data: bytes) -> Format:
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    other = next((words for magic, words in _OTHER_FORMATS if data.startswith(magic)), None)
    if data[4:8] == b"ftyp":
        other = _ISO_BRANDS.get(data[8:12], "a video or another ISO media file")
    if other:
        raise BadPhoto("unsupported", f"This is {other}; the lab develops JPEG, PNG and WebP.")
    if _is_text(data[:512]):
        raise BadPhoto("not-an-image", "This is a text file, not a photograph, whatever it is called.")
    raise BadPhoto("not-an-image", "This is not a photograph: its content is no picture format that the lab knows.")


def _is_text(head: bytes) -> bool:
    try:
        words = head.decode("utf-8")
    except UnicodeDecodeError as cut:
        if cut.start < len(head) - 3:  # otherwise only the last character was cut in two
            return False
        words = head[: cut.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\t\r\n\f" for letter in words)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        elif marker in {0xD9, 0xDA}:  # the end, or pixels before any size
            return None
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return None


def _png_size(data: bytes) -> tuple[int, int] | None:
    if data[12:16] != b"IHDR" or len(data) < 24:
        return None
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def _webp_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 30:
        return None
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
        case _:
            return None


_SIZES = {"JPEG": _jpeg_size, "PNG": _png_size, "WebP": _webp_size}


def _refuse_too_many_pixels(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > PIXELS_MAX:
        found = f"{width:,} by {height:,} is {width * height / 1e6:.0f} megapixels"
        raise BadPhoto("too-many-pixels", f"The picture is too large: {found}, and the limit is 50.")


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - a broken EXIF block says nothing; the picture may still be whole
        return 1
    return found if found in _TURNS else 1


def _metadata(image: Image.Image) -> tuple[str, ...]:
    """What the file carries beside its pixels, in words for the page."""
    found = []
    try:
        exif = image.getexif()
        if exif:
            found.append("EXIF")
        if exif.get_ifd(GPS):
            found.append("GPS")
    except Exception:  # noqa: BLE001 - as above: unreadable, and it is dropped anyway
        found.append("EXIF")
    if "xmp" in image.info or "XML:com.adobe.xmp" in image.info:
        found.append("XMP")
    if "icc_profile" in image.info:
        found.append("ICC")
    if "comment" in image.info:
        found.append("comment")
    return tuple(found)


def _flat(image: Image.Image) -> Image.Image:
    """An 8-bit image without transparency: RGB, L or CMYK."""
    if image.mode in {"RGB", "L", "CMYK"} and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):  # 16 bits a pixel: keep the upper eight
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode in {"1", "YCbCr", "LAB", "HSV"}:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            origin = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, origin, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            return image.convert("RGB")  # a broken profile, or one for another kind of picture
        return converted or image
    return image.convert("RGB")


def _cropped(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The middle of an image in the box's proportions, at most as large as the box."""
    scale = min(1.0, image.width / box[0], image.height / box[1])
    size = max(1, int(box[0] * scale)), max(1, int(box[1] * scale))
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How far apart two colours look, squared; the weights are a cheap stand-in for the eye's."""
    red, green, blue = (a - b for a, b in zip(one, other, strict=True))
    return (2 * red * red + 4 * green * green + 3 * blue * blue) // 3
