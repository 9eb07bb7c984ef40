"""The embedded set: accented and easily confused characters, drawn from the fonts that matplotlib ships."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from scalesearch.data.arrays import Pixels
from scalesearch.data.source import Source
from scalesearch.errors import UserError

Colour = npt.NDArray[np.float64]

# Classes that differ by an accent a few pixels wide, beside some that differ by a stroke: resolution decides.
CHARACTERS = "aàáâãäåeèéêëoòóôõöøuùúûü0QGC8B3S56"
_FONTS = tuple(
    f"DejaVu{family}{style}.ttf"
    for family, slanted in (("Sans", "Oblique"), ("SansMono", "Oblique"), ("Serif", "Italic"))
    for style in ("", "-Bold", f"-{slanted}", f"-Bold{slanted}")
)
_DRAWING_VERSION = 2
_TRAIN, _TEST = 0, 1
_FONT_SHARE = (0.5, 0.8)  # font size as a share of the image's side
_TURN_DEGREES = 10.0
_SHEAR = 0.15
_LEAST_CONTRAST = 80.0  # grey levels between ink and ground


@dataclass(frozen=True)
class GlyphReader:
    """Draws image ``i`` from its own random stream; the first ``train`` images are the training part."""

    train: int
    test: int
    seed: int
    size_px: int

    def read(self, i: int, at_least_px: int = 0) -> Image.Image:
        stream = (_TRAIN, i) if i < self.train else (_TEST, i - self.train)
        rng = np.random.default_rng([self.seed, *stream])
        return draw_glyph(CHARACTERS[stream[1] % len(CHARACTERS)], self.size_px, rng)

    def describe(self, i: int) -> str:
        return f"glyph {i}"

    def short_side(self, i: int) -> int:
        return self.size_px


def glyph_source(train: int = 4000, test: int = 1000, seed: int = 0, size_px: int = 96) -> Source:
    """The embedded set "glyphs": 34 classes, ``train`` + ``test`` images of ``size_px`` pixels.

    Both parts have the same distribution. An image depends on the seed, its part and its number only, so a larger
    set contains a smaller one. Raises UserError for a part with fewer images than classes.
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
        native_px=size_px,
    )


def draw_glyph(character: str, size_px: int, rng: np.random.Generator) -> Image.Image:
    """One character on a shaded ground with stray strokes, blur and noise: RGB, ``size_px`` square."""
    ground, ink = _colours(rng)
    canvas = Image.fromarray(_shaded(ground, size_px, rng))
    _strokes(canvas, (ground + ink) / 2, rng)
    canvas.paste(tuple(int(level) for level in ink), (0, 0), _mask(character, size_px, rng))
    canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.012) * size_px))
    noise = rng.standard_normal((size_px, size_px, 1), dtype=np.float32) * np.float32(rng.uniform(4, 24))
    return Image.fromarray(np.clip(np.asarray(canvas) + noise, 0, 255).astype(np.uint8))


def _colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    while True:
        ground, ink = rng.uniform(0, 255, (2, 3))
        if abs(ground.mean() - ink.mean()) >= _LEAST_CONTRAST:
            return ground, ink


def _shaded(ground: Colour, size_px: int, rng: np.random.Generator) -> Pixels:
    """A plane of light over the ground colour, [size_px, size_px, 3] uint8."""
    slope_x, slope_y = rng.uniform(-40, 40, 2)
    position = np.linspace(-0.5, 0.5, size_px)
    light = slope_x * position[None, :, None] + slope_y * position[:, None, None]
    shaded: Pixels = np.clip(ground + light, 0, 255).astype(np.uint8)
    return shaded


def _strokes(canvas: Image.Image, colour: Colour, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(canvas)
    fill = tuple(int(level) for level in colour)
    for _ in range(rng.integers(1, 5)):
        ends = rng.uniform(0, canvas.width, 4).tolist()
        draw.line(ends, fill=fill, width=int(rng.integers(1, 1 + canvas.width // 32)))


def _mask(character: str, size_px: int, rng: np.random.Generator) -> Image.Image:
    """The character's coverage, turned, sheared and placed so that its box stays inside the image."""
    font_px = int(rng.uniform(*_FONT_SHARE) * size_px)
    font = _font(_FONTS[rng.integers(len(_FONTS))], font_px)
    turn, shear = np.deg2rad(rng.uniform(-_TURN_DEGREES, _TURN_DEGREES)), rng.uniform(-_SHEAR, _SHEAR)
    forward = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array([[1, shear], [0, 1]])
    left, top, right, bottom = font.getbbox(character)
    middle = np.array([left + right, top + bottom]) / 2
    flat = Image.new("L", (size_px, size_px))
    offset = size_px / 2 - middle
    ImageDraw.Draw(flat).text((offset[0], offset[1]), character, fill=255, font=font)
    reach = np.abs(forward) @ (np.array([right - left, bottom - top]) / 2)
    room = np.maximum(size_px / 2 - reach, 0)
    centre = size_px / 2 + rng.uniform(-room, room)
    backward = np.linalg.inv(forward)
    start = size_px / 2 - backward @ centre
    data = (*backward[0], start[0], *backward[1], start[1])
    return flat.transform(flat.size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)


@functools.lru_cache(maxsize=1024)
def _font(file_name: str, font_px: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file_name
    return ImageFont.truetype(path, font_px, layout_engine=ImageFont.Layout.BASIC)
