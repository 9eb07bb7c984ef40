"""The embedded set is the same everywhere and needs its resolution."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from scalesearch.data.glyphs import CHARACTERS, draw_glyph, glyph_source
from scalesearch.errors import UserError

SMALL = 2 * len(CHARACTERS)


def pixels(seed: int = 0, train: int = SMALL, rows: range = range(SMALL, SMALL + 4)) -> np.ndarray:
    source = glyph_source(train, SMALL, seed, 48)
    return np.stack([np.asarray(source.read(row)) for row in rows])


def test_parts_labels_and_classes() -> None:
    source = glyph_source(SMALL, SMALL, 0, 48)
    assert source.parts == ("train",) * SMALL + ("test",) * SMALL
    assert np.bincount(source.labels).tolist() == [4] * len(CHARACTERS)
    assert len(set(source.classes)) == len(CHARACTERS)
    assert not source.flip
    image = source.read(0)
    assert (image.mode, image.size) == ("RGB", (48, 48))


def test_another_size_is_drawn_anew_and_is_the_same_picture() -> None:
    source = glyph_source(SMALL, SMALL, 0, 48)
    assert source.native_px == source.reader.short_side(0)
    sides = [source.read(0, wanted).width for wanted in (0, 48, 100, source.native_px, 10_000)]
    assert sides == [48, 48, 100, source.native_px, source.native_px]
    for row in range(len(CHARACTERS)):
        small, large, other = (
            np.asarray(source.read(i, px).resize((32, 32), Image.Resampling.BICUBIC), np.float64).ravel()
            for i, px in ((row, 96), (row, 240), (row + len(CHARACTERS), 96))
        )
        assert np.corrcoef(small, large)[0, 1] > 0.95 > 0.85 > np.corrcoef(small, other)[0, 1]


def test_the_mean_image_of_a_class_shows_its_ink() -> None:
    """Ink that is dark as often as light, or anywhere, averages out, and the first few hundred steps learn nothing."""
    source = glyph_source(20 * len(CHARACTERS), SMALL, 0, 48)
    for label in range(len(CHARACTERS)):
        mean = np.mean(
            [np.asarray(source.read(label + len(CHARACTERS) * k), np.float64) for k in range(20)], axis=(0, 3)
        )
        border = np.concatenate((mean[:4], mean[-4:])).mean()
        assert mean[16:32, 16:32].mean() < border - 20
        assert mean.min() < border - 60


def test_another_process_draws_the_same() -> None:
    code = "import sys; from tests.data.test_glyphs import pixels; sys.stdout.buffer.write(pixels().tobytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == pixels().tobytes()


def test_every_image_has_its_own_stream() -> None:
    assert len({image.tobytes() for image in pixels(rows=range(2 * SMALL))}) == 2 * SMALL
    assert (pixels(seed=1) != pixels()).any()


def test_a_larger_training_part_leaves_the_test_part_alone() -> None:
    larger = pixels(train=SMALL + 1, rows=range(SMALL + 1, SMALL + 5))
    np.testing.assert_array_equal(larger, pixels())


def test_every_character_is_drawn_and_differs() -> None:
    drawn = [np.asarray(draw_glyph(character, 48, np.random.default_rng(5))) for character in CHARACTERS]
    assert len({image.tobytes() for image in drawn}) == len(CHARACTERS)


def test_digest_follows_the_parameters() -> None:
    digests = {glyph_source(SMALL, SMALL, seed, size).digest for seed in (0, 1) for size in (48, 96)}
    assert len(digests | {glyph_source(SMALL + 1, SMALL, 0, 48).digest}) == 5
    assert glyph_source().digest == glyph_source().digest


def test_fewer_images_than_classes() -> None:
    with pytest.raises(UserError, match="glyphs: test"):
        glyph_source(100, 10)
