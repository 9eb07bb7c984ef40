"""The embedded set is the same everywhere and needs its resolution."""

import subprocess
import sys

import numpy as np
import pytest

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
    assert (image.mode, image.size, source.native_px) == ("RGB", (48, 48), 48)


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
