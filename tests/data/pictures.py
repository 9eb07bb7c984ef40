"""Small image files for the tests of this folder."""

from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, width: int = 20, height: int = 16) -> Image.Image:
    """A random RGB image."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def save(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def tree(root: Path, counts: dict[str, int]) -> Path:
    """PNG files 0.png, 1.png, … under each of the folders named in ``counts``."""
    for number, (folder, count) in enumerate(counts.items()):
        for i in range(count):
            save(root / folder / f"{i}.png", noise(1000 * number + i))
    return root
