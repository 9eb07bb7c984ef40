"""The embedded set: accented and easily confused characters, drawn from the fonts that matplotlib ships."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from scalesearch.data.source import Source
from scalesearch.errors import UserError

Levels = npt.NDArray[np.float32]

# Classes that differ by an accent a few pixels wide, beside some that differ by a stroke: resolution decides.
CHARACTERS = "aàáâãäåeèéêëoòóôõöøuùúûü0QGC8B3S56"
_FONTS = tuple(
    f"DejaVu{family}{style}.ttf"
    for family, slanted in (("Sans", "Oblique"), ("SansMono", "Oblique"), ("Serif", "Italic"))
    for style in ("", "-Bold", f"-{slanted}", f"-Bold{slanted}")
)
_DRAWING_VERSION = 3
_TRAIN, _TEST = 0, 1
_LARGEST_PX = 384  # side up to which images are drawn anew; what is asked for beyond it is enlarged
_GROUND, _INK = (128.0, 255.0), (0.0, 128.0)  # levels of each colour: dark on light, or the first steps learn nothing
_FONT_SHARE = (0.4, 0.65)  # of the image's side, as are widths and blur below: small, or 24 px are enough for all
_FREEDOM = 0.25  # share of the way to the image's edge that the character may stand from the middle
_TURN_DEGREES = 10.0
_SHEAR = 0.15
_LIGHT = 40.0  # grey levels that the ground's slope may have along a side
_STROKES = (1, 4)
_STROKE_WIDTH = (0.01, 0.03)
_STROKE_COVER = 128  # of 255 that are full ink
_BLUR = 0.01
_GRAIN_PX = 96  # noise is drawn at this size and enlarged, so that it belongs to the picture and not to its size
_GRAIN = (4.0, 24.0)  # its standard deviation in grey levels


@dataclass(frozen=True)
class GlyphReader:
    """Draws image ``i`` from its own random stream, at least ``size_px`` large; the first ``train`` images are the
    training part."""

    train: int
    test: int
    seed: int
    size_px: int

    def read(self, i: int, at_least_px: int = 0) -> Image.Image:
        stream = (_TRAIN, i) if i < self.train else (_TEST, i - self.train)
        rng = np.random.default_rng([self.seed, *stream])
        size = max(self.size_px, min(at_least_px, _LARGEST_PX))
        return draw_glyph(CHARACTERS[stream[1] % len(CHARACTERS)], size, rng)

    def describe(self, i: int) -> str:
        return f"glyph {i}"

    def short_side(self, i: int) -> int:
        return max(self.size_px, _LARGEST_PX)


def glyph_source(train: int = 6000, test: int = 1000, seed: int = 0, size_px: int = 96) -> Source:
    """The embedded set "glyphs": 34 classes, ``train`` + ``test`` images of at least ``size_px`` pixels.

    Both parts have the same distribution. An image depends on the seed, its part and its number only, so a larger
    set contains a smaller one; at another size it is the same picture. Raises UserError for a part with fewer images
    than classes.
    """
    import matplotlib

    for name, count in (("train", train), ("test", test)):
        if count < len(CHARACTERS):
            raise UserError(f"glyphs: {name}", f"{count} is below {len(CHARACTERS)}, one image a class.")
    numbers = np.concatenate((np.arange(train), np.arange(test)))
    versions = (_DRAWING_VERSION, matplotlib.__version__, PIL.__version__, np.__version__)
    parameters = (train, test, seed, size_px, CHARACTERS, *versions)
    return Source(
        name="glyphs",
        classes=tuple(CHARACTERS),
        labels=(numbers % len(CHARACTERS)).astype(np.int64),
        parts=("train",) * train + ("test",) * test,
        reader=GlyphReader(train, test, seed, size_px),
        digest=hashlib.sha256(repr(parameters).encode()).hexdigest()[:12],
        flip=False,
        native_px=max(size_px, _LARGEST_PX),
    )


def draw_glyph(character: str, size_px: int, rng: np.random.Generator) -> Image.Image:
    """One dark character on a lighter, shaded ground with stray strokes, blur and noise: RGB, ``size_px`` square.

    The random numbers do not depend on the size.
    """
    ground, ink = rng.uniform(*_GROUND, 3), rng.uniform(*_INK, 3)
    cover = Image.new("L", (size_px, size_px))
    _strokes(cover, rng)
    cover.paste(255, (0, 0), _mask(character, size_px, rng))
    cover = cover.filter(ImageFilter.GaussianBlur(rng.uniform(0, _BLUR) * size_px))
    share = np.asarray(cover, np.float32)[..., None] / 255
    levels = ground.astype(np.float32) + share * (ink - ground).astype(np.float32) + _light(size_px, rng)[..., None]
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def _light(size_px: int, rng: np.random.Generator) -> Levels:
    """A plane of light and noise in grey levels, [size_px, size_px]."""
    slope_x, slope_y = rng.uniform(-_LIGHT, _LIGHT, 2).astype(np.float32)
    grain = rng.standard_normal((_GRAIN_PX, _GRAIN_PX), dtype=np.float32) * np.float32(rng.uniform(*_GRAIN))
    position = np.linspace(-0.5, 0.5, size_px, dtype=np.float32)
    enlarged = Image.fromarray(grain).resize((size_px, size_px), Image.Resampling.BICUBIC)
    light: Levels = np.asarray(enlarged) + slope_x * position + slope_y * position[:, None]
    return light


def _strokes(cover: Image.Image, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(cover)
    for _ in range(rng.integers(*_STROKES, endpoint=True)):
        ends = (rng.uniform(0, 1, 4) * cover.width).tolist()
        draw.line(ends, fill=_STROKE_COVER, width=max(1, round(rng.uniform(*_STROKE_WIDTH) * cover.width)))


def _mask(character: str, size_px: int, rng: np.random.Generator) -> Image.Image:
    """The character's coverage, turned, sheared and placed so that its box stays inside the image."""
    font_px = rng.uniform(*_FONT_SHARE) * size_px
    font = _font(_FONTS[rng.integers(len(_FONTS))], font_px)
    turn, shear = np.deg2rad(rng.uniform(-_TURN_DEGREES, _TURN_DEGREES)), rng.uniform(-_SHEAR, _SHEAR)
    forward = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array([[1, shear], [0, 1]])
    left, top, right, bottom = font.getbbox(character)
    middle = np.array([left + right, top + bottom]) / 2
    flat = Image.new("L", (size_px, size_px))
    offset = size_px / 2 - middle
    ImageDraw.Draw(flat).text((offset[0], offset[1]), character, fill=255, font=font)
    reach = np.abs(forward) @ (np.array([right - left, bottom - top]) / 2)
    room = _FREEDOM * np.maximum(size_px / 2 - reach, 0)
    centre = size_px / 2 + rng.uniform(-1, 1, 2) * room
    backward = np.linalg.inv(forward)
    start = size_px / 2 - backward @ centre
    data = (*backward[0], start[0], *backward[1], start[1])
    return flat.transform(flat.size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)


def _font(file_name: str, font_px: float) -> ImageFont.FreeTypeFont:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file_name
    return ImageFont.truetype(path, font_px, layout_engine=ImageFont.Layout.BASIC)
