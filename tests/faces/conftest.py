"""Synthetic people: a pattern of coloured blocks each, shown with noise, that a tiny network can tell apart."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakePeople = Callable[..., Path]
SIDE = 24


def portrait(person: int, photo: int) -> np.ndarray:
    """uint8 (24, 24, 3): the person's 4×4 blocks under the photo's noise and light."""
    light = np.random.default_rng([8, person, photo]).uniform(0.5, 1.0, 3)
    blocks = np.random.default_rng([7, person]).integers(0, 200, (4, 4, 3))
    noise = np.random.default_rng([9, person, photo]).integers(0, 55, (SIDE, SIDE, 3))
    return ((np.kron(blocks, np.ones((6, 6, 1))) + noise) * light).astype(np.uint8)


def write_people(root: Path, people: int, photos: int, first: int) -> Path:
    """Folders of people, numbered from ``first``."""
    for person in range(first, first + people):
        folder = root / f"person{person:03d}"
        folder.mkdir(parents=True)
        for photo in range(photos):
            Image.fromarray(portrait(person, photo)).save(folder / f"{photo}.png")
    return root


@pytest.fixture
def make_people(tmp_path: Path) -> MakePeople:
    """Writes ``photos`` photos of each of ``people`` people, numbered from ``first``, one folder each."""

    def make(name: str = "people", people: int = 6, photos: int = 5, first: int = 0) -> Path:
        return write_people(tmp_path / name, people, photos, first)

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real image sets, from SCALESEARCH_DATA or beside the project."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("SCALESEARCH_DATA") or default).resolve()
    if not (folder / "lfw_faces").is_dir():
        pytest.skip(f"no real faces at {folder}; set SCALESEARCH_DATA")
    return folder
