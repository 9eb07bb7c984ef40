"""Photos with their faces marked: a box and a name at members, a question mark at others."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from scalesearch.errors import printable

Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]
# two colours that people who see few colours tell apart, too (Okabe & Ito 2008), and letters that stand out on them
MEMBER: tuple[Colour, Colour] = (0, 114, 178), (255, 255, 255)
OTHER: tuple[Colour, Colour] = (230, 159, 0), (0, 0, 0)
RIM: Colour = (0, 0, 0)  # around a line, which shows it on a photo of its own colour
NOBODY = "?"
LINE = 1 / 220  # of the photo's short side
LETTERS_OF_FACE, SMALLEST_LETTERS, LARGEST_LETTERS = 0.2, 1 / 80, 1 / 22  # of the face's height; of the short side
FEWEST_PX = 11  # of letters that can be read
PADDING = 0.25  # around letters, of their size
ON_OWN, ON_TEXT = 0.5, 10.0  # how bad it is that a text hides its own face or another text; 1 for another face
LEFT_OUT = "…"
USUAL_FONT = "DejaVu Sans"
NO_FONTS = ("LastResort", "AdobeBlank")  # have every letter, and show none of them


@dataclass(frozen=True)
class Mark:
    """A face on a photo. ``box``: left, top, right, bottom in its pixels; ``name``: "" for nobody known."""

    box: Box
    name: str = ""


def annotated(photo: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """A copy of an RGB photo with a box around each face and a name, or "?", beside it, all of it inside the photo.

    What the camera noted, such as the place, is not in it.
    """
    drawn = photo.copy()
    drawn.info = {}
    pen = ImageDraw.Draw(drawn)
    width = max(2, round(min(photo.size) * LINE))
    for mark in marks:
        _frame(pen, _inside(mark.box, photo.size), MEMBER[0] if mark.name else OTHER[0], width)
    taken: list[Box] = []
    for mark in marks:  # after all boxes, so that none crosses a name
        box = _inside(mark.box, photo.size)
        ground, letters = MEMBER if mark.name else OTHER
        text, font = _lettering(mark.name or NOBODY, box, photo.size)
        faces = [one.box for one in marks if one is not mark]
        plate = _plate(_size(text, font), box, photo.size, faces, taken)
        pen.rectangle(plate, fill=ground, outline=RIM, width=max(1, width // 3))
        middle = ((plate[0] + plate[2]) / 2, (plate[1] + plate[3]) / 2)
        pen.text(middle, text, letters, font, anchor="mm")
        taken.append(plate)
    return drawn


def _inside(box: Box, size: tuple[int, int]) -> Box:
    """What of a box is on the photo, at least a pixel."""
    width, height = size
    left, top = min(max(0, box[0]), width - 2), min(max(0, box[1]), height - 2)
    return left, top, max(left + 1, min(width - 1, box[2])), max(top + 1, min(height - 1, box[3]))


def _frame(pen: ImageDraw.ImageDraw, box: Box, colour: Colour, width: int) -> None:
    """A line around a box, between two dark ones."""
    rim = max(1, width // 3)
    left, top, right, bottom = box
    for inset, fill, wide in ((0, RIM, width + 2 * rim), (rim, colour, width)):
        corners = (left + inset, top + inset, right - inset, bottom - inset)
        if corners[0] < corners[2] and corners[1] < corners[3]:
            pen.rectangle(corners, outline=fill, width=wide)


def _lettering(name: str, box: Box, size: tuple[int, int]) -> tuple[str, ImageFont.FreeTypeFont]:
    """A name as it fits across the photo, and its font: smaller letters first, then fewer."""
    short, text = min(size), printable(name)
    wanted = min(max((box[3] - box[1]) * LETTERS_OF_FACE, short * SMALLEST_LETTERS), short * LARGEST_LETTERS)
    letters = max(FEWEST_PX, round(wanted))
    file, _ = font_file(text)
    font = _font(file, letters)
    if (wide := _size(text, font)[0]) > size[0]:
        font = _font(file, max(FEWEST_PX, int(letters * size[0] / wide)))
    while len(text) > 1 and _size(text, font)[0] > size[0]:
        text = text.removesuffix(LEFT_OUT)[:-1] + LEFT_OUT
    return text, font


def _size(text: str, font: ImageFont.FreeTypeFont) -> tuple[float, float]:
    """Width and height of a plate under a text."""
    left, top, right, bottom = font.getbbox(text, anchor="mm")
    ascent, descent = font.getmetrics()
    padding = 2 * PADDING * font.size
    return right - left + padding, max(ascent + descent, bottom - top) + padding / 2


def _plate(
    size: tuple[float, float], box: Box, photo: tuple[int, int], faces: Sequence[Box], texts: Sequence[Box]
) -> Box:  # fmt: skip
    """Where a text of this size hides least of other texts and faces: above its face, else below it or on it."""
    (width, height), (left, top, right, bottom) = size, box
    middle = (left + right) / 2
    places = []
    for x in (left, right - width, middle - width / 2):
        for y in (top - height, bottom, top, bottom - height):
            x0 = min(max(0.0, x), max(0.0, photo[0] - width))
            y0 = min(max(0.0, y), max(0.0, photo[1] - height))
            places.append((x0, y0, x0 + width, y0 + height))

    def hidden(place: Box) -> float:
        on_faces = sum(_shared(place, other) for other in faces) + ON_OWN * _shared(place, box)
        return on_faces + ON_TEXT * sum(_shared(place, other) for other in texts)

    return min(places, key=hidden)


def _shared(one: Box, other: Box) -> float:
    """Square pixels that two boxes have in common."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0


@lru_cache(maxsize=64)
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


@lru_cache(maxsize=4096)
def font_file(text: str) -> tuple[str, bool]:
    """A font for a text, and whether it has all its letters: DejaVu Sans, which comes with matplotlib, where it does,
    else the first font of the system that does, else DejaVu Sans all the same."""
    from matplotlib.font_manager import findfont

    usual = str(findfont(USUAL_FONT))
    needed = frozenset(ord(one) for one in text if unicodedata.category(one)[0] not in "CZ")  # not spaces and controls
    if needed <= _letters(usual):
        return usual, True
    found = next((file for file in _system_fonts() if needed <= _letters(file)), None)
    return (usual, False) if found is None else (found, True)


@cache
def _system_fonts() -> list[str]:
    """Files of the system's fonts as they are now; matplotlib's own list is as old as its cache. Plain ones first."""
    from matplotlib.font_manager import findSystemFonts

    listed = [file for file in findSystemFonts() if not Path(file).name.startswith(NO_FONTS)]
    return sorted(listed, key=lambda file: ("Regular" not in file, "Sans" not in file, file))


@cache
def _letters(file: str) -> frozenset[int]:
    """Code points that a font has a glyph for; none where it cannot be drawn with."""
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(file, FEWEST_PX)  # a font of pictures has one size alone
        return frozenset(FT2Font(Path(file)).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()
